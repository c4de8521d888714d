"""Write a layer folder as an archive, compressed on the way."""

from __future__ import annotations

from buildlib.layer import measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def export(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{layer, compression, level?, timestamp?, clamp?, known?} fds[out] -> {diff_id, tar_size, digest, size, …}``.

    ``known`` is ``[diff_id, size, crc32]`` of a layer that was measured: it is not hashed once more.
    """
    known = args.get("known")
    exported = measure.export(
        f"{root}/layers/{args['layer']}/fs",
        fds[0],
        compression=args["compression"],
        level=args.get("level"),
        timestamp=args.get("timestamp"),
        clamp=args.get("clamp"),
        known=measure.Known(*known) if known else None,
    )
    return {
        "diff_id": exported.diff_id,
        "tar_size": exported.tar_size,
        "digest": exported.digest,
        "size": exported.size,
        "skipped": list(exported.skipped),
    }
