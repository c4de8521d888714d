"""The op that limits system calls."""

from __future__ import annotations

from buildlib.linux import seccomp
from buildlib.oci.value import frozen


@frozen
class Seccomp:
    """Limit the system calls of this process and all that it starts."""

    program: bytes
    flags: int = 0
    listened: bool = False

    def describe(self) -> str:
        """One line."""
        return f"filter system calls ({len(self.program) // 8} instructions)"

    def execute(self) -> None:
        """seccomp(2). A listener is sent before this process calls what it may have to be asked about."""
        fd = seccomp.install(self.program, self.flags)
        if self.listened:
            from buildlib.sandbox.ops.listener import hand_over  # the plan has imported it, before the pivot

            hand_over(fd)
