"""What a call costs in a process that has been at work for a while, such as a notebook: ``python -m bench.warm``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure
from bench.builds import three_stages
from bench.place import ROOT, bases

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]


class Warm:
    """Such a process: it makes one call whenever it is told to, and says how many seconds that took."""

    def __init__(self, place: Place, what: str, *words: str) -> None:
        argv = [sys.executable, "-m", "bench.warm", f"{place.folder}/buildlib", what, *words]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            argv, cwd=ROOT, env=place.environment, stdin=pipe, stdout=pipe, text=True, bufsize=1
        )
        place.serve(self._process)
        for _ in range(3):
            self.sample()

    def sample(self) -> Sample:
        """One call."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("again\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise measure.CommandFailed("the warm process ended; see above")
        return measure.Sample(*json.loads(answer))


def rebuild(place: Place) -> Sides:
    """Three stages of which every step is cached."""
    warm = Warm(place, "rebuild", str(three_stages(place)))
    return {"buildlib": lambda _: warm.sample()}


def run(place: Place) -> Sides:
    """A command that does nothing, in a working container; runc's container of the same files."""
    tar = bases(place)
    warm = Warm(place, "run")
    if shutil.which("runc") is None:
        raise measure.CommandFailed("runc is not installed: apt-get install runc")
    bundle = place.folder / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    subprocess.run(["tar", "-C", bundle / "rootfs", "-xf", tar], check=True)
    subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["true"]}
    (bundle / "config.json").write_text(json.dumps(spec))
    runc = ["runc", "--root", f"{place.folder}/runc", "run", "--bundle", str(bundle)]
    return {"buildlib": lambda _: warm.sample(), "runc": lambda r: place.measure([*runc, f"bench{r}"])}


def _call(store: str, what: str, words: list[str]) -> Callable[[], object]:
    sys.path.remove(str(ROOT))  # what is measured is installed
    import buildlib

    opened = buildlib.open_store(store)
    if what == "rebuild":
        return lambda: buildlib.build(words[0], store=opened, tag=["localhost/t"])
    container = opened.from_image("localhost/base")
    return lambda: container.run(["true"])


def main() -> None:
    """Be the warm process."""
    store, what, *words = sys.argv[1:]
    call = _call(store, what, words)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for _ in sys.stdin:
        begin = time.perf_counter()
        call()
        seconds = time.perf_counter() - begin
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        answers.write(json.dumps([seconds, int(status["VmHWM"].split()[0]) * 1024]) + "\n")


if __name__ == "__main__":
    main()
