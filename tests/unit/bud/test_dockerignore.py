"""Which ignore file counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bud import dockerignore
from bud.errors import DockerfileError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_one_beside_the_dockerfile_replaces_that_of_the_context(tmp_path: Path) -> None:
    context, other = tmp_path / "context", tmp_path / "docker"
    context.mkdir()
    other.mkdir()
    dockerfile = str(other / "app.Dockerfile")
    assert dockerignore.find(str(context), dockerfile) is None
    (context / ".dockerignore").write_text("a")
    assert dockerignore.find(str(context), dockerfile) == str(context / ".dockerignore")
    assert dockerignore.find(str(context), None) == str(context / ".dockerignore")
    (context / ".containerignore").write_text("b")
    assert dockerignore.find(str(context), dockerfile) == str(context / ".containerignore")
    (other / "app.Dockerfile.dockerignore").write_text("c")
    assert dockerignore.find(str(context), dockerfile) == dockerfile + ".dockerignore"
    assert dockerignore.find(str(context), dockerfile, "named") == "named"


def test_no_file_means_no_patterns() -> None:
    assert not dockerignore.read(None)


def test_a_pattern_knows_its_file(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_bytes(b"# x\n*.o\n")
    why = dockerignore.read(str(tmp_path / ".dockerignore")).why("a.o")
    assert str(why) == "*.o (line 2 of .dockerignore)"


def test_a_bad_pattern_is_an_error_with_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / ".dockerignore"
    path.write_text("ok\n[\n")
    with pytest.raises(DockerfileError, match=r"line 2 of \.dockerignore") as caught:
        dockerignore.read(str(path))
    assert str(path) in str(caught.value)


def test_a_file_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DockerfileError, match="can't be read"):
        dockerignore.read(str(tmp_path / "missing"))
