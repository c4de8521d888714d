"""What COPY leaves in a root: which files, where, and with what owners, modes, times and links."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import CopyError
from buildlib.worker.copying.walk import MAX_DEPTH

if TYPE_CHECKING:
    from tests.unit.worker.copying.conftest import Workbench

pytestmark = pytest.mark.root


def mode(path: os.PathLike[str]) -> int:
    return os.lstat(path).st_mode & 0o7777


def owner(path: os.PathLike[str]) -> tuple[int, int]:
    info = os.lstat(path)
    return info.st_uid, info.st_gid


class TestWhere:
    def test_a_file_gets_the_name_of_the_destination(self, bench: Workbench) -> None:
        bench.write("a", "text")
        bench.copy("a", dest="/new/b")
        assert (bench.root / "new/b").read_text() == "text"

    def test_a_file_goes_into_a_directory_that_exists_or_is_asked_for(self, bench: Workbench) -> None:
        bench.write("a")
        (bench.root / "there").mkdir()
        bench.copy("a", dest="/there")
        bench.copy("a", dest="/asked/")
        assert bench.tree() == ["asked/", "asked/a", "there/", "there/a"]

    def test_of_a_directory_only_the_contents_are_copied(self, bench: Workbench) -> None:
        bench.write("src/a")
        bench.write("src/sub/b")
        bench.copy("src", dest="/app")
        assert bench.tree() == ["app/", "app/a", "app/sub/", "app/sub/b"]

    def test_several_sources_make_the_destination_a_directory(self, bench: Workbench) -> None:
        bench.write("a")
        bench.write("b")
        bench.copy("a", "b", dest="/app")
        assert bench.tree() == ["app/", "app/a", "app/b"]

    def test_a_wildcard_stops_at_slashes_and_takes_hidden_files(self, bench: Workbench) -> None:
        for path in ("x.py", ".y.py", "z.txt", "sub/deep.py"):
            bench.write(path)
        bench.copy("*.py", dest="/app/")
        assert bench.tree() == ["app/", "app/.y.py", "app/x.py"]

    def test_a_wildcard_matches_whole_relative_paths(self, bench: Workbench) -> None:
        for path in ("a/1.txt", "b/2.txt", "b/c/3.txt"):
            bench.write(path)
        bench.copy("[a-b]/*.txt", dest="/app/")
        assert bench.tree() == ["app/", "app/1.txt", "app/2.txt"]

    def test_a_file_whose_name_looks_like_a_pattern_is_found(self, bench: Workbench) -> None:
        bench.write("a[1].txt", "odd")
        bench.copy("a[1].txt", dest="/x")
        assert (bench.root / "x").read_text() == "odd"

    def test_a_source_that_is_a_link_is_followed_but_links_inside_stay(self, bench: Workbench) -> None:
        bench.write("src/a", "text")
        (bench.source / "src/link").symlink_to("a")
        (bench.source / "alias").symlink_to("src")
        bench.copy("alias", dest="/app")
        assert (bench.root / "app/link").readlink() == Path("a")
        bench.copy("src/link", dest="/file")
        assert (bench.root / "file").read_text() == "text"
        assert not (bench.root / "file").is_symlink()

    def test_parents_keeps_the_directories_above_the_source(self, bench: Workbench) -> None:
        bench.write("x/y/a.txt")
        bench.write("x/y/b.md")
        (bench.source / "x").chmod(0o710)
        bench.copy("x/y/a.txt", dest="/p/", parents=True)
        assert bench.tree() == ["p/", "p/x/", "p/x/y/", "p/x/y/a.txt"]
        assert mode(bench.root / "p/x") == 0o710

    def test_parents_begins_at_the_pivot_and_knows_deep_wildcards(self, bench: Workbench) -> None:
        for path in ("x/y/a.txt", "x/y/z/b.txt", "x/y/z/c.md", "x/d.txt"):
            bench.write(path)
        bench.copy("x/./**/*.txt", dest="/p/", parents=True)
        assert bench.tree() == ["p/", "p/d.txt", "p/y/", "p/y/a.txt", "p/y/z/", "p/y/z/b.txt"]

    def test_a_link_at_the_destination_is_followed_within_the_root(self, bench: Workbench) -> None:
        bench.write("a", "text")
        (bench.root / "usr/lib").mkdir(parents=True)
        (bench.root / "lib").symlink_to("/usr/lib")
        (bench.root / "escape").symlink_to("/../../../../escaped")
        bench.copy("a", dest="/lib/")
        bench.copy("a", dest="/escape/")
        bench.copy("a", dest="/escape/b")
        assert bench.tree() == [
            "escape", "escaped/", "escaped/a", "escaped/b", "lib", "usr/", "usr/lib/", "usr/lib/a",
        ]  # fmt: skip

    def test_a_file_is_written_where_a_link_leads_also_a_dangling_one(self, bench: Workbench) -> None:
        bench.write("a", "text")
        (bench.root / "link").symlink_to("run/target")
        bench.copy("a", dest="/link")
        assert (bench.root / "run/target").read_text() == "text"
        assert (bench.root / "link").readlink() == Path("run/target")

    def test_a_circle_of_links_is_an_error(self, bench: Workbench) -> None:
        bench.write("a")
        (bench.root / "x").symlink_to("y")
        (bench.root / "y").symlink_to("x")
        with pytest.raises(CopyError, match="/x"):
            bench.copy("a", dest="/x/")

    def test_a_directory_in_the_source_lands_in_what_a_link_leads_to(self, bench: Workbench) -> None:
        """Debian's /lib is a link: a copied tree with a folder lib must not replace it."""
        bench.write("tree/lib/new")
        (bench.root / "usr/lib").mkdir(parents=True)
        (bench.root / "lib").symlink_to("/usr/lib")
        bench.copy("tree", dest="/")
        assert (bench.root / "usr/lib/new").exists()
        assert (bench.root / "lib").is_symlink()

    def test_existing_files_and_links_are_replaced_not_written_through(self, bench: Workbench) -> None:
        bench.write("src/a", "new")
        bench.write("src/b", "new")
        (bench.root / "app").mkdir()
        (bench.root / "app/a").write_text("old")
        (bench.root / "other").write_text("untouched")
        (bench.root / "app/b").symlink_to("../other")
        bench.copy("src", dest="/app")
        assert (bench.root / "app/a").read_text() == "new"
        assert not (bench.root / "app/b").is_symlink()
        assert (bench.root / "other").read_text() == "untouched"

    def test_given_contents_become_files(self, bench: Workbench) -> None:
        bench.copy(dest="/etc/one.conf", contents=(("x", "aGk=", 0o644),))
        bench.copy(dest="/etc/", contents=(("two.conf", "aG8=", 0o644),), chmod="600")
        assert (bench.root / "etc/one.conf").read_text() == "hi"
        assert (bench.root / "etc/two.conf").read_text() == "ho"
        assert mode(bench.root / "etc/two.conf") == 0o600

    def test_a_later_source_overwrites_an_earlier_one(self, bench: Workbench) -> None:
        bench.write("a/f", "first")
        bench.write("b/f", "second")
        os.link(bench.source / "a/f", bench.source / "a/g")
        os.link(bench.source / "a/f", bench.source / "z")
        bench.copy("a", "b", "z", dest="/app")
        assert (bench.root / "app/f").read_text() == "second"
        assert (bench.root / "app/z").read_text() == "first"


