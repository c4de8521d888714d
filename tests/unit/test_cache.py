"""Keys, records and explanations, without containers."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from buildlib import cache
from buildlib.cache import Miss, Record, Step, compare, key

if TYPE_CHECKING:
    from buildlib.store import Store


def step(kind: str = "run", inputs: tuple[str, ...] = (), names: dict[str, str] | None = None, **values: Any) -> Step:
    return Step(kind, values, inputs, names or {})


@pytest.fixture
def layers(store: Store) -> list[str]:
    """Rows of two layers, which records can refer to."""
    ids = ["a" * 16, "b" * 16]
    with store.db.transaction() as conn:
        conn.executemany("INSERT INTO layers (id, created) VALUES (?, 0)", [(id,) for id in ids])
    return ids


def remember(store: Store, layer: str, wanted: Step, parent: str = "p", created: float = 1.0) -> str:
    found = key(parent, wanted)
    store.cache.add(found, parent, wanted, Record(layer, found, created))
    return found


class TestKeys:
    def test_equal_steps_have_equal_keys_whatever_the_order_of_their_values(self) -> None:
        assert key("p", step(a=1, b=2)) == key("p", step(b=2, a=1))

    @pytest.mark.parametrize(
        "other", [("q", step(a=1)), ("p", step(a=2)), ("p", step("copy", a=1)), ("p", step(inputs=("x",), a=1))]
    )
    def test_parent_kind_values_and_inputs_are_in_the_key(self, other: tuple[str, Step]) -> None:
        assert key(*other) != key("p", step(a=1))

    def test_names_for_people_are_not(self) -> None:
        assert key("p", step(names={"f": "1"}, a=1)) == key("p", step(a=1))

    def test_lists_can_not_be_confused_with_each_other(self) -> None:
        assert key("p", step(argv=["a b"])) != key("p", step(argv=["a", "b"]))

    def test_bytes_that_are_no_text_can_be_part_of_a_step(self, store: Store, layers: list[str]) -> None:
        odd = step(argv=["caf\udce9"])
        assert store.cache.find(remember(store, layers[0], odd)) is not None

    def test_a_fresh_container_is_known_by_its_layers(self) -> None:
        assert cache.base_state("sha256:1") == "sha256:1"
        assert cache.base_state(None) == "scratch"
        assert cache.changed_state("p", "c") != cache.changed_state("p", "d")


class TestRecords:
    def test_a_record_is_found_by_its_key_alone(self, store: Store, layers: list[str]) -> None:
        found = remember(store, layers[0], step(a=1), created=5.0)
        assert store.cache.find(found) == Record(layers[0], found, 5.0)
        assert store.cache.find("unknown") is None

    def test_it_goes_with_its_layer(self, store: Store, layers: list[str]) -> None:
        found = remember(store, layers[0], step(a=1))
        with store.db.transaction() as conn:
            conn.execute("DELETE FROM layers WHERE id = ?", (layers[0],))
        assert store.cache.find(found) is None

    def test_use_is_noted(self, store: Store, layers: list[str]) -> None:
        found = remember(store, layers[0], step(a=1))
        with store.db.transaction() as conn:
            conn.execute("UPDATE cache SET used = 0")
        store.cache.use(found)
        assert store.db.row("SELECT used FROM cache")[0] > time.time() - 60

    def test_siblings_are_of_the_same_kind_on_the_same_state(self, store: Store, layers: list[str]) -> None:
        first = remember(store, layers[0], step(a=1))
        remember(store, layers[0], step("copy", a=1))
        remember(store, layers[0], step(a=1), parent="q")
        assert [record.result for record in store.cache.siblings("p", "run", layers[1])] == [first]
        assert store.cache.siblings("p", "run", layers[0]) == []

    def test_what_a_step_printed_is_kept_where_it_is_asked_for(self, store: Store, layers: list[str]) -> None:
        found = remember(store, layers[0], step(a=1))
        assert store.cache.printed(found) is None
        store.cache.add(found, "p", step(a=1), Record(layers[0], found, 1.0), ("out", "err", "both"))
        assert store.cache.printed(found) == ["out", "err", "both"]

    def test_forgetting(self, store: Store, layers: list[str]) -> None:
        found = remember(store, layers[0], step(a=1))
        store.cache.forget(found)
        assert store.cache.find(found) is None


class TestExplaining:
    def differences(self, old: Step, new: Step) -> list[str]:
        return compare(json.loads(old.parts()), json.loads(new.parts()))

    def test_values_that_differ_are_told_with_both(self) -> None:
        assert self.differences(step(user="", argv=["a"]), step(user="app", argv=["b"])) == [
            'argv: ["a"] → ["b"]', "user:  → app",
        ]  # fmt: skip

    def test_of_the_environment_only_the_variables_that_differ_are_told(self) -> None:
        old, new = step(env=["A=1", "VERSION=1", "X=y"]), step(env=["A=1", "VERSION=2", "Z=w"])
        assert self.differences(old, new) == ["env VERSION: 1 → 2", "env X: y → (none)", "env Z: (none) → w"]

    def test_files_that_differ_are_named(self) -> None:
        old = step("copy", ("1",), {"src/app.py": "1", "gone": "1", "same": "1"})
        new = step("copy", ("2",), {"src/app.py": "2", "new": "1", "same": "1"})
        assert self.differences(old, new) == ["gone is gone", "new is new", "src/app.py changed"]

    def test_inputs_without_names_changed_as_a_whole(self) -> None:
        assert self.differences(step(inputs=("1",)), step(inputs=("2",))) == ["the files it reads changed"]

    def test_the_nearest_record_on_the_same_state_is_taken(self, store: Store, layers: list[str]) -> None:
        remember(store, layers[0], step(argv=["a"], user="root"), created=1.0)
        remember(store, layers[1], step(argv=["b"], user="app"), created=2.0)
        remember(store, layers[1], step("copy", argv=["b"], user="app"))
        remember(store, layers[1], step(argv=["c"], user="app"), parent="q")
        found = store.cache.explain("p", step(argv=["c"], user="app"))
        assert found == Miss(('argv: ["b"] → ["c"]',), 2.0)
        assert store.cache.explain("nowhere", step(argv=["c"])) is None
