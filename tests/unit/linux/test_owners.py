"""Owners that can't be given are written down and told; in a user namespace with one id, and not outside."""

from __future__ import annotations

import hashlib  # noqa: F401 - what it needs can't be read any more by whom the tests become
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.layer.xattrs import travels
from buildlib.linux import owners, process, subids, userns

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.root


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Runs a function in a user namespace with one id, in ``tmp_path``; its result is plain data."""
    os.chown(tmp_path, 61186, 61186)

    def run(work: Callable[[], Any]) -> Any:
        reader, writer = os.pipe()
        monkeypatch.chdir(tmp_path)
        pid = os.fork()
        if pid == 0:
            try:
                os.setresgid(61186, 61186, 61186)
                os.setresuid(61186, 61186, 61186)
                process.prctl(process.PR_SET_DUMPABLE, 1)  # else /proc/self is root's
                userns.enter(subids.own(61186, 61186))
                owners._recording.clear()
                os.write(writer, json.dumps(work()).encode())
            except BaseException as error:
                os.write(writer, json.dumps(repr(error)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            said = file.read()
        os.waitpid(pid, 0)
        return json.loads(said)

    return run


def told(name: str) -> list[int]:
    info = owners.told_at(os.lstat(name), os.open(".", os.O_RDONLY), name)
    return [info.st_uid, info.st_gid, info.st_mode, info.st_rdev]


def test_files_and_directories_carry_their_owner(alone: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> Any:
        Path("folder").mkdir()
        fd = os.open("folder", os.O_RDONLY)
        owners.give(fd, 5, 6)
        first = told("folder")[:2]
        owners.give(fd, 0, 0)
        return [first, told("folder")[:2], os.listxattr("folder")]

    assert alone(work) == [[5, 6], [0, 0], []]


def test_a_link_is_told_of_as_long_as_it_is_the_same(alone: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> Any:
        at = os.open(".", os.O_RDONLY)
        found = []
        Path("link").symlink_to("x")
        os.utime("link", ns=(7, 7), follow_symlinks=False)
        owners.give_link("link", at, 5, 6, 7)
        found.append(told("link")[:2])
        Path("link").unlink()
        Path("link").symlink_to("y")
        found.append(told("link")[:2])
        os.utime("link", ns=(7, 7), follow_symlinks=False)
        owners.give_link("link", at, 0, 0, 7)
        found.append(told("link")[:2])
        return found

    assert alone(work) == [[5, 6], [0, 0], [0, 0]]


def test_too_many_links_are_an_error_that_is_no_full_disk(alone: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> Any:
        at = os.open(".", os.O_RDONLY)
        for number in range(100_000):
            Path(str(number)).symlink_to("x")
            owners.give_link(str(number), at, 5, 6, 7)

    said = alone(work)
    assert said is None or "more links" in said


def test_a_device_is_a_file_that_tells_what_it_stands_for(alone: Callable[[Callable[[], Any]], Any]) -> None:
    def work() -> Any:
        at = os.open(".", os.O_RDONLY)
        owners.make_special("null", at, stat.S_IFCHR | 0o640, os.makedev(1, 3), 0, 6)
        owners.make_special("pipe", at, stat.S_IFIFO | 0o600, 0, 7, 8)
        return [told("null"), told("pipe"), stat.S_ISREG(os.lstat("null").st_mode)]

    null, pipe, regular = alone(work)
    assert null == [0, 6, stat.S_IFCHR | 0o640, os.makedev(1, 3)]
    assert pipe[:3] == [7, 8, stat.S_IFIFO | 0o600]
    assert regular


def test_outside_of_user_namespaces_notes_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.setxattr(path, "user.buildlib.owner", b"5:6")
    info = path.lstat()
    assert owners.told(info, str(path)) is info


def test_a_file_of_somebody_else_tells_nothing(alone: Callable[[Callable[[], Any]], Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.setxattr(path, "user.buildlib.owner", b"5:6")
    path.chmod(0o644)  # root's, which is nobody in there
    assert alone(lambda: told("file")[:2]) == [65534, 65534]


def test_notes_are_no_content_of_an_image() -> None:
    assert not travels("user.buildlib.owner")
    assert not travels("user.buildlib.link.0")
    assert travels("user.buildlibrary")
