"""Making a container: everything up to the moment at which its first process waits for the word to begin.

What fails is undone: no process, no control group and no directory is left then.
"""

from __future__ import annotations

import os
import time

from buildlib.errors import SandboxError, UsageError, from_dict
from buildlib.linux import process
from buildlib.linux.suppress import suppress
from buildlib.oci.json_text import dumps
from buildlib.oci.runtime import Linux, Process
from buildlib.oci.value import evolve, frozen
from buildlib.sandbox.runtime import bundle as bundles
from buildlib.sandbox.runtime import first, hooks, lifecycle, talk
from buildlib.sandbox.runtime.place import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NoReturn

    from buildlib.oci.runtime import RuntimeSpec
    from buildlib.sandbox.op import Op
    from buildlib.sandbox.ops.console import Console
    from buildlib.sandbox.runtime.place import Lock, Place


@frozen
class Wanted:
    """What the command line says beside the bundle."""

    console: int | None = None
    """A socket that takes the master of the terminal."""
    size: tuple[int, int] = (0, 0)
    """(rows, columns) of the terminal, where the spec does not say."""
    preserve: int = 0
    """How many descriptors from 3 on go to the process."""
    pivot: bool = True
    pid_file: str | None = None
    fifo: bool = True
    """Whether ``start`` shall be waited for, by another process than this one."""


FLAGS = {
    "bundle": "text",
    "b": "=bundle",
    "console-socket": "text",
    "pid-file": "text",
    "no-pivot": "switch",
    "no-new-keyring": "switch",
    "no-subreaper": "switch",
    "preserve-fds": "number",
}
"""Those that ``create`` and ``run`` share."""


def wanted(
    given: Mapping[str, Any], *, console: int | None = None, size: tuple[int, int] = (0, 0), fifo: bool = True
) -> Wanted:
    """What the flags say. Raises :class:`UsageError` for descriptors that are not there."""
    preserve = given.get("preserve-fds", 0)
    for number in range(3, 3 + preserve):
        try:
            os.fstat(number)
        except OSError:
            raise UsageError(f"--preserve-fds {preserve}: descriptor {number} is not open") from None
    return Wanted(console, size, preserve, not given.get("no-pivot"), given.get("pid-file"), fifo)


class Born:
    """A container whose first process waits, and the way to tell it to begin."""

    def __init__(self, record: Record, spec: RuntimeSpec, peer: talk.Peer, said: Any, go: int | None) -> None:
        self.record = record
        self.spec = spec
        self._said = said
        self._peer = peer
        self._go = go

    def begin(self) -> None:
        """Let it run its process, if nobody else shall; returns when it does. Raises its error if it can't."""
        assert self._go is not None
        os.write(self._go, b"0")
        os.close(self._go)
        for message in self._said:
            raise from_message(message)


def create(place: Place, container: str, bundle: str, spec: RuntimeSpec, raw: bytes, want: Wanted) -> Born:
    """Make a container of a bundle. Raises :class:`BuildlibError`, and nothing is left then.

    The process that calls it must have one thread.
    """
    bundle = os.path.abspath(bundle)
    rootfs = bundles.root_path(bundle, spec)
    owner = _owner(os.geteuid())
    record = Record(container, bundle, rootfs, _now(), owner=owner, annotations=spec.annotations)
    with place.make(container) as lock:
        birth = _Birth(place, record, spec, want, lock)
        try:
            place.put(container, "config.json", raw)
            return birth.give()
        except BaseException:
            birth.undo()
            raise


