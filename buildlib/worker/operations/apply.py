"""Unpack a layer archive into a folder of its own."""

from __future__ import annotations

import os
from contextlib import contextmanager

from buildlib.errors import from_os_error
from buildlib.layer import apply as layer_apply
from buildlib.linux.process import start_time
from buildlib.snapshot.tree import remove_tree
from buildlib.worker.workspace import snapshotter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


def apply(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layer, blob?} fds[stream] -> {…}``, the fields of :class:`buildlib.layer.apply.Applied`.

    ``layers/<layer>`` appears when it is complete.
    """
    with new_layer(root, args["layer"]) as folder:
        userxattr = snapshotter(root).userxattr
        applied = layer_apply.apply(fds[0], folder, userxattr=userxattr, blob=args.get("blob", True))
    return {
        "diff_id": applied.diff_id,
        "tar_size": applied.tar_size,
        "blob_digest": applied.blob_digest,
        "blob_size": applied.blob_size,
        "missing_parents": applied.missing_parents,
        "pending_links": applied.pending_links,
        "unsupported": list(applied.unsupported),
    }


@contextmanager
def new_layer(root: str, layer: str) -> Iterator[str]:
    """A folder to fill, which becomes the files of ``layer`` at the end of the block, or nothing at all."""
    pid = os.getpid()
    # The name says whose it is: when the owner died, the store sweeps it.
    spot = os.path.join(root, "tmp", f"{pid}.{start_time(pid)}.{int(layer, 16)}")
    try:
        os.makedirs(f"{spot}/fs")
        os.chmod(spot, 0o700)
        yield f"{spot}/fs"
        os.makedirs(f"{root}/layers", exist_ok=True)
        os.rename(spot, f"{root}/layers/{layer}")
    except BaseException as error:
        remove_tree(spot)
        if isinstance(error, OSError):
            raise from_os_error(error, f"making layer {layer}") from error
        raise
