"""Stages that do not need each other are built at the same time, and fail together."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bud.errors import DockerfileError, StepFailed

if TYPE_CHECKING:
    from .conftest import Builder

pytestmark = pytest.mark.root

THREE = "".join(f"FROM BASE AS s{n}\nRUN echo stage {n}; WORK{n} > /{n}\n" for n in (1, 2, 3))
LAST = "FROM scratch\n" + "".join(f"COPY --from=s{n} /{n} /{n}\n" for n in (1, 2, 3))
MEET = "mkdir -p /meet/{n}; while test $(ls /meet | wc -l) -lt 3; do sleep 0.05; done; echo {n}"
"""Each waits for the two others: it can end only when all three run at the same time."""


def together(work: str) -> str:
    text = THREE.replace("RUN ", "RUN --mount=type=cache,target=/meet ")
    for n in (1, 2, 3):
        text = text.replace(f"WORK{n}", work.format(n=n))
    return text + LAST


def test_independent_stages_run_at_the_same_time(bud: Builder) -> None:
    image = bud(together(MEET), jobs=3)
    assert [bud.read(image, f"/{n}") for n in (1, 2, 3)] == ["1\n", "2\n", "3\n"]
    assert bud.store.containers() == []


def test_what_each_prints_stays_with_its_step(bud: Builder) -> None:
    bud(together(MEET), jobs=3)
    told = bud.out.getvalue()
    for n in (1, 2, 3):
        (number,) = re.findall(rf"^#(\d+) \[s{n} 2/2\] RUN", told, re.MULTILINE)
        assert re.search(rf"^#{number} [0-9.]+ stage {n}$", told, re.MULTILINE)
        assert len(re.findall(rf" stage {n}$", told, re.MULTILINE)) == 1


def test_what_is_cached_runs_in_no_thread(bud: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bud(together(MEET), jobs=3)
    monkeypatch.setattr("threading.Thread.start", lambda _: pytest.fail("a thread"))
    assert bud(together(MEET), jobs=3).id == first.id
    assert bud.cached() == 6


def test_one_error_ends_all_and_leaves_nothing(bud: Builder) -> None:
    text = together("if test {n} = 2; then sleep 0.3; exit 7; fi; mkdir /meet/{n}; sleep 300 & sleep 300")
    began = time.monotonic()
    with pytest.raises(StepFailed) as caught:
        bud(text, jobs=3)
    assert time.monotonic() - began < 250
    assert (caught.value.exit_code, caught.value.line) == (7, 4)
    assert [container.id for container in bud.store.containers()] == [caught.value.container.id]
    assert _sleepers() == []
    told = bud.out.getvalue()
    assert (told.count("ERROR: "), told.count(" CANCELED\n")) == (1, 2)
    with pytest.raises(StepFailed):
        bud(text, jobs=3, on_error="fail")
    caught.value.container.remove()
    assert bud.store.containers() == []


def test_an_error_in_a_copy_ends_the_others_too(bud: Builder) -> None:
    text = "FROM BASE AS a\nRUN sleep 300\nFROM BASE AS b\nRUN true\nCOPY nothing /\nFROM a\nCOPY --from=b / /\n"
    with pytest.raises(DockerfileError, match="nothing: no such file"):
        bud(text, jobs=2)
    assert _sleepers() == []
    assert bud.store.containers() == []


def test_only_what_the_target_needs_is_built(bud: Builder) -> None:
    image = bud("FROM BASE AS a\nRUN echo a > /a\nFROM BASE AS b\nRUN exit 1\nFROM BASE\nCOPY --from=a /a /a\n", jobs=3)
    assert bud.read(image, "/a") == "a\n"


def test_one_at_a_time(bud: Builder) -> None:
    text = together("test ! -e /meet/busy && mkdir /meet/busy && sleep 0.1 && rmdir /meet/busy && echo {n}")
    bud(text, jobs=1)
    assert bud.store.containers() == []


def test_ctrl_c_ends_all_stages_and_leaves_nothing(bud: Builder) -> None:
    bud.file("Dockerfile", together("echo begun; sleep 300").replace("BASE", bud.base))
    bud.store.close()
    argv = [
        sys.executable,
        "-m",
        "bud.cli",
        f"--root={bud.store.root}",
        "--jobs=3",
        "--progress=plain",
        str(bud.context),
    ]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    begun = 0
    while begun < 3:
        line = process.stderr.readline()
        assert line
        begun += line.endswith(" begun\n")
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert (told.count(" CANCELED\n"), told.count("ERROR")) == (3, 0)
    assert _sleepers() == []
    assert bud.store.containers() == []


def _sleepers() -> list[str]:
    """Processes of this test run that sleep for minutes."""
    token = f"BUILDLIB_TEST_SESSION={os.environ['BUILDLIB_TEST_SESSION']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"sleep\x00300" in (folder / "cmdline").read_bytes() and token in (folder / "environ").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found
