"""What programs do with files: deeds to be done in a tree; what each returns or raises can be compared.

The tree is that of ``lower`` in :mod:`tests.conformance.test_file_system`.
"""

# Descriptors, bytes and modes are what is tested here.
# ruff: noqa: PTH101, PTH106, PTH108, PTH109, PTH115, PTH116, PTH118, PTH121, PTH123, PTH208, PTH211

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEEDS: list[Callable[[Path], Any]] = []


def deed(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """One that is done in both; what it returns or raises has to be the same."""
    DEEDS.append(function)
    return function


@deed
def read(root: Path) -> Any:
    return [(root / path).read_text() for path in ("file", "dir/sub/deep/d", "link", "hidden/new")]


@deed
def miss(root: Path) -> Any:
    return [(root / path).exists() for path in ("gone", "gone/g", "hidden/h", "nothing", "file/x", "dir/nothing/x")]


@deed
def list_all(root: Path) -> Any:
    return {path: (sorted(folders), sorted(files)) for path, folders, files in os.walk(root) if path != str(root)} and (
        sorted(os.listdir(root)),
        sorted(os.listdir(root / "dir")),
    )


@deed
def write_over(root: Path) -> None:
    (root / "dir/sub/c").write_text("changed")


@deed
def append(root: Path) -> Any:
    with (root / "dir/sub/deep/d").open("a") as file:
        file.write("more")
    return (root / "dir/sub/deep/d").read_text()


@deed
def append_by_two(root: Path) -> Any:
    first = os.open(root / "file", os.O_WRONLY | os.O_APPEND)
    second = os.open(root / "file", os.O_WRONLY | os.O_APPEND)
    for number, fd in enumerate([first, second] * 3):
        os.write(fd, b"%d" % number)
    os.close(first)
    os.close(second)
    return (root / "file").read_text()


@deed
def truncate(root: Path) -> Any:
    os.truncate(root / "file", 7)
    os.truncate(root / "dir/a", 5000)
    os.truncate(root / "dir/sub/c", 0)
    return [(root / path).read_bytes() for path in ("file", "dir/a", "dir/sub/c")]


@deed
def holes(root: Path) -> Any:
    with (root / "sparse").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
        file.seek(100)
        file.write(b"begin")
    return (root / "sparse").read_bytes()


@deed
def write_somewhere(root: Path) -> Any:
    with (root / "big").open("w+b") as file:
        for place in (0, 4095, 4096, 70_000, 5, 1 << 20):
            file.seek(place)
            file.write(b"x%d" % place * 50)
        file.seek(0)
        return file.read()


@deed
def delete(root: Path) -> Any:
    (root / "file").unlink()
    (root / "dir/sub/deep/d").unlink()
    (root / "link").unlink()
    return (root / "file").exists()


@deed
def delete_a_new_one(root: Path) -> Any:
    (root / "dir/new").write_text("n")
    (root / "dir/new").unlink()


@deed
def delete_twice(root: Path) -> Any:
    (root / "file").unlink()
    (root / "file").write_text("again")
    (root / "file").unlink()
    (root / "file").unlink()


@deed
def delete_a_full_directory(root: Path) -> Any:
    os.rmdir(root / "full")


@deed
def delete_a_tree(root: Path) -> Any:
    for path, folders, files in os.walk(root / "dir", topdown=False):
        for name in files:
            os.unlink(os.path.join(path, name))
        for name in folders:
            os.rmdir(os.path.join(path, name))
    os.rmdir(root / "dir")


@deed
def make_a_directory_anew(root: Path) -> Any:
    (root / "full/f").unlink()
    (root / "full").rmdir()
    (root / "full").mkdir(0o700)
    (root / "full/other").write_text("o")
    return sorted(os.listdir(root / "full"))


@deed
def a_file_in_place_of_a_directory(root: Path) -> Any:
    (root / "full/f").unlink()
    (root / "full").rmdir()
    (root / "full").write_text("a file now")
    (root / "full").unlink()
    (root / "full").mkdir()


@deed
def rename_a_file(root: Path) -> Any:
    (root / "file").rename(root / "dir/renamed")
    return (root / "dir/renamed").read_text(), os.getxattr(root / "dir/renamed", "user.note")


@deed
def rename_over(root: Path) -> Any:
    (root / "file").rename(root / "other")
    (root / "new").write_text("n")
    (root / "new").rename(root / "dir/a")
    return sorted(os.listdir(root))


@deed
def rename_there_and_back(root: Path) -> Any:
    (root / "file").rename(root / "x")
    (root / "x").rename(root / "file")


@deed
def rename_a_directory_of_below(root: Path) -> Any:
    (root / "dir").rename(root / "dir2")


@deed
def rename_a_new_directory(root: Path) -> Any:
    (root / "new/inner").mkdir(parents=True)
    (root / "new/inner/x").write_text("x")
    (root / "new").rename(root / "dir/moved")
    (root / "dir/moved/inner/x").write_text("after")
    return (root / "dir/moved/inner/x").read_text(), (root / "new").exists()


@deed
def rename_a_directory_over_what_was(root: Path) -> Any:
    (root / "full/f").unlink()
    (root / "new").mkdir()
    (root / "new/x").write_text("x")
    (root / "new").rename(root / "full")
    return sorted(os.listdir(root / "full"))


@deed
def rename_over_a_full_directory(root: Path) -> Any:
    (root / "new").mkdir()
    (root / "new").rename(root / "dir")


@deed
def rename_into_itself(root: Path) -> Any:
    (root / "new").mkdir()
    (root / "new").rename(root / "new/inner")


@deed
def mv_falls_back(root: Path) -> Any:
    # The one thing that is other with us: two names of a file below are two files, also before one is written.
    (root / "dir/same").unlink(missing_ok=True)
    subprocess.run(["mv", "dir", "elsewhere"], cwd=root, check=True)
    return sorted(os.listdir(root / "elsewhere/sub"))


@deed
def hard_links(root: Path) -> Any:
    os.link(root / "file", root / "dir/hard")
    (root / "dir/hard").write_text("both")
    (root / "new").write_text("n")
    os.link(root / "new", root / "new2")
    os.link(root / "new", root / "new3")
    (root / "new").unlink()
    (root / "new3").rename(root / "dir/new4")
    with (root / "new2").open("a") as file:
        file.write("!")
    same = os.path.samefile(root / "new2", root / "dir/new4")
    return same, (root / "dir/new4").read_text(), (root / "file").read_text(), os.stat(root / "new2").st_nlink


@deed
def hard_links_of_below_part_when_written(root: Path) -> Any:
    (root / "dir/same").write_text("mine")
    return (root / "dir/a").read_text(), (root / "dir/same").read_text()


@deed
def rename_one_of_two_links(root: Path) -> Any:
    (root / "one").write_text("1")
    os.link(root / "one", root / "two")
    (root / "one").rename(root / "two")
    return sorted(os.listdir(root))


@deed
def link_a_directory(root: Path) -> Any:
    os.link(root / "dir", root / "dir3")


@deed
def links_and_devices(root: Path) -> Any:
    (root / "dir/sym").symlink_to("x" * 1000)
    os.mkfifo(root / "dir/fifo", 0o620)
    os.mknod(root / "dir/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(root)
        sock.bind("socket")
        os.chdir(here)
    return os.readlink(root / "dir/sym"), os.lstat(root / "device").st_rdev


@deed
def a_whiteout_by_hand(root: Path) -> Any:
    os.mknod(root / "white", stat.S_IFCHR, 0)


@deed
def attributes_of_files(root: Path) -> Any:
    os.chmod(root / "dir/a", 0o600)
    os.chown(root / "dir/sub/c", 7, 8)
    os.chmod(root / "dir", 0o2711)
    os.chown(root / "link", 5, 6, follow_symlinks=False)
    os.utime(root / "file", ns=(1_000_000_001, 2_000_000_002))
    os.utime(root / "link", ns=(3, 4), follow_symlinks=False)
    info, link = os.stat(root / "file"), os.lstat(root / "link")
    return info.st_mtime_ns, info.st_atime_ns, link.st_mtime_ns, link.st_uid


@deed
def a_new_owner_takes_setuid_away(root: Path) -> Any:
    os.chown(root / "other", 1, 1)
    return oct(os.stat(root / "other").st_mode)


@deed
def extended_attributes(root: Path) -> Any:
    os.setxattr(root / "file", "user.new", b"value")
    os.setxattr(root / "dir/sub", "user.new", b"x" * 1000)
    os.removexattr(root / "dir", "user.note")
    os.setxattr(root / "dir/sub", "user.new", b"y", os.XATTR_REPLACE)
    return sorted(os.listxattr(root / "file")), os.getxattr(root / "file", "user.note")


@deed
def no_such_attribute(root: Path) -> Any:
    os.removexattr(root / "file", "user.nothing")


@deed
def marks_are_not_seen(root: Path) -> Any:
    return os.listxattr(root / "hidden")


@deed
def setgid_is_inherited(root: Path) -> Any:
    os.chown(root / "dir", 0, 77)
    os.chmod(root / "dir", 0o2777)
    (root / "dir/inner").mkdir()
    (root / "dir/inner/file").write_text("")
    os.symlink("x", root / "dir/inner/sym")
    return [os.lstat(root / path).st_gid for path in ("dir/inner", "dir/inner/file", "dir/inner/sym")]


@deed
def the_umask(root: Path) -> Any:
    old = os.umask(0o027)
    try:
        (root / "m").mkdir()
        (root / "m/f").touch()
        os.mkfifo(root / "m/p")
    finally:
        os.umask(old)
    return [oct(os.stat(root / path).st_mode) for path in ("m", "m/f", "m/p")]


@deed
def another_user(root: Path) -> Any:
    script = (
        "import os, sys\nfor what in (lambda: open('open/mine', 'w').write('m'), lambda: open('file', 'a'), "
        "lambda: os.unlink('file'), lambda: open('other').read(3), lambda: os.mkdir('dir/x'), "
        "lambda: os.unlink('open/roots'), lambda: os.chmod('file', 0o777), lambda: os.rename('open/mine', 'open/y')):\n"
        "    try: what(); print('done')\n    except OSError as error: print(error.errno)\n"
    )
    (root / "open/roots").write_text("r")
    root.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], cwd=root, user=1234, group=1234, extra_groups=[],
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout, os.stat(root / "open/y").st_uid


@deed
def what_is_open_stays_when_it_is_deleted(root: Path) -> Any:
    (root / "new").write_text("new")
    answers = []
    for path in ("file", "new"):
        fd = os.open(root / path, os.O_RDWR)
        os.unlink(root / path)
        os.pwrite(fd, b"XX", 0)
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 10)
        answers.append((os.pread(fd, 100, 0), os.fstat(fd).st_nlink, os.fstat(fd).st_size))
        os.close(fd)
    return answers


