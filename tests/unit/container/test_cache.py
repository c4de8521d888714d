"""Memoised calls: what hits, what does not, what becomes of failures, and that nothing is started for a hit."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.container.mounts import Bind, Cache, Content, Secret, Tmpfs
from buildlib.errors import NotFound, RunError
from buildlib.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from buildlib.container import WorkingContainer
    from buildlib.image import Image

pytestmark = pytest.mark.root


def ran(store: Store, *commands: str, **options: Any) -> list[bool]:
    """Run commands in a fresh cached container; which of them were executed."""
    with store.from_image("localhost/busybox", cache=True) as container:
        return [not container.run(command, **options).cached for command in commands]


class TestHits:
    def test_the_second_time_nothing_is_executed(self, store: Store, busybox_image: Image) -> None:
        commands = ("echo 1 > /a", "echo 2 > /b")
        assert ran(store, *commands) == [True, True]
        assert ran(store, *commands) == [False, False]

    def test_a_fully_cached_build_starts_no_worker_and_touches_no_disk(
        self, store: Store, busybox_image: Image, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("x")

        def build(opened: Store) -> tuple[WorkingContainer, Image]:
            container = opened.from_image("localhost/busybox", cache=True)
            for number in range(5):
                container.run(f"echo {number} > /f{number}")
            container.copy("file", dest="/file", context=str(tmp_path))
            container.copy("/etc/passwd", dest="/users", from_=busybox_image)
            container.mkdir("/dir")
            container.config(cmd=["x"])
            return container, container.commit("localhost/x")

        _, first = build(store)
        with Store.open(store.root) as again:
            container, second = build(again)
            assert second.id == first.id
            assert again._worker is None
            assert container.id not in os.listdir(f"{again.root}/containers")  # noqa: PTH208
            container.remove()

    def test_a_step_that_is_not_cached_is_executed_on_the_right_files(self, store: Store, busybox_image: Image) -> None:
        ran(store, "echo 1 > /a", "echo 2 > /b")
        with store.from_image("localhost/busybox", cache=True) as container:
            container.run("echo 1 > /a")
            container.run("echo 2 > /b")
            assert container.run("cat /a /b", capture=True).stdout == "1\n2\n"

    @pytest.mark.parametrize(
        "change",
        [
            {"env": {"A": "1"}},
            {"user": "app"},
            {"workdir": "/tmp"},
            {"network": "none"},
            {"hostname": "h"},
            {"cap_drop": ["chown"]},
            {"shell": ["/bin/sh", "-e", "-c"]},
            {"stdin": b"x"},
            {"mounts": [Tmpfs("/t")]},
            {"mounts": [Cache("/t")]},
            {"mounts": [Content("/t", b"x")]},
            {"mounts": [Secret("s")]},
        ],
    )
    def test_whatever_the_command_can_see_is_in_the_key(
        self, store: Store, busybox_image: Image, change: dict[str, Any]
    ) -> None:
        ran(store, "true")
        assert ran(store, "true", **change) == [True]
        assert ran(store, "true", **change) == [False]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"proxy": {"http_proxy": "a"}}, {"proxy": {"http_proxy": "b"}}),
            ({"mounts": [Secret("s", value="a")]}, {"mounts": [Secret("s", value="b")]}),
            ({"timeout": 10}, {"timeout": 20}),
            ({"env": {"A": "1", "B": "2"}}, {"env": {"A": "1", "B": "2"}}),
        ],
    )
    def test_what_must_not_decide_is_not_in_the_key(
        self, store: Store, busybox_image: Image, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        assert ran(store, "true", **one) == [True]
        assert ran(store, "true", **other) == [False]

    def test_the_contents_of_a_bind_decide_not_its_path(
        self, store: Store, busybox_image: Image, tmp_path: Path
    ) -> None:
        for name, text in (("one", "x"), ("two", "x"), ("three", "y")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "f").write_text(text)

        def bind(name: str) -> list[Bind]:
            return [Bind(str(tmp_path / name), "/mnt")]

        assert ran(store, "cp /mnt/f /f", mounts=bind("one")) == [True]
        assert ran(store, "cp /mnt/f /f", mounts=bind("two")) == [False]
        assert ran(store, "cp /mnt/f /f", mounts=bind("three")) == [True]

    def test_a_bind_that_changes_while_the_command_runs_is_not_remembered(
        self, store: Store, busybox_image: Image, tmp_path: Path
    ) -> None:
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "f").write_text("x")
        reader, writer = os.pipe()

        def change() -> None:
            os.read(reader, 1)
            (folder / "f").write_text("y")
            (folder / "go").touch()

        thread = threading.Thread(target=change)
        thread.start()
        mounts = [Bind(str(folder), "/mnt")]
        command = "echo; while ! test -e /mnt/go; do sleep 0.01; done; cat /mnt/f > /f"
        assert ran(store, command, mounts=mounts, stdout=writer) == [True]
        thread.join()
        (folder / "f").write_text("x")
        (folder / "go").unlink()
        with store.from_image("localhost/busybox", cache=True) as container:
            assert not container.run("cat /mnt/f > /f", mounts=mounts).cached
        assert store.db.row("SELECT count(*) FROM cache")[0] == 1
        for fd in (reader, writer):
            os.close(fd)

    def test_what_is_written_to_the_host_is_never_cached(
        self, store: Store, busybox_image: Image, tmp_path: Path
    ) -> None:
        mounts = [Bind(str(tmp_path), "/mnt", rw=True, keep=True)]
        assert ran(store, "touch /mnt/made", mounts=mounts) == [True]
        (tmp_path / "made").unlink()
        assert ran(store, "touch /mnt/made", mounts=mounts) == [True]
        assert (tmp_path / "made").exists()

    def test_the_config_is_part_of_it_as_far_as_a_command_sees_it(self, store: Store, busybox_image: Image) -> None:
        def outcome(**fields: Any) -> bool:
            with store.from_image("localhost/busybox", cache=True) as container:
                container.config(**fields)
                return container.run("true").cached

        assert [outcome(), outcome(labels={"a": "b"}), outcome(cmd=["x"])] == [False, True, True]
        assert [outcome(env={"A": "1"}), outcome(env={"A": "1"}), outcome(env={"A": "2"})] == [False, True, False]

    def test_output_that_was_captured_comes_back(self, store: Store, busybox_image: Image) -> None:
        with store.from_image("localhost/busybox", cache=True) as first:
            first.run("echo out; echo err >&2", capture=True)
        with store.from_image("localhost/busybox", cache=True) as second:
            result = second.run("echo out; echo err >&2", capture=True)
        assert (result.cached, result.stdout, result.stderr) == (True, "out\n", "err\n")

    def test_a_command_whose_output_was_not_kept_runs_again_when_it_is_wanted(
        self, store: Store, busybox_image: Image
    ) -> None:
        assert ran(store, "echo out", "touch /a") == [True, True]
        assert ran(store, "echo out", capture=True) == [True]
        # The layer is the same, so what follows still hits.
        assert ran(store, "echo out", "touch /a") == [False, False]

    def test_output_of_a_command_with_secrets_is_not_kept(self, store: Store, busybox_image: Image) -> None:
        secret = [Secret("s", value="hush hush")]
        assert ran(store, "cat /run/secrets/s", mounts=secret, capture=True) == [True]
        assert ran(store, "cat /run/secrets/s", mounts=secret, capture=True) == [True]
        dump = "\n".join(store.db.connection.iterdump())
        assert "hush hush" not in dump

    def test_no_cache_looks_nothing_up_but_remembers(self, store: Store, busybox_image: Image) -> None:
        assert ran(store, "date +%N > /a") == [True]
        with store.from_image("localhost/busybox", no_cache=True) as container:
            assert not container.run("date +%N > /a").cached
            made = container.read_file("/a")
        with store.from_image("localhost/busybox", cache=True) as container:
            assert container.run("date +%N > /a").cached
            assert container.read_file("/a") == made

    def test_a_stale_record_without_its_layer_is_no_hit(self, store: Store, busybox_image: Image) -> None:
        ran(store, "echo 1 > /a")
        store.gc(everything=True)
        assert ran(store, "echo 1 > /a") == [True]
        assert store.check() == []


class TestCutOff:
    def test_a_step_that_ran_again_with_the_same_outcome_lets_what_follows_hit(
        self, store: Store, busybox_image: Image, tmp_path: Path
    ) -> None:
        source = tmp_path / "main.c"

        def build() -> list[bool]:
            with store.from_image("localhost/busybox", cache=True) as container:
                mounts = [Bind(str(source), "/main.c")]
                compiled = container.run("grep -v '^//' /main.c > /main.o", mounts=mounts).cached
                linked = container.run("cp /main.o /main").cached
                self.layers = container.layers
                return [compiled, linked]

        source.write_text("// one comment\nint main;\n")
        assert build() == [False, False]
        before = self.layers
        source.write_text("// another comment\nint main;\n")
        assert build() == [False, True]
        assert self.layers == before
        assert build() == [True, True]
        source.write_text("int other;\n")
        assert build() == [False, False]
        assert store.check() == []

    def test_a_layer_that_was_dropped_for_an_older_one_leaves_nothing(self, store: Store, busybox_image: Image) -> None:
        ran(store, "echo same > /a")
        count = len(os.listdir(f"{store.root}/layers"))  # noqa: PTH208
        ran(store, "echo same > /a # again")
        assert len(os.listdir(f"{store.root}/layers")) == count  # noqa: PTH208
        assert store.check() == []


class TestFailures:
    def test_a_failed_step_leaves_no_trace_in_what_follows(self, store: Store, busybox_image: Image) -> None:
        with store.from_image("localhost/busybox", cache=True) as container:
            container.run("echo 1 > /a")
            with pytest.raises(RunError):
                container.run("echo debris > /debris; false")
            assert container.read_file("/debris") == b"debris\n"
            assert container.run("ls /debris", cache=False, check=False, capture=True).exit_code == 0
            container.run("echo 2 > /b")
            with pytest.raises(NotFound):
                container.read_file("/debris")
            image = container.commit()
        assert ran(store, "echo 1 > /a", "echo 2 > /b") == [False, False]
        assert [entry.created_by for entry in image.history[-2:]] == [
            "/bin/sh -c echo 1 > /a", "/bin/sh -c echo 2 > /b",
        ]  # fmt: skip

    def test_commit_after_a_failure_is_the_state_before_it(self, store: Store, busybox_image: Image) -> None:
        with store.from_image("localhost/busybox", cache=True) as container:
            container.run("echo 1 > /a")
            before = container.commit()
            with pytest.raises(RunError):
                container.run("touch /debris; false")
            assert container.commit() == before

    def test_a_tolerated_failure_counts_and_is_not_remembered(self, store: Store, busybox_image: Image) -> None:
        def build() -> tuple[bool, bool]:
            with store.from_image("localhost/busybox", cache=True) as container:
                result = container.run("touch /a; exit 3", check=False)
                assert result.exit_code == 3
                assert container.read_file("/a") == b""
                after = container.run("echo 1 > /b")
                assert container.read_file("/a") == b""
                return result.cached, after.cached

        assert build() == (False, False)
        assert build() == (False, True)  # the same files again: what follows is known

    def test_changes_through_a_mount_count_by_their_content(self, store: Store, busybox_image: Image) -> None:
        from pathlib import Path

        def build(text: str) -> bool:
            with store.from_image("localhost/busybox", cache=True) as container:
                Path(container.mount(), "by-hand").write_text(text)
                container.umount()
                return container.run("cp /by-hand /copy").cached

        assert [build("x"), build("x"), build("y")] == [False, True, False]


class TestTogether:
    def test_two_threads_drive_two_containers_of_one_store(self, store: Store, busybox_image: Image) -> None:
        images: dict[str, Image] = {}

        def build(word: str) -> None:
            with store.from_image("localhost/busybox", cache=True) as container:
                for number in range(6):
                    container.run(f"echo {word} {number} > /{word}{number}")
                container.copy(dest=f"/{word}", contents={"x": word})
                images[word] = container.commit(f"localhost/{word}")

        run_together([lambda word=word: build(word) for word in ("one", "two")])  # type: ignore[misc]
        assert len(images["one"].layers) == len(images["two"].layers) == 8
        assert store.check() == []

    def test_the_same_steps_at_the_same_time_give_equal_files(self, store: Store, busybox_image: Image) -> None:
        found: list[bytes] = []

        def build() -> None:
            with store.from_image("localhost/busybox", cache=True) as container:
                for number in range(4):
                    container.run(f"echo {number} >> /log")
                found.append(container.read_file("/log"))

        run_together([build] * 3)
        assert found == [b"0\n1\n2\n3\n"] * 3
        assert store.check() == []

    def test_a_fork_shares_layers_and_goes_its_own_way(self, store: Store, busybox_image: Image) -> None:
        with store.from_image("localhost/busybox", cache=True) as container:
            container.run("echo 1 > /a")
            with container.fork("other") as other:
                assert other.name == "other"
                assert other.layers == container.layers
                other.run("echo 2 > /b")
                with pytest.raises(NotFound):
                    container.read_file("/b")
                assert not container.run("echo 3 > /c").cached
                assert other.image_config == container.image_config
        assert ran(store, "echo 1 > /a", "echo 2 > /b") == [False, False]

    def test_a_fork_without_the_cache_takes_what_was_written(self, container: WorkingContainer) -> None:
        container.run("echo 1 > /a")
        with container.fork() as other:
            container.run("rm /a")
            assert other.read_file("/a") == b"1\n"
            assert other.commit().history[-1].created_by == "/bin/sh"


def run_together(work: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
