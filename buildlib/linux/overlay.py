"""Overlay mounts of any number of directories with any names, on kernels old and new."""

from __future__ import annotations

import contextlib
import errno
import os

from buildlib.linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def overlay(
    lowers: Sequence[str],
    upper: str | None = None,
    work: str | None = None,
    options: Iterable[str] = (),
    *,
    attributes: int = 0,
) -> int:
    """An overlay of the directories ``lowers`` (top first) as a detached mount; read-only without ``upper``.

    Any number of lowers up to the kernel's 500, any length of path, any character in it. Without an upper there must
    be two lowers at least (the kernel's rule). Raises ``OSError``. (Documentation/filesystems/overlayfs.rst)
    """
    with contextlib.ExitStack() as stack:

        def short(path: str) -> str:
            # Overlayfs takes backslashes out of upperdir, and not out of lowerdir+.
            if len(os.fsencode(path)) <= mount.LONGEST_STRING and "\\" not in path:
                return path
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        settings = [f"lowerdir+={short(lower)}" for lower in lowers]
        if upper is not None and work is not None:
            settings += [f"upperdir={short(upper)}", f"workdir={short(work)}"]
        try:
            return mount.new_mount("overlay", [*settings, *options], attributes=attributes, source="overlay")
        except OSError as error:
            # Linux < 6.8 has no "lowerdir+"; it says so at the first option.
            if error.errno != errno.EINVAL or error.filename != settings[0]:
                raise
    return _overlay_by_page(lowers, upper, work, options, attributes)


def _overlay_by_page(
    lowers: Sequence[str], upper: str | None, work: str | None, options: Iterable[str], attributes: int
) -> int:
    """The same through mount(2), whose options must fit a page: names relative to the lowers' common parent.

    It needs a path to mount on for a moment; the caller has a mount namespace of its own.
    """
    base = os.path.commonpath(lowers) if len(lowers) > 1 else os.path.dirname(lowers[0])
    names = ":".join(_escape(os.path.relpath(lower, base)) for lower in lowers)
    data = ",".join([f"lowerdir={names}", *options])
    if upper is not None and work is not None:
        data += f",upperdir={_escape(upper)},workdir={_escape(work)}"
    spot = lowers[0]  # any directory will do: an overlay keeps private mounts of what it shows
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.chdir(base)
    try:
        mount.mount("overlay", spot, "overlay", 0, data)
        try:
            fd = mount.open_tree(spot, recursive=False)
        finally:
            mount.umount(spot, mount.MNT_DETACH)
    finally:
        os.fchdir(here)
        os.close(here)
    if attributes:
        mount.set_attributes("", dir_fd=fd, add=attributes)
    return fd


def _escape(path: str) -> str:
    # Commas end an option, colons a lower: the parser of overlayfs takes backslashes before both.
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def mount_overlay(
    target: str,
    lowers: Sequence[str],
    upper: str | None = None,
    work: str | None = None,
    options: Iterable[str] = (),
    *,
    attributes: int = 0,
) -> None:
    """:func:`overlay`, attached at ``target``."""
    fd = overlay(lowers, upper, work, options, attributes=attributes)
    try:
        mount.move_mount(fd, target)
    finally:
        os.close(fd)
