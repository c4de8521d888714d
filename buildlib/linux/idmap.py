"""A user namespace only for its maps, by which an id-mapped mount is told its ids (mount_setattr(2))."""

from __future__ import annotations

import os

from buildlib.linux import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Triples = Sequence[tuple[int, int, int]]


def user_namespace(uids: Triples, gids: Triples) -> int:
    """A descriptor of a new user namespace with these maps: triples (id inside, id outside, count).

    It lives as long as the descriptor. Raises ``OSError``.
    """
    wait, go = os.pipe2(os.O_CLOEXEC)
    said, say = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go)
            # The /proc at hand may be that of another pid namespace: its number there, not that here.
            number = os.readlink("/proc/self")
            namespaces.unshare(namespaces.NEWUSER)
            os.write(say, f"0 {number}".encode())
            os.read(wait, 1)
        except OSError as error:
            os.write(say, f"{error.errno} 0".encode())
        finally:
            os._exit(0)
    os.close(say)
    os.close(wait)
    try:
        failed, name = map(int, os.read(said, 64).split() or (5, 0))
        if failed:
            raise OSError(failed, os.strerror(failed), "user namespace")
        namespaces.write_id_maps(name, uids, gids)
        return os.open(f"/proc/{name}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go)
        os.close(said)
        os.waitpid(pid, 0)
