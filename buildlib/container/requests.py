"""What a container asks of the worker, in a way that another thread can put an end to."""

from __future__ import annotations

import threading

from buildlib.errors import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from buildlib.store import Store
    from buildlib.worker import Pending


class Requests:
    """The requests of one container. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._pending: Pending | None = None
        self._cancelled = False
        self.answers: dict[Any, Any] = {}
        """What servers said to a call that could not be finished: when it is tried again they are not asked again."""

    def check(self) -> None:
        """Raises :class:`Cancelled` once :meth:`cancel` was called."""
        if self._cancelled:
            raise Cancelled("the build was cancelled")

    def submit(self, op: str, args: Mapping[str, Any], fds: Sequence[int] = ()) -> Pending:
        """As that of the worker."""
        worker = self._store.worker
        with self._lock:
            self.check()
            self._pending = worker.submit(op, args, fds)
            return self._pending

    def call(self, op: str, args: Mapping[str, Any], fds: Sequence[int] = ()) -> dict[str, Any]:
        """As that of the worker."""
        return self.submit(op, args, fds).result()

    def cancel(self) -> None:
        """End the request that is under way, and let no other begin."""
        with self._lock:
            self._cancelled = True
            if self._pending is not None:
                self._pending.cancel()
