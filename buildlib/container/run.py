"""Running a command in a working container: what it gets, what the cache knows it by, and what comes back."""

from __future__ import annotations

import posixpath
import time

from buildlib.cache import Step
from buildlib.container.performing import Call, perform
from buildlib.errors import RunError, RunTimeout, UsageError
from buildlib.oci.value import evolve, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.mounts import Mount
    from buildlib.container.run_options import RunOptions
    from buildlib.container.streams import Stream
    from buildlib.oci import ContainerConfig

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
NETWORKS = {"default": "host", "host": "host", "none": "none", "private": "private"}


@frozen
class RunResult:
    """What a command left behind.

    ``stdout``, ``stderr`` and ``output`` (both, in the order in which they came) are what was captured; if nothing
    was, ``output`` holds the last lines, as far as they passed through this process.
    ``duration`` is in seconds; ``cached`` says that the command was not executed, for its outcome was known.
    """

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    output: str = ""
    duration: float = 0.0
    cached: bool = False


@frozen
class Request:
    """A command with everything that it gets, fully expanded."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    user: str
    workdir: str
    mounts: tuple[Mount, ...] = ()
    network: str = "host"
    hostname: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    """Variables that the command sees, but that must not decide what is built."""
    stdin: Any = None
    timeout: float | None = None
    security: str = "sandbox"
    devices: tuple[str, ...] = ()
    options: RunOptions | None = None
    tty: bool | int = False

    def values(self) -> dict[str, Any]:
        """What of it is part of the key; secrets only by their names, binds by digests that come beside it."""
        import hashlib

        values: dict[str, Any] = {
            "argv": self.argv,
            "env": self.env,
            "user": self.user,
            "workdir": self.workdir,
            "network": self.network,
            "hostname": self.hostname,
            "mounts": _described(self.mounts),
            "cap_add": sorted(self.cap_add),
            "cap_drop": sorted(self.cap_drop),
        }
        if self.security != "sandbox":
            values["security"] = self.security
        if self.devices:
            values["devices"] = self.devices
        if self.options is not None and self.options.decisive:
            values["options"] = self.options.decisive
        if isinstance(self.stdin, bytes):
            values["stdin"] = hashlib.sha256(self.stdin).hexdigest()
        return values


def _described(mounts: Sequence[Mount]) -> list[dict[str, Any]]:
    if not mounts:
        return []
    from buildlib.container.mounts import describe

    return [describe(mount) for mount in mounts]


def request(
    config: ContainerConfig,
    command: str | Sequence[str],
    *,
    shell: Sequence[str] | None,
    env: Mapping[str, str] | None,
    user: str | None,
    workdir: str | None,
    mounts: Iterable[Mount],
    network: str | None,
    hostname: str | None,
    proxy: Mapping[str, str] | None,
    cap_add: Iterable[str],
    cap_drop: Iterable[str],
    stdin: Any,
    timeout: float | None,
    security: str = "sandbox",
    devices: Iterable[str] = (),
    options: RunOptions | None = None,
    tty: bool | int = False,
) -> Request:
    """A request with the defaults of the config filled in. Pure. Raises :class:`UsageError`."""
    if options is not None:
        network = network or options.network
        cap_add, cap_drop = (*options.cap_add, *cap_add), (*options.cap_drop, *cap_drop)
        devices = (*options.devices, *devices)
        mounts = (*_volumes(options), *mounts)
    network = network or "default"
    if network not in NETWORKS and not network.startswith("ns:/"):
        hint = f"it can be {', '.join(sorted(NETWORKS))}, or ns:PATH"
        raise UsageError(f"there is no network {network!r}", hint=hint)
    if security not in ("sandbox", "insecure"):
        raise UsageError(f"security can't be {security!r}", hint="it is sandbox or insecure")
    if isinstance(command, str):
        argv = (*(shell or config.shell or DEFAULT_SHELL), command)
    else:
        argv = tuple(str(word) for word in command)
    if not argv or not argv[0]:
        raise UsageError("there is no command to run")
    home = posixpath.join("/", config.working_dir or "/")
    return Request(
        argv,
        merge_env(config.env, env or {}),
        config.user if user is None else user,
        posixpath.normpath(posixpath.join(home, workdir or "")),
        tuple(mounts),
        NETWORKS.get(network, network),
        (hostname if hostname is not None else config.hostname) or "",
        proxy=tuple(f"{name}={value}" for name, value in (proxy or {}).items()),
        cap_add=tuple(cap_add),
        cap_drop=tuple(cap_drop),
        stdin=stdin,
        timeout=timeout,
        security=security,
        devices=tuple(devices),
        options=options,
        tty=tty,
    )


def _volumes(options: RunOptions) -> list[Mount]:
    if not options.volumes:
        return []
    from buildlib.container.mounts import Bind

    return [Bind(source, target, rw=not ro, keep=not ro) for source, target, ro in options.volumes]


def options_of(kept: Mapping[str, Any], given: RunOptions | None) -> RunOptions | None:
    """The options of a run: those that its container keeps, and on top those of the call; None for none at all."""
    if not kept:
        return given
    from buildlib.container.run_options import RunOptions

    options = RunOptions.of(dict(kept))
    return options if given is None else given.over(options)


def merge_env(base: Iterable[str], more: Mapping[str, str]) -> tuple[str, ...]:
    """The variables of ``base`` with those of ``more`` set, and a PATH."""
    merged = {word.partition("=")[0]: word.partition("=")[2] for word in base}
    merged.update({str(name): str(value) for name, value in more.items()})
    merged.setdefault("PATH", DEFAULT_PATH)
    return tuple(f"{name}={value}" for name, value in merged.items())


class Output:
    """Where the output of a command goes."""

    def __init__(self, stdout: Stream, stderr: Stream, capture: bool) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.capture = capture


def run(
    container: WorkingContainer,
    wanted: Request,
    output: Output,
    *,
    check: bool,
    cache: bool | None,
    add_history: bool | None,
    created_by: str | None,
    comment: str | None,
) -> RunResult:
    """Run a command in ``container``; see :meth:`WorkingContainer.run`."""
    started = time.monotonic()
    binds, secret = [], False
    if wanted.mounts:
        from buildlib.container.mounts import Bind, Secret

        wanted = _seen_once(container, wanted)
        binds = [mount for mount in wanted.mounts if isinstance(mount, Bind)]
        secret = any(isinstance(mount, Secret) for mount in wanted.mounts)
    seen: list[tuple[str, ...]] = []
    stdin_known = wanted.stdin is None or isinstance(wanted.stdin, bytes)

    def step() -> Step:
        if not binds:
            return Step("run", wanted.values())
        from buildlib.container.inputs import bind_digests

        digests, names = bind_digests(container, binds)
        seen.append(digests)
        return Step("run", wanted.values(), digests, names)

    def good(result: RunResult) -> bool:
        if not binds or result.exit_code != 0:
            return result.exit_code == 0
        from buildlib.container.inputs import bind_digests

        # What changed while the command ran may have been seen as it was before, or after.
        return bind_digests(container, binds)[0] == seen[-1]

    def attempt() -> RunResult:
        from buildlib.container.execution import execute

        result = execute(container, wanted, output)
        if check and result.exit_code:
            raise _failed(container, wanted, result)
        return result

    call = Call(
        step,
        attempt,
        created_by if created_by is not None else " ".join(wanted.argv),
        comment or "",
        recorded=created_by is not None if add_history is None else add_history,
        # What changes something outside of the container no cache can bring back.
        memoise=cache is not False and stdin_known and wanted.tty is False and not any(bind.keep for bind in binds),
        keeps=(lambda r: (r.stdout, r.stderr, r.output)) if output.capture and not secret else None,
        wants_kept=output.capture,
        good=good,
    )
    outcome = perform(container, call)
    if not outcome.cached:
        result: RunResult = outcome.result
        return result
    stdout, stderr, both = outcome.result or ("", "", "")
    return RunResult(0, stdout, stderr, both, time.monotonic() - started, cached=True)


def _seen_once(container: WorkingContainer, wanted: Request) -> Request:
    """Let what mounts show be found out once, so that what is hashed is what is mounted."""
    from buildlib.container.inputs import view
    from buildlib.container.mounts import Bind, Cache

    mounts = tuple(
        evolve(mount, from_=view(container.store, mount.from_))
        if isinstance(mount, Bind | Cache) and mount.from_ is not None
        else mount
        for mount in wanted.mounts
    )
    return evolve(wanted, mounts=mounts)


def _failed(container: WorkingContainer, wanted: Request, result: RunResult) -> RunError:
    line = wanted.argv[-1] if wanted.argv[:-1] == DEFAULT_SHELL else " ".join(wanted.argv)
    shown = line if len(line) <= 200 else line[:197] + "…"
    hints = {
        126: "the file is not executable, or its interpreter is missing",
        127: "is it installed, and in the PATH?",
        137: "it was killed; was there enough memory?",
    }
    error = RunError(
        f"{shown!r} ended with exit code {result.exit_code}",
        hint=hints.get(result.exit_code),
        argv=list(wanted.argv),
        exit_code=result.exit_code,
        output=result.output,
    )
    error.container = container
    return error


def timed_out(container: WorkingContainer, wanted: Request, output: str) -> RunTimeout:
    """The error for a command whose time was over."""
    error = RunTimeout(
        f"{wanted.argv[-1][:200]!r} took longer than {wanted.timeout:g} s and was killed",
        hint="give it more time, or find out what it waits for",
        argv=list(wanted.argv),
        exit_code=137,
        output=output,
    )
    error.container = container
    return error
