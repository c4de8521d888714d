"""How a worker comes into the world, and with which rights: the one place that decides about namespaces and ids.

As root it stays in the mount namespace of its client, so that what ``mount`` mounts is there for all to see; without,
it enters a user namespace in which it is root, and a mount namespace below that. Each request that mounts anything else
gets a namespace of its own, which ends with it.
"""

from __future__ import annotations

import _socket as socket
import json
import os
import signal
import sys
from contextlib import closing, suppress
from functools import cache

from buildlib.errors import BuildlibError, WorkerError
from buildlib.linux import process
from buildlib.worker.tier import adopt, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from buildlib.worker.tier import Ids, Tier

CONTROL = 3
"""The descriptor on which an executed worker finds its control socket."""


def bear(root: str, tier: Tier) -> tuple[int, socket.socket]:
    """Make the worker process: its pid, and our end of its control socket. Raises :class:`WorkerError`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client = os.getpid()
    with closing(theirs):
        try:
            if process.thread_count() == 1:
                pid = os.fork()
                if pid == 0:
                    _live(theirs, client, root, tier)
            else:
                # Other threads hold locks that nobody would release in a forked child (fork(2)).
                pid = _execute(theirs, client, root, tier)
        except OSError as error:
            ours.close()
            raise WorkerError(f"the worker process can't be started: {error.strerror}") from error
    return pid, ours


def _execute(control: socket.socket, client: int, root: str, tier: Tier) -> int:
    """Start a fresh interpreter that knows the modules which this one knows, wherever they came from."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # Without -I and -S the environment and the start-up of site could bring in anything, and take their time.
    path = [os.path.dirname(package), *(os.path.abspath(entry) for entry in sys.path if entry)]
    modules = os.pathsep.join(dict.fromkeys(path))
    words = ["-I", "-S", f"{package}/worker/__main__.py", root, str(client), pack(tier), modules]
    if not sys.executable:
        raise WorkerError("the worker can't be started: this program does not know its Python (sys.executable)")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *words],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, control.fileno(), CONTROL)],
        setsigmask=[],
    )


def _live(control: socket.socket, client: int, root: str, tier: Tier) -> NoReturn:
    """Be the worker until the client is gone."""
    code = 1
    try:
        _leave_the_client(control.fileno())
        adopt(tier)
        if tier.ids != "host":
            _enter_user_namespace(tier.ids)
        from buildlib.worker.server import serve

        serve(control, client, root)
        code = 0
    except BuildlibError as error:
        with suppress(OSError):  # the client reads it when it finds that we are gone
            control.send(json.dumps(error.to_dict()).encode())
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        # Nothing of the client's frames, buffers and exit handlers may run here a second time.
        os._exit(code)


def _enter_user_namespace(ids: Ids) -> None:
    from buildlib.linux import namespaces, subids, userns

    uid, gid = os.getuid(), os.getgid()
    maps = subids.own(uid, gid)
    if ids == "range":
        maps = subids.with_subordinates(uid, gid, subids.user_name(uid))
    try:
        userns.enter(maps, namespaces.NEWNS)
    except OSError as error:
        raise WorkerError(
            f"the kernel refuses a user namespace: {error.strerror}", hint="`buildlib info` shows what it allows"
        ) from error
    except userns.MapFailed as error:
        raise WorkerError(f"the subordinate ids can't be mapped: {error}") from error


def run_executed(root: str, client: int, tier: str) -> NoReturn:
    """Be the worker, in the interpreter that :func:`_execute` started."""
    _live(socket.socket(fileno=CONTROL), client, root, unpack(tier))


def _leave_the_client(control: int) -> None:
    """A session of our own: what a terminal sends to the client, Ctrl-C first of all, is for the client to decide."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    process.close_all_but({0, 1, 2, control})
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:  # else the next thing we open would be somebody's standard output
            os.open(os.devnull, os.O_RDWR)
    os.umask(0o022)
    os.chdir("/")
    process.set_name("buildlib-worker")


def enter_request(control: set[int], *, private_mounts: bool) -> None:
    """In the child that does one request: keep only the descriptors ``control``, die with the worker."""
    process.die_with_parent()
    process.close_all_but({0, 1, 2, *control})
    if private_mounts:
        from buildlib.linux import mount, namespaces

        namespaces.unshare(namespaces.NEWNS)
        mount.make_private()


@cache
def mapped_ids() -> int | None:
    """How many ids there are here, where ids are mapped; None where they are the machine's."""
    from buildlib.linux import namespaces

    return namespaces.mapped_ids()


def in_user_namespace() -> bool:
    """Whether ids are mapped here: then overlay marks must be ``user.*`` and devices can't be made."""
    return mapped_ids() is not None
