"""Run a command in a working container."""

from __future__ import annotations

import os
import stat

from buildlib.errors import SandboxError, UsageError
from buildlib.linux.probe import Status
from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Linux, Namespace, Process, RuntimeSpec, User
from buildlib.oci.value import evolve
from buildlib.sandbox import seccomp
from buildlib.sandbox.defaults import CAPABILITIES
from buildlib.sandbox.ops.cgroups import MakeGroup
from buildlib.sandbox.ops.stay import Stay
from buildlib.sandbox.plan import DETACHED, plan
from buildlib.sandbox.rootless import adapt
from buildlib.sandbox.user import resolve_user
from buildlib.worker.birth import mapped_ids
from buildlib.worker.request import Command
from buildlib.worker.running import ids, request, root
from buildlib.worker.running.scratch import Scratch
from buildlib.worker.running.sources import Sources
from buildlib.worker.tier import current
from buildlib.worker.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from buildlib.sandbox.op import Op
    from buildlib.worker.running.network import Network


def run(store: str, args: dict[str, Any], fds: Sequence[int]) -> Command:
    """``{key, parents, spec, user?, groups?, …}``, fds 0 1 2, [socket] -> ``{exit_code, timed_out}``.

    Optional too: ``workdir``, ``binds``, ``files`` and ``timeout``. ``spec`` is a runtime spec as plain data, usually
    of :func:`~buildlib.sandbox.defaults.default_spec`; ``user`` ("name:group", looked up in the container, like
    ``groups``, which are more of its groups) and ``workdir`` go before what it says. ``binds`` are the values of
    :mod:`buildlib.worker.running.request` as plain data; they are mounted in order, after the spec's own mounts.
    ``files`` maps paths to texts: synthetic files like /etc/resolv.conf, for this run only. ``timeout`` is in seconds.

    A fourth descriptor is a socket: the command gets a terminal of ``size`` (rows, columns), whose master goes there.

    Nothing of all that ends in the container's upper, only what the command itself writes elsewhere, and the working
    directory where it does not exist. Raises :class:`SandboxError`, :class:`NotFound`, :class:`UsageError`.
    """
    return prepare(store, args, fds)


def prepare(
    store: str, args: dict[str, Any], fds: Sequence[int], connect: Callable[[], Network] | None = None
) -> Command:
    """The command of :func:`run`; with ``connect`` in the network that this makes, which ends with it."""
    if len(fds) not in (3, 4):
        raise UsageError("a run needs three descriptors: standard input, output and error")
    spec = RuntimeSpec.from_dict(args["spec"])
    if current().isolation == "rootless" or mapped_ids() is not None:
        spec = adapt(spec, single=mapped_ids() == 1, shut_in=current().isolation != "chroot")
        if Status.read().confined:
            # The filter of a container lets a user namespace mount, but not name its host (docker's profile).
            spec = evolve(spec, hostname="", domainname="")
    process = spec.process or Process()
    workdir = args.get("workdir") or process.cwd
    binds = [
        *(_file(path, text) for path, text in (args.get("files") or {}).items()),
        *(request.parse(bind, workdir) for bind in args.get("binds") or ()),
    ]
    space = Workspace(store).__enter__()  # it ends with this process
    if not space.mounting:
        return _bare(space, args, evolve(spec, process=evolve(process, cwd=workdir)), binds, fds)
    scratch = Scratch(store, userxattr=space.snapshotter.userxattr)
    sources = Sources(space, scratch)
    opened = [(bind.target, sources.open(bind)) for bind in binds]
    targets = [
        *((request.target(mount.target, "/"), _is_directory(mount)) for mount in spec.mounts),
        *((target, stat.S_ISDIR(os.fstat(fd).st_mode)) for target, fd in opened),
    ]
    tree, made = root.prepare(space, args["key"], args["parents"], targets)
    spec = evolve(
        spec,
        process=evolve(_with_user(process, tree, args.get("user"), args.get("groups") or ()), cwd=workdir),
        mounts=(*spec.mounts, *(Mount(DETACHED, str(fd), target) for target, fd in opened)),
    )
    network = connect() if connect else None
    group = _group_of(spec)
    after = {
        "key": args["key"],
        "parents": args["parents"],
        "made": made,
        "folders": [*([scratch.path] if scratch.used else ()), *space.passing],
        "group": group,
    }
    return Command(
        _on_terminal(_ops(spec, tree, space, group, network), spec, fds, args.get("size") or (0, 0)),
        (fds[0], fds[1], fds[2]),
        args.get("timeout"),
        [*sources.locks, *(network.hold if network else ())],
        after if made or scratch.used or group or current().driver == "copy" else None,
    )


