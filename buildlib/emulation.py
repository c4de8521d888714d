"""Whether this machine can execute programs for a platform: its own, or what an emulator is registered for."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci import Platform

BINFMT = "/proc/sys/fs/binfmt_misc"

_ALSO = {"amd64": ("386",)}
_QEMU = {
    "386": "i386", "amd64": "x86_64", "arm": "arm", "arm64": "aarch64", "loong64": "loongarch64",
    "mips64le": "mips64el", "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x",
}  # fmt: skip
"""What QEMU calls an architecture, and with it the entries that register it (qemu-binfmt-conf.sh)."""


def can_run(platform: Platform, binfmt: str = BINFMT) -> bool:
    """Whether programs for ``platform`` can be executed here, in a root file system that has no emulator itself."""
    from buildlib.oci import Platform

    host = Platform.host()
    if platform.os != host.os:
        return False
    if platform.architecture in (host.architecture, *_ALSO.get(host.architecture, ())):
        return True
    try:
        with open(f"{binfmt}/qemu-{_QEMU.get(platform.architecture)}", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    # F: the kernel holds the emulator open, so that it need not be found in the container.
    return lines[:1] == ["enabled"] and any(line.startswith("flags:") and "F" in line[6:] for line in lines)
