"""The documentation is true: its snippets run as they stand, its links lead somewhere, every command is described."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path: Path, debian_tar: str) -> dict[str, str]:
    """The environment of somebody who follows the README: its files are there, the commands are installed."""
    (tmp_path / "debian.tar").symlink_to(debian_tar)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<h1>Hello</h1>\n" * 100)
    (tmp_path / "var-lib").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM tarball:debian.tar\nCOPY site/ /srv/site/\n")
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }


def follow(argv: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run ``argv`` where the store of root is a folder of the test's; what it printed."""
    hidden = ["unshare", "--mount", "sh", "-c", 'mount --bind var-lib /var/lib && exec "$@"', "sh", *argv]
    done = subprocess.run(hidden, cwd=folder, env=environment | _mark(), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def _mark() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("BUILDLIB_TEST")}


@pytest.mark.root
@pytest.mark.slow
def test_the_readme_snippets_run_as_they_stand(tmp_path: Path, reader: dict[str, str]) -> None:
    python, shell = blocks(PAGES[0], "python"), blocks(PAGES[0], "sh")
    assert python, "the README shows Python"
    assert shell, "the README shows shell commands"
    for snippet in python:
        assert "layers" in follow([sys.executable, "-c", snippet], tmp_path, reader)
    for snippet in shell:
        listed = follow(["/bin/sh", "-euc", snippet], tmp_path, reader)
    for tag in ("1.2", "1.3", "1.4"):
        assert re.search(rf"localhost/site\s+{re.escape(tag)}\s", listed), listed
    assert (tmp_path / "site.tar").stat().st_size > 0


RECIPES = dict(re.findall(r"^```python (\w+)\n(.*?)^```$", (ROOT / "docs" / "recipes.md").read_text(), re.M | re.S))


@pytest.mark.root
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_as_it_stands(name: str, tmp_path: Path, reader: dict[str, str], busybox_tar: str) -> None:
    snippet = f"BASE = 'tarball:{busybox_tar}'\n{RECIPES[name]}"
    follow([sys.executable, "-c", snippet], tmp_path, reader)


def test_the_documentation_is_made_without_a_warning(tmp_path: Path) -> None:
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees"), "docs", str(tmp_path / "html")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WorkingContainer.checkpoint" in (tmp_path / "html" / "api.html").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_tree_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made where such pages are shown."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_command_reference_is_what_the_commands_say_of_themselves() -> None:
    reference = run_path(str(ROOT / "docs" / "reference.py"))
    assert reference["COMMANDS"].read_text() == reference["commands"](), "run `make docs`"
    readme = PAGES[0].read_text()
    assert readme == reference["readme"](readme), "run `make docs`"


def test_every_verb_is_documented() -> None:
    from buildlib.cli import MODULES
    from buildlib.cli.plugins import names

    text = (ROOT / "docs" / "commands.md").read_text()
    for verb in {*MODULES, *names(sys.path)} - {"bud"}:  # bud is build's other name
        assert f"\n## {verb}\n" in text, f"{verb} is not in docs/commands.md"


def test_every_dependency_is_explained() -> None:
    from configparser import ConfigParser

    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    wanted = setup["options"]["install_requires"] + extras["fuse"] + extras["fuzz"]
    rows = re.findall(r"^\| \[([\w-]+)\]", PAGES[0].read_text(), flags=re.MULTILINE)
    assert sorted(re.findall(r"^([\w-]+)", wanted, flags=re.MULTILINE)) == sorted(rows)
