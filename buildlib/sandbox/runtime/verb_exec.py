"""``exec``: one more process in a container that runs."""

from __future__ import annotations

import os

from buildlib.errors import SandboxError, UsageError
from buildlib.linux import namespaces, process
from buildlib.linux.suppress import suppress
from buildlib.oci import document
from buildlib.oci.runtime import Capabilities, Linux, Namespace, Process, RuntimeSpec, User
from buildlib.oci.value import evolve
from buildlib.sandbox.runtime import bundle as bundles
from buildlib.sandbox.runtime import container, first, foreground, lifecycle, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from buildlib.sandbox.op import Op
    from buildlib.sandbox.runtime.place import Place, Record

FLAGS = {
    "process": "text", "p": "=process",
    "cwd": "text",
    "env": "list", "e": "=env",
    "user": "text", "u": "=user",
    "additional-gids": "list", "g": "=additional-gids",
    "tty": "switch", "t": "=tty",
    "cap": "list", "c": "=cap",
    "no-new-privs": "switch",
    "process-label": "text",
    "apparmor": "text",
    "detach": "switch", "d": "=detach",
    "pid-file": "text",
    "console-socket": "text",
    "preserve-fds": "number",
    "cgroup": "list",
    "ignore-paused": "switch",
    "no-subreaper": "switch",
}  # fmt: skip
ACCEPTS = "[flags] ID COMMAND [ARGUMENT...] | -p process.json ID"


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> int:
    """The exit code of the process; 0 at once where it is detached. Raises :class:`SandboxError`."""
    if not positionals:
        raise UsageError("'exec' takes the id of a container and a command")
    record = place.read(positionals[0])
    now = lifecycle.status(record)
    if now in (lifecycle.STOPPED, lifecycle.CREATING):
        raise SandboxError(f"cannot exec in a {now} container")
    if now == lifecycle.PAUSED and not given.get("ignore-paused"):
        raise SandboxError("cannot exec in a paused container (use --ignore-paused to override)")
    with open(place.path(record.id, "config.json"), "rb") as file:
        spec = bundles.parse(file.read())
    wanted = _process(spec.process or Process(), given, positionals[1:])
    detach = bool(given.get("detach"))
    front = foreground.open_front(wanted, given.get("console-socket"), detach=detach)
    given = {**given, "preserve-fds": given.get("preserve-fds", 0)}
    joining = _Joining(
        record, evolve(spec, process=wanted), container.wanted(given, console=front.socket, size=front.size)
    )
    pid = joining.start()
    return 0 if detach else front.wait(pid)


def _process(base: Process, given: dict[str, Any], words: Sequence[str]) -> Process:
    """The process of ``--process``, or that of the container changed by flags. Raises :class:`UsageError`."""
    if given.get("process"):
        with open(given["process"], "rb") as file:
            return document.read(Process, document.load(file.read(), "process"), "process")
    if not words:
        raise UsageError("exec: there is no command; a process is not specified")
    changes: dict[str, Any] = {"args": tuple(words), "terminal": bool(given.get("tty"))}
    changes["env"] = (*base.env, *given.get("env", ()))
    if given.get("cwd"):
        changes["cwd"] = given["cwd"]
    if given.get("no-new-privs"):
        changes["no_new_privileges"] = True
    if given.get("cap"):
        changes["capabilities"] = _more(base.capabilities or Capabilities(), given["cap"])
    changes["user"] = _user(base.user, given)
    labels = {name: given[flag] for flag, name in _LABELS.items() if given.get(flag)}
    return document.read(Process, {**document.write(evolve(base, **changes)), **labels}, "process")


_LABELS = {"apparmor": "apparmorProfile", "process-label": "selinuxLabel"}


def _more(base: Capabilities, names: Sequence[str]) -> Capabilities:
    sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
    more: dict[str, Any] = {name: tuple(dict.fromkeys((*getattr(base, name), *names))) for name in sets}
    return evolve(base, **more)


