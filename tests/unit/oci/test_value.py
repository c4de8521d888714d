"""Cheap values: what attrs.frozen does, as far as it is used, and attrs takes them for its own."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import attrs
import pytest

from buildlib.oci.value import evolve, field, frozen


@frozen
class Point:
    x: int
    y: int = 0
    names: tuple[str, ...] = ()
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)
    _raw: bytes | None = field(init=False, default=None, eq=False, repr=False)


@frozen
class Checked:
    _secret: str = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not self._secret:
            raise ValueError("empty")


def test_fields_by_position_and_by_name() -> None:
    assert (Point(1).x, Point(1, y=2).y, Point(x=3, names=("a",)).names, Checked(secret="s")._secret) == (
        1,
        2,
        ("a",),
        "s",
    )
    for args, given in [((), {}), ((1, 2, (), {}, 5), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((1,), {"raw": b""})]:
        with pytest.raises(TypeError):
            Point(*args, **given)
    with pytest.raises(ValueError, match="empty"):
        Checked("")


def test_they_are_equal_by_value_and_frozen() -> None:
    one, other = Point(1, extra={"a": 1}), Point(1, extra={"a": 1})
    object.__setattr__(other, "_raw", b"raw")
    assert one == other
    assert hash(one) == hash(other)
    assert one != Point(1)
    assert one != (1, 0, (), {})
    assert Point(1).extra is not Point(1).extra
    assert repr(one) == "Point(x=1, y=0, names=())"
    with pytest.raises(AttributeError):
        one.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del one.x


def test_a_changed_one_is_a_new_one() -> None:
    one = Point(1, 2)
    object.__setattr__(one, "_raw", b"raw")
    for changed in (evolve(one, y=3), attrs.evolve(one, y=3)):
        assert (changed, changed._raw) == (Point(1, 3), None)
    assert evolve(Checked("a"), secret="b") == Checked("b")


def test_attrs_takes_them_for_its_own() -> None:
    assert [each.name for each in attrs.fields(Point)] == ["x", "y", "names", "extra", "_raw"]
    assert attrs.asdict(Point(1)) == {"x": 1, "y": 0, "names": (), "extra": {}, "_raw": None}
    assert attrs.has(Point)


def test_they_are_copied_and_matched() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
    assert copy.deepcopy(Point(1)) == Point(1)
    from buildlib.oci import Platform

    platform = Platform.parse("linux/arm64/v8")
    assert pickle.loads(pickle.dumps(platform)) == platform


def test_documents_come_without_attrs() -> None:
    code = "import sys; from buildlib.oci import ImageConfig, Manifest, Platform, Descriptor; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True).stdout.split())
    assert "buildlib.oci.config" in loaded
    assert not loaded & {"attr", "attrs", "inspect", "typing"}


def test_named_tuples_are_those_of_typing() -> None:
    from buildlib.oci.value import NamedTuple

    class Pair(NamedTuple):
        """Two."""

        one: int
        two: int = 2

        @property
        def sum(self) -> int:
            return self.one + self.two

    assert (Pair(1), Pair(1).sum, Pair(1)._replace(two=5), Pair._fields) == ((1, 2), 3, Pair(1, 5), ("one", "two"))
    assert Pair(1)._asdict() == {"one": 1, "two": 2}
    assert repr(Pair(1)) == "Pair(one=1, two=2)"
    assert Pair.__doc__ == "Two."
    with pytest.raises(AttributeError):
        Pair(1).one = 2  # type: ignore[misc]
