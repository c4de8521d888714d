"""Handing a command to the worker: its spec, what is mounted for it, its streams; and waiting for its end."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress

from buildlib.container.inputs import View, view
from buildlib.container.mounts import Bind, Cache, Content, Secret, Ssh, Tmpfs
from buildlib.container.run import RunResult, timed_out
from buildlib.container.streams import Pump, descriptor
from buildlib.container.synthetic import synthetic_files
from buildlib.errors import BuildlibError, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.devices import Devices
    from buildlib.container.mounts import Mount
    from buildlib.container.run import Output, Request
    from buildlib.store import Store

HOSTNAME = "buildlib"
"""What a command sees as the name of its host unless somebody says otherwise: always the same."""


def execute(container: WorkingContainer, wanted: Request, output: Output) -> RunResult:
    """Run it; the container's folders have to be there. Raises :class:`RunTimeout`, :class:`SandboxError`."""
    if wanted.tty is not False:
        from buildlib.container.terminal import execute_on_terminal

        return execute_on_terminal(container, wanted)
    started = time.monotonic()
    pump = Pump(output.stdout, output.stderr, output.capture)
    stdin = _stdin(wanted.stdin)
    try:
        with container.store.lease(*_leases(wanted)), ExitStack() as stack:
            args = _arguments(container, wanted, _agents(container.store, wanted, stack))
            reply = _wait(container, operation(wanted), args, (stdin, *pump.command_ends), pump)
    finally:
        os.close(stdin)
        pump.close()
    if reply["timed_out"]:
        raise timed_out(container, wanted, pump.last_lines())
    seconds = time.monotonic() - started
    if not output.capture:
        return RunResult(reply["exit_code"], output=pump.last_lines(), duration=seconds)
    return RunResult(reply["exit_code"], pump.text(1), pump.text(2), pump.text(0), seconds)


def _wait(
    container: WorkingContainer, op: str, args: dict[str, Any], fds: tuple[int, ...], pump: Pump
) -> dict[str, Any]:
    pending = container.requests.submit(op, args, fds)
    pump.started()
    try:
        pump.run(pending.fileno())
    except BaseException:
        # Ctrl-C, or nobody takes the output any more: the whole tree dies before this goes on up.
        pending.cancel()
        with suppress(BuildlibError):
            pending.result()
        raise
    return pending.result()


def operation(wanted: Request) -> str:
    """That of the worker which runs it."""
    return "run_beside" if wanted.network == "private" else "run"


def _stdin(given: Any) -> int:
    """A descriptor to be closed that holds what the command reads."""
    if given is None:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    if isinstance(given, bytes):
        fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
        view = memoryview(given)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        return fd
    own = descriptor(given)
    if own is None:
        raise UsageError("stdin is neither bytes nor a file with a descriptor")
    return os.dup(own)


def _agents(store: Store, wanted: Request, stack: ExitStack) -> list[tuple[str, str]]:
    """The sockets of SSH agents: where each is, and its target. They last as long as ``stack``."""
    found: list[tuple[str, str]] = []
    for number, mount in enumerate(mount for mount in wanted.mounts if isinstance(mount, Ssh)):
        if mount.agent is None and not mount.keys:
            if mount.required:
                hint = "pass an agent or a key"
                raise NotFound(f"the SSH agent {mount.id!r} is missing", hint=hint, kind="agent", name=mount.id)
            continue
        from buildlib.ssh_agent import serve

        serving = serve(store, mount.agent, mount.keys, mode=mount.mode, uid=mount.uid, gid=mount.gid)
        found.append((stack.enter_context(serving), mount.target or f"/run/buildkit/ssh_agent.{number}"))
    return found


