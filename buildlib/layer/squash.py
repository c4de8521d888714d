"""Copies a plain tree, such as a mounted stack of layers, into a new layer folder: as an archive on the way."""

from __future__ import annotations

import os
from threading import Thread

from buildlib.errors import LayerError
from buildlib.layer.apply import Applied, apply
from buildlib.layer.measure import export_squashed


def squash(root_dir: str, fs_dir: str, *, timestamp: int | None = None, clamp: int | None = None) -> Applied:
    """Let ``fs_dir`` be one layer with all that is seen below ``root_dir``: no whiteouts, times in whole seconds.

    ``timestamp`` and ``clamp`` as for ``write_layer``; the folder, too, then has those times. Raises what
    ``write_layer`` and :func:`~buildlib.layer.apply.apply` raise.
    """
    source, sink = os.pipe()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            export_squashed(root_dir, sink, compression="none", timestamp=timestamp, clamp=clamp)
        except BaseException as error:  # raised again below
            failures.append(error)
        finally:
            os.close(sink)

    writer = Thread(target=write, daemon=True)
    writer.start()
    try:
        applied = apply(source, fs_dir)
    except LayerError:
        if failures:  # the tree can't be read, and therefore its archive ended too early
            raise failures[0] from None
        raise
    finally:
        os.close(source)  # a writer that still writes gives up
        writer.join()
    if failures:
        raise failures[0]
    return applied