def _on_terminal(ops: Sequence[Op], spec: RuntimeSpec, fds: Sequence[int], size: tuple[int, int]) -> Sequence[Op]:
    if len(fds) == 3:
        return ops
    from buildlib.sandbox.identity import outside
    from buildlib.sandbox.ops.console import Console, seated

    uid = outside((spec.process or Process()).user.uid, (spec.linux or Linux()).uid_mappings)
    rows, columns = size
    return tuple(seated(ops, Console(fds[3], uid, rows, columns)))


def _bare(
    space: Workspace, args: dict[str, Any], spec: RuntimeSpec, binds: Sequence[request.Any_], fds: Sequence[int]
) -> Command:
    """Where nothing can be mounted: see :mod:`~buildlib.worker.running.bare`."""
    if len(fds) != 3:
        raise UsageError("a terminal needs a mount namespace", hint="--isolation chroot has none")
    if _networks(spec):
        raise SandboxError("a network of its own takes a namespace, and there is none", hint="--network host")
    from buildlib.linux.caps import get_permitted
    from buildlib.sandbox.chroot import plan_chroot
    from buildlib.worker.running.bare import Room

    tree = space.container(args["key"], args["parents"])
    process = _with_user(spec.process or Process(), tree, args.get("user"), args.get("groups") or ())
    ops = plan_chroot(evolve(spec, process=process), tree, get_permitted())
    room = Room(space, tree)
    room.furnish(binds)
    after = {"key": args["key"], "parents": args["parents"], "made": [], "folders": [space.path]}
    stay = Stay(False, room.leave)
    return Command((stay, *ops), (fds[0], fds[1], fds[2]), args.get("timeout"), room.locks, after)


def _ops(
    spec: RuntimeSpec, tree: str, space: Workspace, group: dict[str, str] | None, network: Network | None
) -> Sequence[Op]:
    # The group is made when the server knows of it already, so that it is removed whatever happens.
    limits = (MakeGroup(tuple(group.items()), (spec.linux and spec.linux.resources) or {}),) if group else ()
    if not current().stays and network is None:
        return (*limits, *plan(spec, tree, own_init=True, mounted=True, cgroup=group))
    # In a mount namespace of its own, so that ours still has what is to be unmounted when the command is dead.
    own_pids = current().isolation != "chroot"
    linux = spec.linux or Linux()
    if network is not None:
        spaces = (*(n for n in linux.namespaces if n.type != "network"), Namespace("network", network.path))
        linux = evolve(linux, namespaces=spaces)
        spec = evolve(spec, linux=linux)
    if not own_pids:
        spec = evolve(spec, hostname="", linux=evolve(linux, namespaces=_networks(spec)))

    def then() -> None:
        if network is not None:
            network.leave()
        space.close()

    stay = Stay(own_pids, then, space.servers)
    return (stay, *limits, *plan(spec, tree, own_init=own_pids, cgroup=group))


def _networks(spec: RuntimeSpec) -> tuple[Namespace, ...]:
    """The network namespace that is asked for: who wants none shall not get the machine's."""
    return tuple(n for n in (spec.linux or Linux()).namespaces if n.type == "network")


def _group_of(spec: RuntimeSpec) -> dict[str, str] | None:
    """Where the run's own control group will be, if the spec limits something."""
    if not spec.linux or not spec.linux.resources:
        return None
    from buildlib.worker.running.limits import place

    return place(spec)


def _file(path: str, text: str) -> request.File:
    import base64

    content = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
    return request.File(request.target(path, "/"), content)


def _is_directory(mount: Mount) -> bool:
    """Whether the target is to be a directory; a bind of a file wants a file."""
    return not {"bind", "rbind"} & set(mount.options) or os.path.isdir(mount.source)


def _with_user(process: Process, tree: str, words: str | None, more: Sequence[str]) -> Process:
    """The process with the ids of the user that ``words`` name in the container, in the groups ``more``; and a HOME."""
    fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = resolve_user(fd, words if words is not None else f"{process.user.uid}:{process.user.gid}")
        added = [gid for word in more for gid in _group(fd, word)]
    finally:
        os.close(fd)
    if mapped_ids() is not None:
        ids.require(found.uid, found.gid)
    if words is not None:
        # The primary group is one of the supplementary ones, too, so that no setgid program sheds it (CVE-2022-36109).
        groups = tuple(dict.fromkeys((found.gid, *found.additional_gids, *added)))
        user = User(found.uid, found.gid, process.user.umask, groups)
        process = evolve(process, user=user)
    if any(word.startswith("HOME=") for word in process.env):
        return process
    return evolve(process, env=(*process.env, f"HOME={found.home}"))


def _group(root_fd: int, word: str) -> list[int]:
    """The number of a group of the container; "keep-groups" means those that this process is in."""
    return os.getgroups() if word == "keep-groups" else [resolve_user(root_fd, f"0:{word}").gid]


# The server imports this module before it forks the child of a run, so that what is made here is made once for all.
seccomp.prepare(CAPABILITIES)