def _arguments(container: WorkingContainer, wanted: Request, agents: Sequence[tuple[str, str]]) -> dict[str, Any]:
    from buildlib.sandbox.defaults import default_spec

    environ = dict(os.environ) if any(isinstance(mount, Secret) for mount in wanted.mounts) else {}
    secrets = {mount: mount.read(environ) for mount in wanted.mounts if isinstance(mount, Secret)}
    in_env = [
        f"{mount.env}={data.decode('utf-8', 'surrogateescape')}"
        for mount, data in secrets.items()
        if mount.env is not None and data is not None
    ]
    if agents:
        in_env.append(f"SSH_AUTH_SOCK={agents[0][1]}")
    hostname = wanted.hostname or HOSTNAME
    given, options = _devices(wanted), wanted.options
    spec = default_spec(
        wanted.argv,
        env=(*wanted.env, *wanted.proxy, *given.env, *in_env),
        cwd=wanted.workdir,
        hostname=hostname,
        network="host" if wanted.network == "host" else "none",  # the worker connects or joins it
        cap_add=wanted.cap_add,
        cap_drop=wanted.cap_drop,
        insecure=wanted.security == "insecure",
        devices=given.nodes,
    )
    groups: tuple[str, ...] = ()
    if options is not None or wanted.network.startswith("ns:"):
        from buildlib.container.run_options import RunOptions, shape

        options = options or RunOptions()
        spec, groups = shape(spec, options, wanted.network), options.group_add
    binds = [bind for mount in wanted.mounts for bind in _binds(container.store, mount, secrets)]
    binds += [{"type": "bind", "source": path, "target": target} for path, target in agents]
    binds += given.binds
    return {
        "key": container.id,
        "parents": list(container.layers),
        "spec": spec.to_dict(),
        "user": wanted.user,
        "workdir": wanted.workdir,
        "binds": binds,
        "files": synthetic_files(container, hostname, options, wanted.network),
        "timeout": wanted.timeout,
        **({"groups": groups} if groups else {}),
    }


def _devices(wanted: Request) -> Devices:
    from buildlib.container.devices import CDI_FOLDERS, INSECURE, find, present

    given = find(wanted.devices, (wanted.options.cdi_folders if wanted.options else ()) or CDI_FOLDERS)
    if wanted.security == "insecure":
        given = given._replace(nodes=(*present(INSECURE), *given.nodes))
    return given


def _binds(store: Store, mount: Mount, secrets: Mapping[Secret, bytes | None]) -> list[dict[str, Any]]:
    """The mount as the worker's ``run`` takes it."""
    if isinstance(mount, Bind):
        return [_bind(store, mount)]
    if isinstance(mount, Tmpfs):
        return [{"type": "tmpfs", "target": mount.target, "size": mount.size}]
    if isinstance(mount, Content):
        return [_file("file", mount.target, mount.data, mode=mount.mode, ro=True)]
    if isinstance(mount, Secret):
        data = secrets[mount]
        if data is None or mount.path is None:
            return []
        return [_file("secret", mount.path, data, mode=mount.mode, uid=mount.uid, gid=mount.gid)]
    if isinstance(mount, Ssh):
        return []
    names = ("target", "sharing", "mode", "uid", "gid", "ro")
    bind = {"type": "cache", "id": mount.id or mount.target, **{name: getattr(mount, name) for name in names}}
    if mount.from_ is not None:
        bind.update(parents=list(view(store, mount.from_).layers), source=mount.source or "/")
    return [bind]


def _bind(store: Store, mount: Bind) -> dict[str, Any]:
    shown = {"target": mount.target, "rw": mount.rw}
    if mount.from_ is not None:
        return {"type": "snapshot", "parents": list(view(store, mount.from_).layers), "source": mount.source, **shown}
    if mount.context is not None:
        root = os.path.abspath(mount.context)
        return {"type": "bind", "root": root, "source": mount.source, **shown}
    return {"type": "bind", "source": os.path.abspath(mount.source), "keep": mount.keep, **shown}


def _file(kind: str, target: str, data: bytes, **fields: Any) -> dict[str, Any]:
    import base64

    return {"type": kind, "target": target, "content": base64.b64encode(data).decode(), **fields}


def _leases(wanted: Request) -> list[str]:
    """What must not be collected while the command runs."""
    needed = []
    for mount in wanted.mounts:
        if isinstance(mount, Cache):
            from buildlib.worker.running.caches import folder_name

            needed.append(f"cache:{folder_name(mount.id or mount.target)}")
        if isinstance(mount, Bind | Cache) and isinstance(mount.from_, View):
            needed += [f"layer:{layer}" for layer in mount.from_.layers]
    return needed