@deed
def who_reads_sees_what_is_written(root: Path) -> Any:
    reader = os.open(root / "file", os.O_RDONLY)
    before = os.pread(reader, 8, 0)
    with (root / "file").open("r+") as file:
        file.write("WRITTEN!")
    after = os.pread(reader, 8, 0)
    os.close(reader)
    return before, after


@deed
def a_map_that_is_shared(root: Path) -> Any:
    with (root / "dir/a").open("r+b") as file, mmap.mmap(file.fileno(), 0) as area:
        area[0:5] = b"MMAP!"
        area.flush()
        seen = os.pread(file.fileno(), 8, 0)
    with (root / "map").open("w+b") as file:
        file.truncate(3 * mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), 0) as area:
            area[5000:5004] = b"deep"
    return seen, (root / "dir/a").read_bytes()[:8], (root / "map").read_bytes()[4999:5005]


@deed
def locks(root: Path) -> Any:
    program = (
        "import fcntl, sys\nwith open(sys.argv[1], 'r+') as file:\n"
        "    for lock in (fcntl.flock, fcntl.lockf):\n"
        "        try: lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('got')\n"
        "        except OSError: print('held')\n"
    )
    with (root / "file").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        run = [sys.executable, "-I", "-S", "-c", program, str(root / "file")]
        first = subprocess.run(run, capture_output=True, text=True).stdout
    return first, subprocess.run(run, capture_output=True, text=True).stdout


