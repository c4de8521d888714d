"""copy, add and mkdir on a real container: what the worker does with the rules, and what the cache makes of it."""

from __future__ import annotations

import os
import subprocess
import tarfile
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import CopyError, LayerError, StoreFull, UsageError
from buildlib.patterns import IgnorePatterns
from buildlib.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.container import WorkingContainer

pytestmark = pytest.mark.root


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src/sub").mkdir(parents=True)
    (folder / "src/app.py").write_text("print()\n")
    (folder / "src/sub/data").write_text("data\n")
    (folder / "notes.draft").write_text("draft\n")
    return folder


def stat(container: WorkingContainer, *paths: str) -> list[str]:
    """owner:mode of each path."""
    command = ["stat", "-c", "%u:%g:%a", *paths]
    return container.run(command, capture=True, cache=False).stdout.split()


class TestCopy:
    def test_files_arrive_with_owner_by_name_and_mode(self, container: WorkingContainer, context: Path) -> None:
        container.copy("src", dest="/srv/app", context=str(context), chown="app:video", chmod="u=rwX,go=")
        assert container.read_file("/srv/app/sub/data") == b"data\n"
        paths = ("/srv", "/srv/app", "/srv/app/sub", "/srv/app/app.py")
        assert stat(container, *paths) == ["1000:44:755", "1000:44:755", "1000:44:700", "1000:44:600"]

    def test_the_last_path_is_the_destination_unless_one_is_named(
        self, container: WorkingContainer, context: Path
    ) -> None:
        container.copy("src/app.py", "notes.draft", "/x/", context=str(context))
        container.copy("/y", contents={"y": "text"})
        assert container.run("ls /x /y", capture=True).stdout.split() == ["/y", "/x:", "app.py", "notes.draft"]

    def test_the_destination_starts_at_the_working_directory(self, container: WorkingContainer, context: Path) -> None:
        container.config(workdir="/srv")
        container.copy("src/app.py", dest=".", context=str(context))
        container.copy("src/app.py", dest="/srv", context=str(context))
        container.copy("src/app.py", dest="renamed.py", context=str(context))
        assert container.run("ls", capture=True).stdout.split() == ["app.py", "renamed.py"]

    def test_without_a_context_sources_are_paths_of_the_host(
        self, container: WorkingContainer, context: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(context / "src")
        container.copy("app.py", "../notes.draft", str(context / "src/sub/data"), dest="/x/")
        assert container.run("ls /x", capture=True).stdout.split() == ["app.py", "data", "notes.draft"]

    def test_ignore_patterns_may_be_a_list(self, container: WorkingContainer, context: Path) -> None:
        container.copy(".", dest="/x", context=str(context), ignore=["**/*.draft", "src/sub"])
        assert container.run("find /x -type f", capture=True).stdout.split() == ["/x/src/app.py"]

    def test_an_ignored_source_names_the_line_of_the_ignore_file(
        self, container: WorkingContainer, context: Path
    ) -> None:
        patterns = IgnorePatterns.parse("# nothing private\n*.draft\n", source=".dockerignore")
        with pytest.raises(CopyError, match=r"notes\.draft: left out .* \(line 2 of \.dockerignore\)"):
            container.copy("notes.draft", dest="/", context=str(context), ignore=patterns)

    def test_an_unknown_owner_is_an_error(self, container: WorkingContainer, context: Path) -> None:
        with pytest.raises(CopyError, match="no user 'nobody'"):
            container.copy("src", dest="/x", context=str(context), chown="nobody")

    def test_from_another_container_owners_and_setuid_are_kept(self, container: WorkingContainer) -> None:
        with container.store.from_image("localhost/busybox") as other:
            other.run("mkdir /out && touch /out/a && chown 1000:44 /out/a && chmod 4755 /out/a && ln -s a /out/link")
            container.copy("/out", dest="/in", from_=other)
            container.copy("out/link", dest="/in/b", from_=other.name, chown="7")
        assert stat(container, "/in/a", "/in/link", "/in/b") == ["1000:44:4755", "0:0:777", "7:7:4755"]

    def test_from_an_image_by_name(self, container: WorkingContainer) -> None:
        container.copy("/etc/passwd", dest="/copy", from_="localhost/busybox")
        assert container.read_file("/copy").startswith(b"root:")

    def test_contents_are_given(self, container: WorkingContainer) -> None:
        container.copy(dest="/etc/app/", contents={"a.conf": "text\n", "b.conf": b"\xff"}, chown="app")
        assert container.read_file("/etc/app/b.conf") == b"\xff"
        assert stat(container, "/etc/app/a.conf") == ["1000:1000:644"]

    def test_the_store_is_not_copied_into_itself(self, container: WorkingContainer, tmp_path: Path) -> None:
        container.copy(".", dest="/all", context=str(tmp_path))
        assert container.run("ls /all", capture=True).stdout.split() == []

    def test_nothing_to_copy_and_nowhere_to_copy_to_are_refused(self, container: WorkingContainer) -> None:
        for call in (
            lambda: container.copy(dest="/x"),
            lambda: container.copy("a", dest=""),
            container.copy,
            lambda: container.copy("/x"),
        ):
            with pytest.raises(UsageError):
                call()
        with pytest.raises(UsageError, match="not a mode"):
            container.copy("a", dest="/", chmod="rwx")

    def test_files_of_a_hostile_image_are_resolved_within_it(self, container: WorkingContainer, tmp_path: Path) -> None:
        (tmp_path / "host-secret").write_text("hush")
        with container.store.from_image("localhost/busybox") as other:
            other.run(f"ln -s {tmp_path}/host-secret /leak && ln -s ../../../../../..{tmp_path} /up")
            for source in ("/leak", "/up/host-secret"):
                with pytest.raises(CopyError, match="no such file"):
                    container.copy(source, dest="/x", from_=other)


class TestAdd:
    @pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
    def test_an_archive_is_unpacked_whatever_its_name(
        self, container: WorkingContainer, context: Path, compression: str
    ) -> None:
        archive(context / "data.bin", compression)
        container.add("data.bin", dest="/un/packed", context=str(context))
        assert container.read_file("/un/packed/dir/file") == b"inside"
        assert stat(container, "/un/packed/dir/file", "/un/packed") == ["1000:44:640", "0:0:755"]

    def test_chown_applies_to_what_is_unpacked(self, container: WorkingContainer, context: Path) -> None:
        archive(context / "a.tar", "")
        container.add("a.tar", dest="/x", context=str(context), chown="7:8")
        assert stat(container, "/x", "/x/dir/file") == ["7:8:755", "7:8:640"]

    def test_other_files_and_with_unpack_off_archives_too_are_copied(
        self, container: WorkingContainer, context: Path
    ) -> None:
        archive(context / "a.tar", "")
        (context / "no.tar").write_text("not an archive")
        container.add("no.tar", "src", dest="/x/", context=str(context))
        container.add("a.tar", dest="/x/", context=str(context), unpack=False)
        assert container.run("ls /x", capture=True).stdout.split() == ["a.tar", "app.py", "no.tar", "sub"]

    def test_a_hostile_archive_is_refused(self, container: WorkingContainer, context: Path) -> None:
        with tarfile.open(context / "evil.tar", "w") as tar:
            tar.addfile(tarfile.TarInfo("../../escape"), BytesIO())
        with pytest.raises(LayerError, match="escape"):
            container.add("evil.tar", dest="/x", context=str(context))


class TestMkdir:
    def test_all_missing_directories_get_mode_and_owner(self, container: WorkingContainer) -> None:
        container.mkdir("/a/b/c", 0o700, "app")
        assert stat(container, "/a", "/a/b", "/a/b/c") == ["1000:1000:700"] * 3

    def test_what_is_there_stays_as_it_is(self, container: WorkingContainer) -> None:
        container.mkdir("/tmp", 0o700, "app")
        assert stat(container, "/tmp") == ["0:0:1777"]

    def test_links_are_followed_in_the_container(self, container: WorkingContainer, tmp_path: Path) -> None:
        container.run(f"ln -s {tmp_path}/outside /link")
        container.mkdir("/link/x")
        assert not (tmp_path / "outside").exists()
        assert stat(container, f"{tmp_path}/outside/x") == ["0:0:755"]

    def test_a_file_in_the_way_is_an_error(self, container: WorkingContainer) -> None:
        with pytest.raises(CopyError, match="not a directory"):
            container.mkdir("/etc/passwd/x")


class TestCached:
    def test_equal_files_are_found_and_changed_ones_copied(self, cached: WorkingContainer, context: Path) -> None:
        store = cached.store
        assert cached.copy("src", dest="/x", context=str(context)) is False
        with store.from_image("localhost/busybox", cache=True) as again:
            os.utime(context / "src/app.py", (1, 1))
            assert again.copy("./src/", dest="/x", context=str(context)) is True
            assert again.layers == cached.layers
        (context / "src/app.py").write_text("changed\n")
        with store.from_image("localhost/busybox", cache=True) as changed:
            assert changed.copy("src", dest="/x", context=str(context)) is False
            assert changed.read_file("/x/app.py") == b"changed\n"

    @pytest.mark.parametrize(
        "change", [{"dest": "/y"}, {"chown": "1:2"}, {"chmod": "600"}, {"ignore": ["src/sub"]}, {"parents": True}]
    )
    def test_whatever_changes_the_outcome_changes_the_key(
        self, cached: WorkingContainer, context: Path, change: dict[str, object]
    ) -> None:
        cached.copy("src", dest="/x", context=str(context))
        with cached.store.from_image("localhost/busybox", cache=True) as other:
            assert not other.copy("src", **{"dest": "/x", "context": str(context), **change})  # type: ignore[arg-type]

    def test_files_of_another_container_are_keyed_by_content(self, cached: WorkingContainer) -> None:
        store = cached.store

        def outcome(command: str) -> bool:
            with store.from_image("localhost/busybox", cache=True) as source:
                source.run(command)
                with store.from_image("localhost/busybox", cache=True) as target:
                    return target.copy("/made", dest="/x", from_=source)

        assert outcome("echo 1 > /made") is False
        assert outcome("echo 1 > /made; echo other > /elsewhere") is True
        assert outcome("echo 2 > /made") is False

    def test_a_source_that_changes_between_hashing_and_copying_does_not_poison_the_cache(
        self, cached: WorkingContainer, context: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from buildlib.container import copy

        real, done = copy.digest, []

        def digest(*args: object) -> object:
            found = real(*args)  # type: ignore[arg-type]
            if not done:
                done.append(1)
                (context / "src/app.py").write_text("changed just now\n")
            return found

        monkeypatch.setattr(copy, "digest", digest)
        cached.copy("src", dest="/x", context=str(context))
        assert cached.read_file("/x/app.py") == b"changed just now\n"
        (context / "src/app.py").write_text("print()\n")
        with cached.store.from_image("localhost/busybox", cache=True) as other:
            other.copy("src", dest="/x", context=str(context))
            assert other.read_file("/x/app.py") == b"print()\n"

    def test_a_missing_source_is_an_error_before_anything_is_done(
        self, cached: WorkingContainer, context: Path
    ) -> None:
        with pytest.raises(CopyError, match="missing"):
            cached.copy("missing", dest="/x", context=str(context))
        assert cached.id not in os.listdir(f"{cached.store.root}/containers")  # noqa: PTH208

    def test_mkdir_is_cached(self, cached: WorkingContainer) -> None:
        assert cached.mkdir("/a/b") is False
        with cached.store.from_image("localhost/busybox", cache=True) as again:
            assert again.mkdir("/a/b") is True


def archive(path: Path, compression: str) -> None:
    with tarfile.open(path, f"w:{compression}") as tar:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("dir")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        file = tarfile.TarInfo("dir/file")
        file.size, file.mode, file.uid, file.gid = 6, 0o640, 1000, 44
        tar.addfile(file, BytesIO(b"inside"))


class TestFullDisk:
    @pytest.mark.parametrize("size", [9_900_000, 10_240_000, 13_000_000])
    def test_a_full_disk_is_told_and_the_container_goes_on(self, tmp_path: Path, busybox_tar: str, size: int) -> None:
        """The file does not fit; or it does, but the row about it does not."""
        folder = tmp_path / "small"
        folder.mkdir()
        (tmp_path / "big").write_bytes(os.urandom(1000) * (size // 1000))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=True)
        try:
            with Store.open(str(folder / "store")) as store:
                with store.from_image(f"tarball:{busybox_tar}", cache=True) as container:
                    container.copy(dest="/small", contents={"small": "x"})
                    with suppress(StoreFull) if size < 10_000_000 else pytest.raises(StoreFull, match="no space left"):
                        container.copy("big", dest="/", context=str(tmp_path))
                    assert container.read_file("/small") == b"x"
                    if size > 10_000_000:
                        container.copy(dest="/more", contents={"more": "y"})
                        container.commit("localhost/fits")
                assert store.check() == []
        finally:
            subprocess.run(["umount", folder], check=True)

    def test_a_container_without_the_cache_can_at_least_be_removed(self, tmp_path: Path, busybox_tar: str) -> None:
        folder = tmp_path / "small"
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=True)
        try:
            with Store.open(str(folder / "store")) as store:
                with store.from_image(f"tarball:{busybox_tar}") as container:
                    container.run("cat /dev/zero > /zeros 2>/dev/null", check=False)
                assert store.containers() == []
                assert store.check() == []
        finally:
            subprocess.run(["umount", folder], check=True)
