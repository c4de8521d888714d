"""Every notebook runs from its first cell to its last, and what it shows can be read in light and in dark."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

pytestmark = pytest.mark.root


@pytest.fixture
def execute(tmp_path: Path, busybox_tar: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Any]:
    """Run a notebook in a folder and a store of its own; it with its outputs."""
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    monkeypatch.setenv("BASE", f"tarball:{busybox_tar}")

    def run(path: Path) -> Any:
        book = nbformat.read(path, as_version=4)
        resources = {"metadata": {"path": str(tmp_path)}}
        client: Any = nbclient.NotebookClient(book, timeout=300, resources=resources)
        client.execute()
        return book

    return run


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem[:2] not in ("02", "04")], ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, execute: Callable[[Path], Any]) -> None:
    book = execute(path)
    assert any(cell.get("outputs") for cell in book.cells)


def test_the_notebook_about_pip_runs(
    execute: Callable[[Path], Any], python_tar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_BASE", f"tarball:{python_tar}")
    execute(ROOT / "notebooks" / "04-data-science.ipynb")


def test_they_are_kept_without_outputs() -> None:
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert not cell.get("outputs"), f"{path.name}: clear its outputs"
            assert not cell.get("execution_count"), f"{path.name}: clear its outputs"


def test_what_is_shown_can_be_read_in_light_and_in_dark(execute: Callable[[Path], Any], tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    book = execute(ROOT / "notebooks" / "02-explore-and-slim.ipynb")
    for theme in ("light", "dark"):
        page, picture = tmp_path / f"{theme}.html", tmp_path / f"{theme}.png"
        page.write_text(_lab(book, theme))
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,2400"]
        words = [browser, *flags, f"--user-data-dir={tmp_path}/profile", f"--screenshot={picture}", page.as_uri()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert picture.exists(), done.stderr
        if "BUILDLIB_PICTURES" in os.environ:  # for people to look at
            shutil.copy(picture, os.environ["BUILDLIB_PICTURES"])
        _check(picture, dark=theme == "dark")


def _lab(book: Any, theme: str) -> str:
    """The notebook as JupyterLab draws it, with its own style sheets."""
    from nbconvert import HTMLExporter

    exporter: Any = HTMLExporter(template_name="lab", theme=theme, mathjax_url="", require_js_url="", jquery_url="")
    html: str = exporter.from_notebook_node(book)[0]
    return html


def _check(picture: Path, *, dark: bool) -> None:
    """The ground has the colour of the theme, text stands out from it, and the bar of layers is there."""
    from PIL import Image

    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    counts = {colour: count for count, colour in colours}
    ground = max(counts, key=lambda colour: counts[colour])
    assert (sum(ground) < 150) is dark
    contrast = [colour for colour, count in counts.items() if count > 20 and abs(sum(colour) - sum(ground)) > 450]
    assert contrast, "no text stands out from the ground"
    blue = [colour for colour in counts if colour[2] > 180 and colour[2] - colour[0] > 90 and counts[colour] > 1000]
    assert blue, "no bar of layers"