class TestRefused:
    def test_a_missing_source_is_named_with_what_may_have_been_meant(self, bench: Workbench) -> None:
        bench.write("src/app.py")
        with pytest.raises(CopyError, match=r"src/ap\.py: no such file in the context") as caught:
            bench.copy("src/ap.py", dest="/")
        assert "src/app.py" in (caught.value.hint or "")

    def test_each_missing_source_is_named(self, bench: Workbench) -> None:
        bench.write("a")
        with pytest.raises(CopyError, match=r"no1: no such.*no2: no such") as caught:
            bench.copy("a", "no1", "no2", dest="/")
        assert bench.tree() == []
        assert caught.value.path == "no1"

    def test_a_wildcard_without_a_match_is_an_error_unless_it_is_allowed(self, bench: Workbench) -> None:
        bench.write("a")
        with pytest.raises(CopyError, match=r"\*\.py: nothing in the context matches"):
            bench.copy("a", "*.py", dest="/x/")
        bench.copy("a", "*.py", dest="/x/", empty_wildcard=True)
        assert bench.tree() == ["x/", "x/a"]

    def test_an_ignored_source_is_told_with_its_pattern_and_line(self, bench: Workbench) -> None:
        bench.write("secret.key")
        bench.write("logs/a.log")
        with pytest.raises(CopyError, match=r"\*\*/\*\.key \(line 2 of \.dockerignore\)"):
            bench.copy("secret.key", dest="/", ignore="logs\n**/*.key\n")
        with pytest.raises(CopyError, match=r"logs \(line 1 of"):
            bench.copy("logs", dest="/", ignore="logs\n")

    def test_a_dangling_link_is_missing(self, bench: Workbench) -> None:
        (bench.source / "dangling").symlink_to("nowhere")
        with pytest.raises(CopyError, match="dangling: no such file"):
            bench.copy("dangling", dest="/")

    def test_a_link_out_of_the_context_leads_to_nothing(self, bench: Workbench) -> None:
        (bench.source.parent / "outside").write_text("secret")
        (bench.source / "out").symlink_to("../outside")
        (bench.source / "abs").symlink_to(bench.source.parent / "outside")
        for name in ("out", "abs", "../outside"):
            with pytest.raises(CopyError, match="no such file"):
                bench.copy(name, dest="/")

    def test_several_sources_do_not_fit_into_a_file(self, bench: Workbench) -> None:
        bench.write("a")
        bench.write("b")
        (bench.root / "file").write_text("")
        with pytest.raises(CopyError, match=r"/file: exists in the container and is not a directory"):
            bench.copy("a", "b", dest="/file")
        with pytest.raises(CopyError, match="not a directory"):
            bench.copy("a", dest="/file/")
        with pytest.raises(CopyError, match="not a directory"):
            bench.copy("a", dest="/file/below/x")

    def test_a_directory_does_not_replace_a_file_nor_a_file_a_directory(self, bench: Workbench) -> None:
        bench.write("src/x/file")
        bench.write("other/x")
        (bench.root / "app").mkdir()
        (bench.root / "app/x").write_text("")
        with pytest.raises(CopyError, match="/app/x is not a directory"):
            bench.copy("src", dest="/app")
        (bench.root / "dirs/x").mkdir(parents=True)
        with pytest.raises(CopyError, match="/dirs/x is a directory"):
            bench.copy("other", dest="/dirs")
        with pytest.raises(CopyError, match="/dirs/x is a directory"):
            bench.copy("other/x", dest="/dirs")

    def test_too_deep_a_tree_is_an_error_not_a_crash(self, bench: Workbench) -> None:
        path = bench.source / "src"
        path.mkdir()
        fd = os.open(path, os.O_RDONLY)
        for _ in range(MAX_DEPTH + 5):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
        with pytest.raises(CopyError, match="nested deeper"):
            bench.copy("src", dest="/app")

    def test_a_file_that_holds_more_than_its_size_says_is_an_error(self, bench: Workbench) -> None:
        """Files of /proc are such; so is one that grows while it is read."""
        bench.source = Path("/proc/sys/kernel")
        with pytest.raises(CopyError, match="ostype: changed while it was read"):
            bench.copy("ostype", dest="/x")

    def test_of_a_file_that_is_written_to_no_two_versions_are_mixed(self, bench: Workbench) -> None:
        file = bench.write("src/flapping", "A" * 100_000)
        stop = threading.Event()

        def flap() -> None:
            while not stop.is_set():
                for letter in "BA":
                    file.write_text(letter * 100_000)

        thread = threading.Thread(target=flap)
        thread.start()
        try:
            for number in range(30):
                try:
                    bench.copy("src", dest=f"/{number}")
                except (CopyError, AssertionError):  # changed meanwhile; the assertion compares two readings
                    continue
                text = (bench.root / str(number) / "flapping").read_text()
                assert len(set(text)) <= 1
        finally:
            stop.set()
            thread.join()


