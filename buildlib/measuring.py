"""Measuring layers in the background: their digests are computed while the next step already runs on them."""

from __future__ import annotations

import threading

from buildlib.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.store import Store


class Measurements:
    """The measurements of the layers of ``store`` that this process has begun. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()

    def known(self, layer: str) -> tuple[Any, ...]:
        """(DiffID, content digest, size) as the database has them; the DiffID is None before it is measured."""
        row = self._store.db.row("SELECT diff_id, content_digest, size FROM layers WHERE id = ?", (layer,))
        if row is None:
            raise gone(layer)
        diff_id, content, size = row
        return diff_id, content or None, size

    def begin(self, layer: str, content: bool = True) -> _Running | None:
        """Let the worker measure the layer, unless it does already; None where it is measured."""
        with self._lock:
            running = self._running.get(layer)
            if running is None and self.known(layer)[0] is None:
                wanted = {**self._store.layers.tar(layer), "content": content}
                pending = self._store.worker.submit("measure", wanted)
                running = self._running[layer] = _Running(pending)
            return running

    def result(self, layer: str) -> tuple[Any, ...]:
        """What :meth:`known` gives once the layer is measured; begins and waits as needed."""
        known = self.known(layer)
        if known[0] is not None:
            return known
        running = self.begin(layer)
        if running is not None:
            with running.lock:  # one thread waits for the worker, others for that thread
                if self.known(layer)[0] is None:
                    self._finish(layer, running)
        return self.known(layer)

    def _finish(self, layer: str, running: _Running) -> None:
        try:
            reply = running.pending.result()
            # Not NULL though unknown: NULL says that the layer was unpacked from a foreign tar.
            found = (reply["diff_id"], reply["content_digest"] or "", reply["size"], reply["crc32"], layer)
            sql = "UPDATE layers SET diff_id = ?, content_digest = ?, size = ?, crc32 = ? WHERE id = ?"
            with self._store.db.transaction() as conn:
                conn.execute(sql, found)
        finally:
            with self._lock:
                self._running.pop(layer, None)

    def close(self) -> None:
        """Give up what is running; those layers will be measured when they are needed."""
        with self._lock:
            running = list(self._running.values())
            self._running.clear()
        for one in running:
            one.pending.cancel()


class _Running:
    __slots__ = ("lock", "pending")

    def __init__(self, pending: Any) -> None:
        self.pending = pending
        self.lock = threading.Lock()


def gone(layer: str) -> NotFound:
    """The error for a layer without a row."""
    return NotFound(
        f"there is no layer {layer}", hint="`buildlib check` lists what is damaged", kind="layer", name=layer
    )
