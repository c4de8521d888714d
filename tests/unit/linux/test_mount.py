"""Mounts made through the kernel's descriptor API: real ones, each in a mount namespace of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.linux import mount, overlay

if TYPE_CHECKING:
    from collections.abc import Callable

    InChild = Callable[[Callable[[], Any]], Any]

pytestmark = pytest.mark.root


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def layers(tmp_path: Path, count: int) -> list[str]:
    for number in range(count):
        directory = tmp_path / f"layer{number}"
        directory.mkdir()
        (directory / f"file{number}").write_text(str(number))
        (directory / "shared").write_text(str(number))
    return [str(tmp_path / f"layer{number}") for number in reversed(range(count))]


def test_an_overlay_shows_the_top_layer_first_and_writes_to_its_upper(tmp_path: Path, in_child: InChild) -> None:
    lowers = layers(tmp_path, 3)
    for name in ("upper", "work", "target"):
        (tmp_path / name).mkdir()

    def look() -> list[Any]:
        target = tmp_path / "target"
        overlay.mount_overlay(str(target), lowers, str(tmp_path / "upper"), str(tmp_path / "work"), ["index=off"])
        (target / "new").write_text("new")
        return [names(target), (target / "shared").read_text()]

    assert in_child(look) == [["file0", "file1", "file2", "new", "shared"], "2"]
    assert names(tmp_path / "upper") == ["new"]


def test_an_overlay_takes_more_layers_than_a_page_of_names(tmp_path: Path, in_child: InChild) -> None:
    lowers = layers(tmp_path, 200)
    assert len(":".join(lowers)) > 4096
    (tmp_path / "target").mkdir()

    def look() -> int:
        overlay.mount_overlay(str(tmp_path / "target"), lowers)
        return len(names(tmp_path / "target"))

    assert in_child(look) == 201


@pytest.mark.parametrize("name", ["comma,colon:back\\slash", "x" * 250])
def test_an_overlay_takes_any_path(tmp_path: Path, in_child: InChild, name: str) -> None:
    base = tmp_path / name
    base.mkdir()
    lowers = layers(base, 2)
    for part in ("upper", "work", "target"):
        (base / part).mkdir()

    def look() -> list[str]:
        target = base / "target"
        overlay.mount_overlay(str(target), lowers, str(base / "upper"), str(base / "work"))
        (target / "new").write_text("new")
        return names(target)

    assert in_child(look) == ["file0", "file1", "new", "shared"]
    assert names(base / "upper") == ["new"]


def test_the_way_for_older_kernels_gives_the_same_overlay(tmp_path: Path, in_child: InChild) -> None:
    base = tmp_path / "a,b:c"
    base.mkdir()
    lowers = layers(base, 100)
    for part in ("upper", "work", "target"):
        (base / part).mkdir()

    def look() -> list[int]:
        fd = overlay._overlay_by_page(lowers, str(base / "upper"), str(base / "work"), ["index=off"], 0)
        mount.move_mount(fd, str(base / "target"))
        (base / "target/new").write_text("new")
        return [len(names(base / "target")), len(names(Path(lowers[0])))]

    assert in_child(look) == [102, 2]
    assert names(base / "upper") == ["new"]


def test_a_refused_mount_says_what_the_kernel_says(tmp_path: Path, in_child: InChild) -> None:
    def look() -> str:
        try:
            mount.new_mount("tmpfs", ["size=nonsense"])
        except OSError as error:
            return str(error)
        return "no error"

    message = in_child(look)
    assert "size=nonsense" in message
    assert "Bad value for 'size'" in message


def test_a_read_only_bind_covers_what_is_mounted_below_it(tmp_path: Path, in_child: InChild) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (tmp_path / "target").mkdir()

    def look() -> list[bool]:
        inner = mount.new_mount("tmpfs", ["mode=755"])
        mount.move_mount(inner, str(source / "inner"))
        mount.bind(str(source), str(tmp_path / "target"), attributes=mount.ATTR_RDONLY)
        results = []
        for spot in ("target/x", "target/inner/x", "source/x", "source/inner/x"):
            try:
                (tmp_path / spot).write_text("x")
                results.append(True)
            except OSError:
                results.append(False)
        return results

    assert in_child(look) == [False, False, True, True]


def test_a_single_file_can_be_bound(tmp_path: Path, in_child: InChild) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")

    def look() -> str:
        mount.bind(str(tmp_path / "a"), str(tmp_path / "b"))
        return (tmp_path / "b").read_text()

    assert in_child(look) == "a"
    assert (tmp_path / "b").read_text() == "b"


def test_a_detached_mount_can_be_filled_before_anybody_sees_it(tmp_path: Path, in_child: InChild) -> None:
    def look() -> str:
        fd = mount.new_mount("tmpfs", ["mode=700", "size=64k"], attributes=mount.ATTR_NOSUID)
        os.mkdir("inside", dir_fd=fd)
        before = names(tmp_path)
        mount.move_mount(fd, str(tmp_path))
        return f"{before} {names(tmp_path)}"

    assert in_child(look) == "[] ['inside']"


def test_mount_points_are_told_from_directories(tmp_path: Path, in_child: InChild) -> None:
    spot = tmp_path / "a b\\c"
    spot.mkdir()

    def look() -> list[bool]:
        before = mount.is_mount_point(str(spot))
        mount.bind(str(spot), str(spot))
        return [before, mount.is_mount_point(str(spot)), mount.is_mount_point(str(tmp_path))]

    assert in_child(look) == [False, True, False]
