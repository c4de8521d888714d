"""Run a command and measure it: wall time, and the peak memory of the largest process that it started."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PR_SET_CHILD_SUBREAPER = 36
SERVERS: set[int] = set()
"""Children that live on while others are measured, and are not counted with them."""


class CommandFailed(Exception):
    """A measured command did not succeed; the message holds the end of its output."""


@dataclass
class Sample:
    """One run of one command."""

    seconds: float
    peak: int
    """Bytes: the largest resident set of any process in its tree."""
    used: int = 0
    """Bytes that the file system holds more than before."""


@dataclass
class Series:
    """All runs of one side of a scenario."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return median(sample.seconds for sample in self.samples)

    @property
    def peak(self) -> int:
        """Largest peak of all runs."""
        return max(sample.peak for sample in self.samples)

    @property
    def used(self) -> int:
        """Median growth of the file system."""
        return int(median(sample.used for sample in self.samples))


def adopt_orphans() -> None:
    """Become the parent of every process that outlives its own, so that its memory is counted too."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(argv: list[str], *, environment: Mapping[str, str], log: Path) -> Sample:
    """Run ``argv`` to its end and measure it; its output goes to ``log``.

    The kernel counts a process's peak together with that of all children it waited for; who is left over when the
    command ends comes to us, is ended and counted as well. A spawned process starts with the memory of its
    parent on its account (about 15 MB of this program): the floor of every figure.
    """
    with log.open("wb") as out:
        actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)]
        begin = time.perf_counter()
        child = os.posix_spawnp(argv[0], argv, environment, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - begin
    peak = max(usage.ru_maxrss, _reap_orphans())
    if os.waitstatus_to_exitcode(status) != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise CommandFailed(f"{' '.join(argv)}: exit code {os.waitstatus_to_exitcode(status)}\n{tail}")
    return Sample(seconds, peak * 1024)


def _reap_orphans() -> int:
    """Wait for adopted processes, two seconds at most, then end them; the largest peak among them in KiB."""
    peak, deadline = 0, time.monotonic() + 2
    while orphans := _children() - SERVERS:
        for child in orphans:
            pid, _, usage = os.wait4(child, os.WNOHANG)
            if pid:
                peak = max(peak, usage.ru_maxrss)
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    return peak


def _children() -> set[int]:
    return {int(child) for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def used_bytes(folder: Path) -> int:
    """Bytes in use on the file system that holds ``folder``, everything written out."""
    os.sync()
    stat = os.statvfs(folder)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def interleave(sides: Mapping[str, Callable[[int], Sample]], rounds: int) -> dict[str, Series]:
    """Run every side once a round, each round beginning with another one, so that a slow moment hits them all."""
    series = {name: Series() for name in sides}
    names = list(sides)
    for round_ in range(rounds):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            series[name].samples.append(sides[name](round_))
    return series


def ratio(reference: Series, ours: Series) -> float:
    """How many times faster ``ours`` is: the median over the rounds of each round's ratio."""
    pairs = zip(reference.samples, ours.samples, strict=True)
    return median(theirs.seconds / mine.seconds for theirs, mine in pairs)
