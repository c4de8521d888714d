"""Run a command in a working container, and stay beside it: its network is private, and ends after it."""

from __future__ import annotations

from buildlib.worker.operations.run import prepare
from buildlib.worker.running.network import private

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildlib.worker.request import Command


def run_beside(store: str, args: dict[str, Any], fds: Sequence[int]) -> Command:
    """As "run" does it, with a network that is connected to the host's and yet apart from it."""
    return prepare(store, args, fds, private)