class _Birth:
    """One creation, and what has to be undone if it fails."""

    def __init__(self, place: Place, record: Record, spec: RuntimeSpec, want: Wanted, lock: Lock) -> None:
        self.place = place
        self.lock = lock
        self.record = record
        self.spec = spec
        self.inside = bundles.for_plan(spec)
        """What of it the plan is made of; found out here, since in there even a user without rights is root."""
        self.want = want
        self.hooks = hooks.check(spec.hooks)
        self.process = spec.process or Process()
        self.pid = 0

    def give(self) -> Born:
        """Fork, do our part at each point of the way, and come back when the new process waits for its start."""
        peer, inner, inner_fds = talk.pair()
        start, go = self._starter()
        check_console(self.process, self.want)
        self.pid = first.fork(self.spec.linux or Linux(), lambda: self._live(inner, start, go))
        for fd in (*inner_fds, start):
            os.close(fd)
        self._limit()
        said = peer.messages()
        points: dict[str, Callable[[], None]] = {"limited": self._adjust, "mounted": self._run_hooks}
        for message in said:
            if "error" in message:
                raise from_message(message)
            if message["at"] == "ready":
                return self._ready(peer, said, go)
            points[message["at"]]()
            peer.answer(lifecycle.document(self.record, lifecycle.CREATING))
        raise SandboxError("the process of the container ended early")

    def _live(self, inner: talk.Talk, start: int, go: int | None) -> NoReturn:
        os.close(self.lock.fd)  # a copy of it would hold the lock until the exec
        if go is not None:
            os.close(go)
        first.live(lambda: self._ops(inner, start), inner, self.want.preserve)

    def _ops(self, inner: talk.Talk, start: int) -> Iterator[Op]:
        # Here, in the new process: what they import is imported while the runtime makes the control group.
        from buildlib.sandbox.plan import plan
        from buildlib.sandbox.runtime import steps

        about = {"id": self.record.id, "bundle": self.record.bundle}
        extras = steps.Extras(
            inner,
            tuple(self.hooks.get("createContainer", ())),
            tuple(self.hooks.get("startContainer", ())),
            console(self.process, self.inside.linux or Linux(), self.want),
            start,
            self.want.pivot,
        )
        return steps.arrange(plan(self.inside, self.record.rootfs, about=about), extras)

    def _starter(self) -> tuple[int, int | None]:
        """What the process waits on, and what we write to, where it is us who start it."""
        if not self.want.fifo:
            return os.pipe2(os.O_CLOEXEC)
        path = self.place.path(self.record.id, "exec.fifo")
        os.mkfifo(path, 0o600)
        # Open for both: so it waits for a byte and not for a writer; only its end shows to who wants to write.
        return os.open(path, os.O_RDWR | os.O_CLOEXEC), None

    def _limit(self) -> None:
        """Make the control group, while the new process makes its mounts: moving a process may take the kernel long."""
        from buildlib.sandbox.runtime import groups

        group, made = groups.make(self.record.id, self.spec.linux or Linux(), systemd=self.place.systemd)
        self.record = evolve(self.record, cgroup=group.paths if group else {}, cgroup_made=made)
        if group is not None:
            group.add(self.pid)
        self._note(pid=self.pid, start_time=process.start_time(self.pid) or 0)

    def _adjust(self) -> None:
        adjust_oom_score(self.pid, self.process)

    def _run_hooks(self) -> None:
        state = _encode(lifecycle.document(self.record, lifecycle.CREATING))
        for point in ("prestart", "createRuntime"):
            hooks.run(point, self.hooks.get(point, ()), state)

    def _ready(self, peer: talk.Peer, said: Any, go: int | None) -> Born:
        self._note(status=lifecycle.CREATED)
        if self.want.pid_file:
            write_pid_file(self.want.pid_file, self.pid)
        return Born(self.record, self.spec, peer, said, go)

    def _note(self, **changes: Any) -> None:
        self.record = self.place.change(self.record, **changes)

    def undo(self) -> None:
        """Kill what was forked, and remove what was made."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, 9)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        if self.record.cgroup_made:
            with suppress(SandboxError):
                group = lifecycle.cgroup(self.record)
                group.kill()
                group.remove()
        self.place.remove(self.record.id)


def check_console(spec: Process, want: Wanted) -> None:
    """Raises :class:`UsageError` for a terminal that goes nowhere."""
    if spec.terminal and want.console is None:
        raise UsageError("cannot allocate a terminal without a console socket")


def console(spec: Process, linux: Linux, want: Wanted) -> Console | None:
    """The op that gives the process its terminal, if it is to have one."""
    if not spec.terminal or want.console is None:
        return None
    from buildlib.sandbox.identity import outside
    from buildlib.sandbox.ops.console import Console

    size = spec.extra.get("consoleSize") or {}
    uid = outside(spec.user.uid, linux.uid_mappings)
    rows, columns = want.size
    return Console(want.console, uid, int(size.get("height") or rows), int(size.get("width") or columns))


def adjust_oom_score(pid: int, spec: Process) -> None:
    """Set ``process.oomScoreAdj``, from outside. Raises :class:`SandboxError`."""
    if spec.oom_score_adj is None:
        return
    try:
        with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
            if int(file.read()) == spec.oom_score_adj:
                return
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(spec.oom_score_adj))
    except OSError as error:
        raise SandboxError(f"process.oomScoreAdj {spec.oom_score_adj}: {error.strerror}", errno=error.errno) from error


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid, which appears under this name as a whole."""
    half = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
    try:
        with open(half, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(half, path)
    except OSError as error:
        raise SandboxError(f"--pid-file {path}: {error.strerror}", errno=error.errno) from error


def from_message(message: dict[str, Any]) -> Exception:
    """The error that the new process has told."""
    data = message["error"]
    return from_dict({**data, "message": f"unable to start container process: {data['message']}"})


def _encode(document: dict[str, Any]) -> bytes:
    return dumps(document).encode()


def _now() -> str:
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"


def _owner(uid: int) -> str:
    if uid == 0:
        return "root"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
