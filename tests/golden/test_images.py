"""Each case is built: the image is the one that was written down, and the emitted script builds the same one."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bud.build import Build, Request
from bud.builds import Builds
from bud.dockerignore import find, read
from bud.emit import script
from bud.progress import Progress
from bud.stages import read_dockerfile

from .test_golden import golden

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib import Image, Store

pytestmark = pytest.mark.root
CASES = [folder for folder in golden.CASES if golden.Case(folder).unbuildable is None]


def request_of(folder: Path, store: Store) -> Request:
    """The request for a case, with its bases made in ``store``."""
    case = golden.Case(folder)
    for name, fields in case.bases.items():
        with store.from_image("busybox") as container:
            container.config(**fields)
            container.commit(f"localhost/{name}", timestamp=0)
    plan = case.options._replace(contexts=case.contexts)
    ignore = read(find(str(folder), None))
    return Request(read_dockerfile(case.dockerfile), str(folder), ignore, plan, names=("golden",), timestamp=0)


def shown(image: Image, base: Image | None) -> str:
    """What of an image does not depend on the base's files, as text."""
    config = json.loads(image.config_blob)
    own = config["history"][len(base.history) if base is not None else 0 :]
    kept = {
        name: value for name, value in config.items() if name not in ("rootfs", "history", "architecture", "variant")
    }
    return json.dumps({**kept, "history": own}, indent=1, ensure_ascii=False) + "\n"


@pytest.fixture(params=CASES, ids=[folder.name for folder in CASES])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def run_script(text: str, store: Store) -> Image:
    namespace: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script.py", "exec"), namespace)
    image: Image = namespace["build"](store)
    return image


def test_its_image_and_that_of_its_script(
    folder: Path, built: Store, scripted: Store, pytestconfig: pytest.Config
) -> None:
    for store in (built, scripted):
        request = request_of(folder, store)
    with Builds(built, request, Progress(None)) as builds:
        text = script(builds)
    with Build(built, request, Progress(None)) as build:
        image = build.run()
    target = build.stages[max(build.stages)].container
    assert target is not None
    expected = folder / "image.json"
    found = shown(image, target.base if target.image_id is not None else None)
    if pytestconfig.getoption("--rewrite", default=False):
        expected.write_text(found)
    assert found == expected.read_text()
    twin = run_script(text, scripted)
    assert (twin.id, twin.digest, twin.names) == (image.id, image.digest, image.names), text
    assert built.containers() == scripted.containers() == []


def test_a_script_is_a_program(built: Store, scripted: Store, tmp_path: Path) -> None:
    case = next(folder for folder in CASES if folder.name == "multistage")
    with Builds(built, request_of(case, built), Progress(None)) as builds:
        (tmp_path / "script.py").write_text(script(builds))
        image = builds.run()
    root = scripted.root
    scripted.close()
    argv = [sys.executable, str(tmp_path / "script.py"), root]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == image.id