def _user(base: User, given: dict[str, Any]) -> User:
    user = base
    try:
        if given.get("user"):
            uid, colon, gid = given["user"].partition(":")
            user = evolve(user, uid=int(uid), gid=int(gid) if colon else user.gid)
        if given.get("additional-gids"):
            user = evolve(user, additional_gids=tuple(int(gid) for gid in given["additional-gids"]))
    except ValueError:
        raise UsageError("--user and --additional-gids take numbers: UID[:GID]") from None
    return user


class _Joining:
    """One process on its way into a container."""

    def __init__(self, record: Record, spec: RuntimeSpec, want: container.Wanted) -> None:
        self.record = record
        self.spec = spec
        self.want = want
        self.process = spec.process or Process()
        self.inside = _inside(spec, record.pid)
        self.pidfd = os.pidfd_open(record.pid)
        if lifecycle.status(record) == lifecycle.STOPPED:  # the number may be somebody else's by now
            raise SandboxError("cannot exec in a stopped container")

    def start(self) -> int:
        """Start it and return its pid. Raises the error that it ends with before it is its command."""
        peer, inner, inner_fds = talk.pair()
        container.check_console(self.process, self.want)
        types = self._types()
        pid = self._fork(inner, types)
        for fd in inner_fds:
            os.close(fd)
        try:
            self._follow(pid, peer)
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise
        if self.want.pid_file:
            container.write_pid_file(self.want.pid_file, pid)
        return pid

    def _ops(self, inner: talk.Talk, types: int) -> Iterator[Op]:
        from buildlib.sandbox.plan import plan
        from buildlib.sandbox.runtime import steps

        console = container.console(self.process, self.inside.linux or Linux(), self.want)
        ops = plan(self.inside, "/", about={"id": self.record.id})
        return steps.join(ops, self.pidfd, types, steps.Extras(inner, console=console))

    def _fork(self, inner: talk.Talk, types: int) -> int:
        process.prctl(process.PR_SET_DUMPABLE, 0)
        if first.early_user(self.spec.linux or Linux()):
            namespaces.setns(self.pidfd, namespaces.NEWUSER)
        if self._has_own("pid"):
            namespaces.setns(self.pidfd, namespaces.NEWPID)
        pid = os.fork()
        if pid == 0:
            first.live(lambda: self._ops(inner, types), inner, self.want.preserve)
        return pid

    def _follow(self, pid: int, peer: talk.Peer) -> None:
        for message in peer.messages():
            if "error" in message:
                raise container.from_message(message)
            if self.record.cgroup:
                lifecycle.cgroup(self.record).add(pid)
            container.adjust_oom_score(pid, self.process)
            peer.answer({})

    def _types(self) -> int:
        """The namespaces to enter. That of users comes by itself, when the process takes its identity."""
        names = ("mount", "cgroup", "uts", "ipc", "network", "time")
        return sum(namespaces.FLAGS[name] for name in names if name == "mount" or self._has_own(name))

    def _has_own(self, name: str) -> bool:
        file = {"mount": "mnt", "network": "net"}.get(name, name)
        try:
            return os.readlink(f"/proc/{self.record.pid}/ns/{file}") != os.readlink(f"/proc/self/ns/{file}")
        except FileNotFoundError:
            return False


def _inside(spec: RuntimeSpec, pid: int) -> RuntimeSpec:
    """A spec whose plan, behind the pivot, is what the process is to do once it is in the container."""
    linux = spec.linux or Linux()
    user = tuple(Namespace("user", f"/proc/{pid}/ns/user") for n in linux.namespaces if n.type == "user")
    kept = evolve(
        linux, namespaces=user, devices=(), sysctl={}, masked_paths=(), readonly_paths=(), rootfs_propagation=""
    )
    return bundles.for_plan(evolve(spec, mounts=(), hostname="", domainname="", linux=kept, root=None))