@deed
def a_big_directory(root: Path) -> Any:
    (root / "dir/many").mkdir()
    for number in range(3000):
        (root / f"dir/many/{number}").touch()
    with os.scandir(root / "dir/many") as entries:  # deleting while listing
        for entry in entries:
            if int(entry.name) % 3:
                os.unlink(entry.path)
    left = sorted(os.listdir(root / "dir/many"), key=int)
    subprocess.run(["rm", "-r", root / "dir/many"], check=True)
    return left == [str(n) for n in range(0, 3000, 3)]


@deed
def a_directory_read_twice(root: Path) -> Any:
    fd = os.open(root / "dir", os.O_RDONLY)
    first = sorted(os.listdir(fd))
    (root / "dir/new").touch()
    (root / "dir/a").unlink()
    second = sorted(os.listdir(fd))
    os.close(fd)
    return first, second


@deed
def names_of_all_kinds(root: Path) -> Any:
    for name in (b"\xff\xfe", b"a b\n", b".wh.x", b"n" * 255, "übel".encode()):
        with open(os.fsencode(root) + b"/dir/" + name, "wb") as file:
            file.write(name)
    return sorted(os.listdir(os.fsencode(root / "dir")))


@deed
def a_name_too_long(root: Path) -> Any:
    (root / ("n" * 256)).touch()


@deed
def exclusive(root: Path) -> Any:
    os.open(root / "file", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


@deed
def a_directory_is_no_file(root: Path) -> Any:
    answers = []
    for act in (
        lambda: os.unlink(root / "dir"),
        lambda: os.rmdir(root / "file"),
        lambda: os.open(root / "dir", os.O_WRONLY),
    ):
        try:
            answers.append(act())
        except OSError as error:
            answers.append(error.errno)
    return answers


@deed
def times_of_directories_that_were_only_copied_up(root: Path) -> Any:
    (root / "dir/sub/deep/d").write_text("x")
    return [os.stat(root / path).st_mtime for path in ("dir", "dir/sub", "dir/sub/deep")]


@deed
def an_executable(root: Path) -> Any:
    (root / "run").write_text("#!/bin/sh\necho ran $1\n")
    (root / "run").chmod(0o755)
    return subprocess.run([root / "run", "it"], capture_output=True, text=True).stdout


@deed
def ls_shows_itself_and_above(root: Path) -> Any:
    return subprocess.run(["ls", "-a", "dir"], cwd=root, capture_output=True, text=True).stdout
