"""From the process of a runtime spec to the ops behind the pivot: limits, labels, ids, filter, command. Pure."""

from __future__ import annotations

from buildlib.errors import SandboxError
from buildlib.linux.scheduling import IO_CLASSES, POLICIES, POLICY_FLAGS
from buildlib.oci.runtime import Capabilities, IDMapping, Linux, Process
from buildlib.sandbox.ops import command, hiding, labels, namespaces, process, scheduling
from buildlib.sandbox.ops.seccomp import Messenger, Seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from buildlib.oci.runtime import RuntimeSpec
    from buildlib.sandbox.op import Op
    from buildlib.sandbox.seccomp import Filter

PERSONAS = {"LINUX": 0, "LINUX32": 8}


def identity(
    spec: RuntimeSpec, pivot: Sequence[Op], *, read_only: bool, own_init: bool, about: Mapping[str, Any]
) -> Iterator[Op]:
    """The ops, with ``pivot`` at its place among them. Raises :class:`SandboxError`."""
    linux, wanted = spec.linux or Linux(), spec.process or Process()
    user = wanted.user
    late_user = any(n.type == "user" for n in linux.namespaces)
    modules = list(_modules(wanted, linux))
    yield from (labels.DemandModule(module, field) for module, _, field in modules)
    filter_ = _filter(spec)
    if filter_ and filter_.listener_path:
        yield Messenger(filter_.listener_path, _state(spec, filter_, about))
    yield from pivot
    yield process.FreshKeyring()
    if wanted.oom_score_adj is not None:
        yield process.OomScore(wanted.oom_score_adj)
    yield from _scheduling(wanted, linux)
    for limit in wanted.rlimits:
        yield process.Limit(limit.type, limit.soft, limit.hard)
    # Owners are given by their ids out here.
    uid, gid = (outside(n, m) for n, m in ((user.uid, linux.uid_mappings), (user.gid, linux.gid_mappings)))
    yield process.WorkDir(wanted.cwd, uid, gid)
    if read_only:
        yield hiding.ReadOnlyRoot("/")
    yield process.Umask(0o022 if user.umask is None else user.umask)
    if uid != 0:
        yield process.OwnOutput(uid)
    yield command.Vet(wanted.args, wanted.env)
    yield from (labels.Label(module, label, field) for module, label, field in modules if field != "linux.mountLabel")
    if late_user:
        yield namespaces.EnterUser()
    limiting = [Seccomp(filter_.program, filter_.flags, bool(filter_.listener_path))] if filter_ else []
    # A filter needs CAP_SYS_ADMIN or no_new_privs: so it comes before the one is given up, or after the other is set.
    if not wanted.no_new_privileges:
        yield from limiting
    yield from _credentials(wanted)
    if wanted.no_new_privileges:
        yield from limiting
    yield (command.Supervise if own_init else command.Execute)(wanted.args, wanted.env)


def _filter(spec: RuntimeSpec) -> Filter | None:
    given = spec.linux.seccomp if spec.linux else None
    if not given:
        return None
    from buildlib.sandbox import seccomp

    sets = spec.process.capabilities if spec.process else None
    return seccomp.make(given, sets.bounding if sets else ())


def _state(spec: RuntimeSpec, filter_: Filter, about: Mapping[str, Any]) -> str:
    """What the listener is told (runtime.md, "The seccomp listener"); pids are filled in when they are known."""
    import json

    state = {"ociVersion": spec.oci_version, "id": "", "status": "creating", "pid": 0, "bundle": "", **about}
    message = {"ociVersion": spec.oci_version, "fds": ["seccompFd"], "pid": 0, "state": state}
    return json.dumps({**message, **({"metadata": filter_.listener_metadata} if filter_.listener_metadata else {})})


def _credentials(wanted: Process) -> Iterator[Op]:
    user, sets = wanted.user, wanted.capabilities or Capabilities()
    yield process.Identity(
        user.uid,
        user.gid,
        user.additional_gids,
        bounding=sets.bounding,
        effective=sets.effective,
        permitted=sets.permitted,
        inheritable=sets.inheritable,
        ambient=sets.ambient,
    )
    yield process.DieWithParent()
    if wanted.no_new_privileges:
        yield process.NoNewPrivileges()


def outside(number: int, mappings: Sequence[IDMapping]) -> int:
    """What an id of the user namespace is out here."""
    for mapping in mappings:
        if mapping.container_id <= number < mapping.container_id + mapping.size:
            return mapping.host_id + number - mapping.container_id
    return number


def _modules(wanted: Process, linux: Linux) -> Iterator[tuple[str, str, str]]:
    profile = wanted.apparmor_profile or wanted.extra.get("apparmorProfile") or ""
    if profile and (profile != "unconfined" or labels.has(labels.APPARMOR)):
        yield labels.APPARMOR, profile, "process.apparmorProfile"
    if wanted.selinux_label:
        yield labels.SELINUX, wanted.selinux_label, "process.selinuxLabel"
    if linux.mount_label:
        yield labels.SELINUX, linux.mount_label, "linux.mountLabel"


def _scheduling(wanted: Process, linux: Linux) -> Iterator[Op]:
    if wanted.scheduler:
        yield _scheduler(wanted.scheduler)
    if wanted.io_priority:
        kind = _word(IO_CLASSES, wanted.io_priority.get("class"), "process.ioPriority.class")
        yield scheduling.IoPriority(kind, int(wanted.io_priority.get("priority") or 0))
    if linux.personality:
        if linux.personality.get("flags"):
            raise SandboxError("linux.personality.flags: the spec knows none")
        yield scheduling.Personality(_word(PERSONAS, linux.personality.get("domain"), "linux.personality.domain"))
    final = (wanted.exec_cpu_affinity or {}).get("final")
    if final:
        yield scheduling.Affinity(_processors(final))


def _scheduler(given: Mapping[str, Any]) -> Op:
    flags = 0
    for word in given.get("flags") or ():
        flags |= _word(POLICY_FLAGS, word, "process.scheduler.flags")
    policy = _word(POLICIES, given.get("policy"), "process.scheduler.policy")
    rest = ("nice", "priority", "runtime", "deadline", "period")
    return scheduling.Schedule(policy, flags, **{name: int(given.get(name) or 0) for name in rest})


def _word(table: Mapping[str, int], word: object, field: str) -> int:
    found = table.get(str(word))
    if found is None:
        raise SandboxError(f"{field}: there is no {word!r}")
    return found


def _processors(text: str) -> tuple[int, ...]:
    """``0-2,7`` in full."""
    found: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.strip().partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError:
        raise SandboxError(f"process.execCPUAffinity.final: {text!r} is no list of processors") from None
    return tuple(found)
