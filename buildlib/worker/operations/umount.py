"""Let go of a working container that is mounted for all to see."""

from __future__ import annotations

import errno
import os

from buildlib.errors import StoreBusy, from_os_error
from buildlib.linux import mount as kernel
from buildlib.snapshot.copy.tree import Tree
from buildlib.worker.birth import in_user_namespace
from buildlib.worker.tier import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def umount(root: str, args: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
    """``{target} -> {}``: unmount and remove the folder. Not mounted is fine.

    Raises :class:`StoreBusy` where somebody works in there: what is written later would be in no layer.
    """
    target = args["target"]
    try:
        while os.path.lexists(target) and kernel.is_mount_point(target):
            kernel.umount(target, kernel.UMOUNT_NOFOLLOW)
        os.rmdir(target)
        if current().driver == "copy":
            tree = Tree.kept(os.path.dirname(target), userxattr=in_user_namespace())
            if tree is not None:
                tree.harvest()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno == errno.EBUSY:
            hint = f"leave it: `fuser -vm {target}` shows who is in there"
            raise StoreBusy(f"{target} is in use and can't be unmounted", hint=hint) from error
        raise from_os_error(error, f"unmounting {target}") from error
    return {}
