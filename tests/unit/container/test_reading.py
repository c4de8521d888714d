"""Looking into containers, their names, and what becomes of them when processes die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.container.creating import stem
from buildlib.errors import CopyError, FormatError, NameInUse, NotFound, StoreBusy, UsageError
from buildlib.store import Store

if TYPE_CHECKING:
    from buildlib.container import WorkingContainer
    from buildlib.image import Image

root = pytest.mark.root


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("docker.io/library/debian:12", "debian"),
        ("localhost:5000/team/site@sha256:" + "0" * 64, "site"),
        ("scratch", ""),
        ("tarball:/tmp/root fs.tar.xz", "root-fs"),
        ("oci:/tmp/layout:tag", "layout"),
        ("0123456789abcdef" * 4, "0123456789ab"),
    ],
)
def test_a_container_is_called_after_its_image(image: str, expected: str) -> None:
    assert stem(image) == expected


@root
class TestNames:
    def test_names_are_counted_up(self, store: Store, busybox_image: Image) -> None:
        made = [store.from_image(busybox_image) for _ in range(3)]
        assert [c.name for c in made] == [
            "busybox-working-container", "busybox-working-container-1", "busybox-working-container-2",
        ]  # fmt: skip
        made[1].remove()
        assert store.from_image(busybox_image).name == "busybox-working-container-1"
        assert store.from_image("scratch").name == "working-container"

    def test_a_name_is_taken_once(self, store: Store, busybox_image: Image) -> None:
        store.from_image(busybox_image, "mine")
        other = store.from_image(busybox_image, "other")
        with pytest.raises(NameInUse, match="'mine'"):
            store.from_image(busybox_image, "mine")
        with pytest.raises(NameInUse):
            other.rename("mine")
        other.rename("other")
        other.rename("third")
        assert store.container("third").id == other.id
        with pytest.raises(UsageError):
            other.rename("no/name")


@root
class TestLooking:
    def test_files_are_read_within_the_container(self, container: WorkingContainer, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hush")
        container.run(
            f"ln -s {tmp_path}/secret /leak; ln -s /etc/passwd /users; mkfifo /fifo; mknod /null c 1 3 || true"
        )
        assert container.read_file("/users").startswith(b"root:")
        assert container.read_file("etc/group").startswith(b"root:")
        for path in ("/leak", "/missing", "/etc/passwd/x"):
            with pytest.raises(NotFound):
                container.read_file(path)
        for path in ("/fifo", "/etc"):
            with pytest.raises(CopyError, match="not a regular file"):
                container.read_file(path)
        with pytest.raises(CopyError, match="more than the 3"):
            container.read_file("/etc/passwd", limit=3)

    def test_a_container_that_was_never_executed_in_can_be_read(self, cached: WorkingContainer) -> None:
        assert cached.read_file("/etc/passwd").startswith(b"root:")
        assert cached.state.prepared is None

    def test_large_files_are_read_whole(self, container: WorkingContainer) -> None:
        container.run("head -c 5000000 /dev/zero > /big")
        assert container.read_file("/big") == bytes(5_000_000)

    def test_users_that_are_no_file_are_an_error_not_a_trap(self, container: WorkingContainer) -> None:
        container.run("rm /etc/passwd && mkfifo /etc/passwd")
        with pytest.raises(FormatError, match="/etc/passwd"):
            container.run("true", user="app")
        with pytest.raises(FormatError, match="/etc/passwd"):
            container.copy(dest="/x", contents={"x": ""}, chown="app")

    def test_the_difference_from_the_base_over_all_layers(self, container: WorkingContainer) -> None:
        container.run("echo 1 > /new; echo 2 > /gone; rm /bin/dd; chmod 600 /etc/group")
        container.fork("side").remove()  # makes a layer of it
        container.run("rm /gone; echo 3 > /bin/dd; echo more >> /new")
        kinds = {change.path: change.kind for change in container.diff() if change.path not in ("/bin", "/etc")}
        assert kinds == {"/bin/dd": "changed", "/etc/group": "changed", "/new": "added"}


@root
class TestLiving:
    def test_the_end_of_the_block_removes_it_unless_it_is_to_be_kept(self, store: Store, busybox_image: Image) -> None:
        with store.from_image(busybox_image) as gone, store.from_image(busybox_image) as kept:
            kept.run("echo 1 > /a")
            kept.keep()
        assert [c.id for c in store.containers()] == [kept.id]
        with pytest.raises(NotFound):
            gone.run("true")
        assert store.container(kept.name).read_file("/a") == b"1\n"

    def test_layers_that_nothing_needs_any_more_go_with_it(self, store: Store, busybox_image: Image) -> None:
        container = store.from_image(busybox_image)
        container.run("echo 1 > /a")
        container.fork("side").remove()
        assert len(container.layers) == 2
        container.remove()
        assert store.db.rows("SELECT id FROM layers") == [(layer,) for layer in busybox_image.layers]

    def test_two_users_of_one_container_take_turns_or_are_told(self, store: Store, container: WorkingContainer) -> None:
        same = store.container(container.id)
        with store.lease(f"execution:{container.id}", exclusive=True), pytest.raises(StoreBusy):
            same.run("true")
        same.run("echo 1 > /a")
        container.run("echo 2 >> /a")
        assert same.read_file("/a") == b"1\n2\n"
        same.config(env={"A": "1"})
        container.config(env={"B": "2"})
        assert same.store.container(same.name).image_config.config.env[-2:] == ("A=1", "B=2")

    @pytest.mark.parametrize("cache", [True, False])
    def test_kill_9_in_the_middle_of_a_run(self, store: Store, busybox_image: Image, cache: bool) -> None:
        script = f"""
            from buildlib.store import Store
            with Store.open({store.root!r}) as store:
                container = store.from_image("localhost/busybox", "victim", cache={cache})
                container.run("echo 1 > /a")
                container.run("echo 2 > /b; touch /started; sleep 49")
        """
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
        upper = Path(store.root, "containers")
        while not list(upper.glob("*/upper/started")):
            assert child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        with Store.open(store.root) as again:
            container = again.container("victim")
            container.run("echo 3 > /c")
            found = [path for path in ("/a", "/b", "/c") if _has(container, path)]
            assert found == (["/a", "/c"] if cache else ["/a", "/b", "/c"])
            assert again.check() == []
            container.commit("localhost/after")
            container.remove()

    def test_a_process_that_dies_within_the_block_leaves_no_container(self, store: Store, busybox_image: Image) -> None:
        script = f"""
            import os
            from buildlib.store import Store
            store = Store.open({store.root!r})
            with store.from_image("localhost/busybox") as container:
                container.run("echo 1 > /a")
                os._exit(7)
        """
        assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)]).returncode == 7
        with Store.open(store.root) as again:
            again.recover()
            assert again.containers() == []
            assert os.listdir(f"{store.root}/containers") == []  # noqa: PTH208


def _has(container: WorkingContainer, path: str) -> bool:
    try:
        container.read_file(path)
    except NotFound:
        return False
    return True
