"""Ops on how the command is scheduled, and as what machine it sees this one."""

from __future__ import annotations

import os

from buildlib.linux import scheduling
from buildlib.oci.value import frozen


@frozen
class Schedule:
    """The scheduling policy by its number, with what belongs to it; times in nanoseconds."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0

    def describe(self) -> str:
        """One line."""
        name = next(name for name, number in scheduling.POLICIES.items() if number == self.policy)
        return f"schedule as {name} (process.scheduler)"

    def execute(self) -> None:
        """sched_setattr(2)."""
        scheduling.set_scheduler(
            self.policy,
            self.flags,
            nice=self.nice,
            priority=self.priority,
            runtime=self.runtime,
            deadline=self.deadline,
            period=self.period,
        )


@frozen
class IoPriority:
    """Class and priority of disk requests."""

    kind: int
    priority: int

    def describe(self) -> str:
        """One line."""
        return f"set io priority {self.kind}:{self.priority} (process.ioPriority)"

    def execute(self) -> None:
        """ioprio_set(2)."""
        scheduling.set_io_priority(self.kind, self.priority)


@frozen
class Personality:
    """The execution domain: 0 is this machine, 8 one of 32 bits."""

    persona: int

    def describe(self) -> str:
        """One line."""
        return f"set personality {self.persona} (linux.personality)"

    def execute(self) -> None:
        """personality(2)."""
        scheduling.set_personality(self.persona)


@frozen
class Affinity:
    """The processors on which the command may run."""

    processors: tuple[int, ...]

    def describe(self) -> str:
        """One line."""
        return f"run on processors {','.join(map(str, self.processors))} (process.execCPUAffinity)"

    def execute(self) -> None:
        """sched_setaffinity(2)."""
        os.sched_setaffinity(0, self.processors)
