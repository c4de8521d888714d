"""The ops that limit system calls, and tell whoever is to be asked about some of them."""

from __future__ import annotations

from buildlib.linux import seccomp
from buildlib.oci.value import frozen


@frozen
class Messenger:
    """Start the process that will send the listener of the filter, while the socket's path is that of the host."""

    path: str
    state: str
    """The message: JSON of a container process state (runtime.md, "The seccomp listener"), without the pids."""

    def describe(self) -> str:
        """One line."""
        return f"connect to the seccomp listener at {self.path} (linux.seccomp.listenerPath)"

    def execute(self) -> None:
        """connect(2) and fork(2)."""
        from buildlib.sandbox.ops.listener import connect

        connect(self.path, self.state)


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
            from buildlib.sandbox.ops.listener import hand_over  # the messenger's op has imported it, before the pivot

            hand_over(fd)
