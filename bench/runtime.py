"""The OCI runtime as engines start it, a new process each time, beside runc on the same bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure
from bench.place import busybox

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]


def bundle(place: Place) -> Path:
    """A bundle whose process does nothing, with the config that runc itself begins with."""
    if shutil.which("runc") is None:
        raise measure.CommandFailed("runc is not installed: apt-get install runc")
    folder = place.folder / "bundle"
    (folder / "rootfs").mkdir(parents=True)
    subprocess.run(["tar", "-C", folder / "rootfs", "-xf", busybox(place.folder)], check=True)
    subprocess.run(["runc", "spec", "--bundle", folder], check=True)
    spec = json.loads((folder / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["true"]}
    (folder / "config.json").write_text(json.dumps(spec))
    return folder


def run(place: Place) -> Sides:
    """``run`` of a command that does nothing."""
    folder = bundle(place)
    ours = str(Path(sys.executable).parent / "buildlib-runtime")

    def side(program: str) -> Callable[[int], Sample]:
        words = [program, "--root", f"{place.folder}/state", "run", "--bundle", str(folder)]
        return lambda round_: place.measure([*words, f"bench-{round_}"])

    return {"buildlib-runtime": side(ours), "runc": side("runc")}
