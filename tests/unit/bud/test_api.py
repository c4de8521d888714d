"""``buildlib.build``: the flags of the command as keywords of a function."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

import buildlib
from bud.errors import DockerfileError
from bud.progress import Progress
from buildlib.errors import RunError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib import Image, Store

pytestmark = pytest.mark.root


def test_keywords_are_the_flags_of_the_command(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("data")
    out = io.StringIO()
    text = "FROM busybox AS first\nARG V\nCOPY file /f\nRUN echo $V >> /f\nFROM first\nRUN false\n"
    image = buildlib.build(
        str(tmp_path), text=text, store=store, target="first", tag=["one", "two"], build_arg={"V": "7"},
        label={"a": "b=c"}, no_cache=True, progress=Progress(out), iidfile=tmp_path / "id",
    )  # fmt: skip
    assert isinstance(image, buildlib.Image)
    assert image.names == ("localhost/one:latest", "localhost/two:latest")
    assert image.config.config.labels["a"] == "b=c"
    assert image.open("/f").read() == "data7\n"
    assert "RUN echo" in out.getvalue()
    assert (tmp_path / "id").read_text() == f"sha256:{image.id}"


def test_the_dockerfile_of_the_context_is_read(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM busybox\nCMD ["a"]\n')
    (tmp_path / "other").write_text('FROM busybox\nCMD ["b"]\n')
    assert buildlib.build(str(tmp_path), store=store).config.config.cmd == ("a",)  # type: ignore[union-attr]
    other = buildlib.build(str(tmp_path), store=store, file=str(tmp_path / "other"))
    assert other.config.config.cmd == ("b",)  # type: ignore[union-attr]


def test_what_is_wrong_is_raised(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    with pytest.raises(DockerfileError, match="COPPY"):
        buildlib.build(str(tmp_path), text="FROM busybox\nCOPPY a b\n", store=store)
    with pytest.raises(UsageError, match="no-such-flag"):
        buildlib.build(str(tmp_path), text="FROM busybox\n", store=store, no_such_flag=1)
    with pytest.raises(UsageError, match="quiet"):
        buildlib.build(str(tmp_path), text="FROM busybox\n", store=store, quiet=True)
    with pytest.raises(RunError) as caught:
        buildlib.build(str(tmp_path), text="FROM busybox\nRUN echo half > /made; exit 3\n", store=store)
    assert caught.value.exit_code == 3
    assert caught.value.container.path("/made").read_text() == "half\n"  # type: ignore[union-attr]
