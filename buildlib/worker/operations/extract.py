"""Unpack a root file system archive as a layer: a plain tree, in which names mean nothing."""

from __future__ import annotations

import os

from buildlib.layer import archive
from buildlib.layer.measure import measure
from buildlib.worker.operations.apply import new_layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def extract(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layer} fds[stream] -> {diff_id, content_digest, size, crc32, entries, unsupported}``: of the layer."""
    with new_layer(root, args["layer"]) as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - the root of a file system, unless the archive says otherwise
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            extracted = archive.extract_archive(fds[0], fd, "/", keep_root=True)
        finally:
            os.close(fd)
        measured = measure(folder)
    return {
        "diff_id": measured.diff_id,
        "content_digest": measured.content_digest,
        "size": measured.size,
        "crc32": measured.crc32,
        "entries": measured.entries,
        "unsupported": list(extracted.unsupported),
    }
