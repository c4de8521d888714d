"""The first process of a container: forked into its pid namespace, it takes the steps and becomes the command.

It is forked by the runtime process, which stays outside with its rights: it writes id maps, moves the new process into
its control group, and runs the hooks of the host.
"""

from __future__ import annotations

import os

from buildlib.errors import BuildlibError, SandboxError
from buildlib.linux import namespaces, process
from buildlib.linux.signals import signal
from buildlib.linux.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from buildlib.oci.runtime import Linux, Namespace
    from buildlib.sandbox.op import Op
    from buildlib.sandbox.runtime.talk import Talk


def live(ops: Callable[[], Iterable[Op]], talk: Talk, preserve: int) -> NoReturn:
    """Take the steps; the last one is the command. ``preserve`` descriptors from 3 on stay open for it.

    What fails is told to the runtime; once that is gone, on standard error.
    """
    code = 1
    try:
        from buildlib.sandbox.child import detach, step
        from buildlib.sandbox.program import NotRunnable

        detach()
        # Nobody in there may look into this process, whose program and files are the host's (CVE-2016-9962).
        process.prctl(process.PR_SET_DUMPABLE, 0)
        process.close_from(3 + preserve, on_exec=True)
        try:
            for op in tuple(ops()):  # all of them first: behind the pivot nothing can be imported
                step(op)
        except NotRunnable as failure:
            code = failure.code
            _fail(talk, SandboxError(f"exec: {failure.message}"))
    except BuildlibError as error:
        _fail(talk, error)
    except BaseException as error:  # nothing may unwind into the frames of the runtime
        _fail(talk, SandboxError(f"{type(error).__name__}: {error}"))
    finally:
        os._exit(code)


def _fail(talk: Talk, error: BuildlibError) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        talk.fail(error.to_dict())
    except OSError:
        with suppress(OSError):
            os.write(2, f"{error}\n".encode("utf-8", "backslashreplace"))


def fork(linux: Linux, child: Callable[[], NoReturn]) -> int:
    """Fork the process that does ``child``, in the pid namespace that the spec names; its pid out here.

    It is a child of this process. Raises :class:`SandboxError`.
    """
    pids = next((n for n in linux.namespaces if n.type == "pid"), None)
    try:
        if early_user(linux):
            return _fork_by_stage(linux, pids, child)
        return _fork_into(pids, child, come_back=True)
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        raise SandboxError(f"entering namespaces: {what}{error.strerror}", errno=error.errno) from error


def early_user(linux: Linux) -> bool:
    """Whether the user namespace has to come before all others, because we have no rights without it.

    Else the plan enters it late: what is mounted for the container then belongs to the host.
    """
    return os.geteuid() != 0 and any(n.type == "user" for n in linux.namespaces)


def _fork_into(pids: Namespace | None, child: Callable[[], NoReturn], *, come_back: bool) -> int:
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if pids is not None and pids.path:
            join(pids)
        elif pids is not None:
            namespaces.unshare(namespaces.NEWPID)
        pid = os.fork()
        if pid == 0:
            child()
        if pids is not None and come_back:  # hooks are processes of the host
            namespaces.setns(home, namespaces.NEWPID)
        return pid
    finally:
        os.close(home)


def _fork_by_stage(linux: Linux, pids: Namespace | None, child: Callable[[], NoReturn]) -> int:
    """By way of a process in between that enters the user namespace, so that this one keeps its rights.

    A pid namespace belongs to the user namespace in which it is made, so that the order can't be another.
    """
    user = next(n for n in linux.namespaces if n.type == "user")
    process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)  # the new process becomes ours when the one in between ends
    hear, say = os.pipe2(os.O_CLOEXEC)
    wait, go = os.pipe2(os.O_CLOEXEC)
    stage = os.fork()
    if stage == 0:
        os.close(go)
        os.close(hear)
        _stage(user, pids, child, say, wait)
    os.close(say)
    os.close(wait)
    try:
        if os.read(hear, 1) == b"n":
            _map(stage, linux)
        os.write(go, b"g")
        said = os.read(hear, 4096).decode()
    finally:
        os.close(hear)
        os.close(go)
        os.waitpid(stage, 0)
    if not said.isdigit():
        raise SandboxError(f"entering the user namespace: {said or 'it ended early'}")
    return int(said)


def _stage(user: Namespace, pids: Namespace | None, child: Callable[[], NoReturn], say: int, wait: int) -> NoReturn:
    try:
        if user.path:
            join(user)
        else:
            namespaces.unshare(namespaces.NEWUSER)
        os.write(say, b"j" if user.path else b"n")
        if os.read(wait, 1):
            os.setresgid(0, 0, 0)
            with suppress(PermissionError):  # where setgroups is denied
                os.setgroups([])
            os.setresuid(0, 0, 0)
            os.write(say, str(_fork_into(pids, child, come_back=False)).encode())
    except OSError as error:
        os.write(say, f"{error.filename or ''} {error.strerror}".strip().encode())
    finally:
        os._exit(0)


def _map(pid: int, linux: Linux) -> None:
    uids, gids = (
        [(m.container_id, m.host_id, m.size) for m in mappings] for mappings in (linux.uid_mappings, linux.gid_mappings)
    )
    if not uids or not gids:
        raise SandboxError("linux.uidMappings, linux.gidMappings: a user namespace needs both")
    if [(size, host) for _, host, size in (*uids, *gids)] == [(1, os.geteuid()), (1, os.getegid())]:
        namespaces.write_id_maps(pid, uids, gids, setgroups=False)
    else:
        _map_by_program(pid, {"newuidmap": uids, "newgidmap": gids})


def _map_by_program(pid: int, maps: dict[str, list[tuple[int, int, int]]]) -> None:
    """Have newuidmap(1) and newgidmap(1) write them, which know what a user may have."""
    for name, triples in maps.items():
        words = [name, str(pid), *(str(number) for triple in triples for number in triple)]
        _, status = os.waitpid(os.posix_spawnp(name, words, os.environ), 0)
        if status:
            raise SandboxError(f"{name} refuses the mappings of the spec")


def join(namespace: Namespace) -> None:
    """Enter a namespace by its path; one of pids takes the children only. Raises ``OSError``."""
    fd = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.setns(fd, namespaces.FLAGS[namespace.type])
    except OSError as error:
        raise OSError(error.errno, error.strerror, namespace.path) from None
    finally:
        os.close(fd)
