"""What an op is: one step into a sandbox, as a value."""

from __future__ import annotations

from typing import Protocol


class Op(Protocol):
    """One step. Ops are frozen: a plan can be printed, compared and tested without anything being done."""

    def describe(self) -> str:
        """What it does, as a short line in the present tense: ``mount tmpfs at /dev``. Errors quote it."""

    def execute(self) -> None:
        """Do it to this process. Raises ``OSError``, from which the child makes a :class:`SandboxError`."""