class TestMetadata:
    def test_from_a_context_everything_is_roots_and_setuid_goes_but_sticky_stays(self, bench: Workbench) -> None:
        file = bench.write("src/a", mode=0o6755)
        os.chown(file, 1234, 1234)
        file.chmod(0o7755)
        os.utime(file, ns=(1, 1_000_000_007_123_456_789))
        bench.copy("src", dest="/app")
        copy = bench.root / "app/a"
        assert owner(copy) == (0, 0)
        assert mode(copy) == 0o1755
        assert copy.stat().st_mtime_ns == 1_000_000_007_123_456_789

    def test_from_an_image_owner_and_setuid_are_kept(self, bench: Workbench) -> None:
        file = bench.write("src/a")
        os.chown(file, 1234, 5678)
        file.chmod(0o4755)
        bench.copy("src", dest="/app", keep_owner=True, strip=False)
        assert owner(bench.root / "app/a") == (1234, 5678)
        assert mode(bench.root / "app/a") == 0o4755

    def test_chown_reaches_all_that_is_made_and_nothing_that_was_there(self, bench: Workbench) -> None:
        bench.write("src/sub/a")
        (bench.source / "src/link").symlink_to("sub")
        (bench.root / "there").mkdir()
        bench.copy("src", dest="/there/new", chown="7:8", owner=(7, 8))
        for path in ("there/new", "there/new/sub", "there/new/sub/a", "there/new/link"):
            assert owner(bench.root / path) == (7, 8)
        assert owner(bench.root / "there") == (0, 0)

    def test_an_octal_chmod_applies_to_directories_too_also_to_those_above(self, bench: Workbench) -> None:
        bench.write("src/sub/a", mode=0o755)
        bench.copy("src", dest="/x/y", chmod="644")
        assert [mode(bench.root / path) for path in ("x", "x/y", "x/y/sub", "x/y/sub/a")] == [0o644] * 4

    def test_a_symbolic_chmod_leaves_the_directories_above_alone(self, bench: Workbench) -> None:
        bench.write("src/sub/a", mode=0o600)
        (bench.source / "src/sub").chmod(0o700)
        bench.copy("src", dest="/x/y", chmod="u=rwX,go=rX")
        modes = [mode(bench.root / path) for path in ("x", "x/y", "x/y/sub", "x/y/sub/a")]
        assert modes == [0o755, 0o755, 0o755, 0o644]

    def test_the_top_directory_keeps_its_metadata_nested_ones_take_the_sources(self, bench: Workbench) -> None:
        bench.write("src/sub/a")
        (bench.source / "src").chmod(0o700)
        (bench.source / "src/sub").chmod(0o711)
        os.utime(bench.source / "src/sub", ns=(5, 5_000_000_000))
        (bench.root / "app/sub").mkdir(parents=True)
        (bench.root / "app").chmod(0o750)
        bench.copy("src", dest="/app")
        assert mode(bench.root / "app") == 0o750
        assert mode(bench.root / "app/sub") == 0o711
        assert (bench.root / "app/sub").stat().st_mtime_ns == 5_000_000_000

    def test_new_directories_on_the_way_are_0755_and_roots(self, bench: Workbench) -> None:
        bench.write("src/a")
        (bench.source / "src").chmod(0o700)
        bench.copy("src", dest="/n1/n2")
        assert [mode(bench.root / path) for path in ("n1", "n1/n2")] == [0o755, 0o755]

    def test_a_setgid_directory_does_not_give_its_group_away(self, bench: Workbench) -> None:
        bench.write("src/sub/a")
        (bench.root / "app").mkdir()
        os.chown(bench.root / "app", 0, 4321)
        (bench.root / "app").chmod(0o2755)
        bench.copy("src", dest="/app")
        assert owner(bench.root / "app/sub/a") == (0, 0)
        assert owner(bench.root / "app/sub") == (0, 0)
        assert mode(bench.root / "app/sub") == 0o755

    def test_hard_links_stay_hard_links_within_one_copy(self, bench: Workbench) -> None:
        bench.write("src/a", "text")
        (bench.source / "src/sub").mkdir()
        os.link(bench.source / "src/a", bench.source / "src/sub/b")
        os.link(bench.source / "src/a", bench.source / "outside")
        bench.copy("src", dest="/app")
        a, b = (bench.root / "app/a").stat(), (bench.root / "app/sub/b").stat()
        assert a.st_ino == b.st_ino
        assert a.st_nlink == 2

    def test_capabilities_survive_a_chown(self, bench: Workbench) -> None:
        file = bench.write("src/ping")
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        os.setxattr(file, "security.capability", capability)
        os.setxattr(file, "user.note", b"kept")
        os.setxattr(file, "trusted.overlay.opaque", b"y")
        bench.copy("src", dest="/app", chown="7:8", owner=(7, 8))
        copy = bench.root / "app/ping"
        assert os.getxattr(copy, "security.capability") == capability
        assert sorted(os.listxattr(copy)) == ["security.capability", "user.note"]

    def test_holes_stay_holes(self, bench: Workbench) -> None:
        with (bench.source / "sparse").open("wb") as file:
            file.seek(5 << 20)
            file.write(b"middle")
            file.truncate(20 << 20)
        bench.copy("sparse", dest="/sparse")
        copy = bench.root / "sparse"
        assert copy.read_bytes() == (bench.source / "sparse").read_bytes()
        assert copy.stat().st_blocks * 512 < 1 << 20

    def test_large_files_are_copied_whole(self, bench: Workbench) -> None:
        data = os.urandom(3 << 20) + b"end"
        (bench.source / "large").write_bytes(data)
        bench.copy("large", dest="/large")
        assert (bench.root / "large").read_bytes() == data

    def test_links_fifos_and_devices_are_recreated_and_sockets_left_out(self, bench: Workbench) -> None:
        import socket

        (bench.source / "src").mkdir()
        (bench.source / "src/link").symlink_to("any/where")
        os.mkfifo(bench.source / "src/fifo", 0o640)
        os.mknod(bench.source / "src/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(bench.source / "src/socket"))
        bench.copy("src", dest="/app")
        assert bench.tree() == ["app/", "app/fifo", "app/link", "app/null"]
        assert stat.S_ISFIFO(os.lstat(bench.root / "app/fifo").st_mode)
        assert mode(bench.root / "app/fifo") == 0o640
        assert os.lstat(bench.root / "app/null").st_rdev == os.makedev(1, 3)

    def test_names_that_are_not_utf8_survive(self, bench: Workbench) -> None:
        (bench.source / "src").mkdir()
        bench.write(os.fsdecode(b"src/caf\xe9"))
        bench.copy("src", dest="/app")
        assert [os.fsencode(path.name) for path in (bench.root / "app").iterdir()] == [b"caf\xe9"]


class TestFilters:
    def test_ignored_files_are_left_out_and_exceptions_come_back(self, bench: Workbench) -> None:
        for path in ("keep.py", "junk.log", "node_modules/x", "docs/a", "docs/keep/b"):
            bench.write(path)
        (bench.source / "docs").chmod(0o711)
        bench.copy(".", dest="/app", ignore="*.log\nnode_modules\ndocs\n!docs/keep\n")
        assert bench.tree() == ["app/", "app/docs/", "app/docs/keep/", "app/docs/keep/b", "app/keep.py"]
        assert mode(bench.root / "app/docs") == 0o711

    def test_patterns_are_rooted_at_the_context_not_at_the_source(self, bench: Workbench) -> None:
        bench.write("src/tmp/a")
        bench.write("src/b")
        bench.copy("src", dest="/app", ignore="src/tmp\n")
        assert bench.tree() == ["app/", "app/b"]

    def test_an_excluded_directory_of_which_something_is_kept_is_a_source(self, bench: Workbench) -> None:
        bench.write("src/a")
        bench.write("src/b")
        bench.copy("src", dest="/app", ignore="src\n!src/a\n")
        assert bench.tree() == ["app/", "app/a"]

    def test_a_link_to_an_ignored_file_does_not_bring_it_in(self, bench: Workbench) -> None:
        bench.write("secret")
        (bench.source / "alias").symlink_to("secret")
        with pytest.raises(CopyError):
            bench.copy("alias", dest="/x", ignore="secret\n")

    def test_exclude_is_relative_to_the_copied_directory(self, bench: Workbench) -> None:
        for path in ("src/a.txt", "src/b.md", "src/sub/c.txt", "src/sub/d.md"):
            bench.write(path)
        bench.copy("src", dest="/one", exclude=("*.txt",))
        bench.copy("src", dest="/two", exclude=("**/*.txt", "!sub/c.txt"))
        assert bench.tree() == [
            "one/", "one/b.md", "one/sub/", "one/sub/c.txt", "one/sub/d.md",
            "two/", "two/b.md", "two/sub/", "two/sub/c.txt", "two/sub/d.md",
        ]  # fmt: skip

    def test_exclude_applies_to_what_a_wildcard_matched(self, bench: Workbench) -> None:
        bench.write("home.txt")
        bench.write("home.md")
        bench.copy("hom*", dest="/x/", exclude=("*.txt",))
        assert bench.tree() == ["x/", "x/home.md"]

    def test_the_folders_to_skip_are_not_entered(self, bench: Workbench) -> None:
        bench.write("store/db")
        bench.write("a")
        info = (bench.source / "store").stat()
        bench.copy(".", dest="/app", skip=((info.st_dev, info.st_ino),))
        assert bench.tree() == ["app/", "app/a"]
