"""From the steps of a plan to calls on the public API, as data: what a build executes and what a script prints.

A call's arguments are plain values; what exists only while a build goes on, like the container of a stage, is a
:class:`Ref`.
"""

from __future__ import annotations

from bud.contexts import MAIN
from bud.steps import ConfigStep, CopyStep, RunStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple

    from bud.contexts import Contexts
    from bud.request import Request
    from bud.steps import Origin, RunMount, Step, WorkdirStep
else:
    from bud.value import NamedTuple

COMMENT = "buildkit.dockerfile.v0"
"""What BuildKit writes beside each entry of a history."""


class Ref(NamedTuple):
    """Something of the build, by kind and name.

    The container of a "stage" (by number) or of an "image"; of a context its "folder", its "ignore" patterns, or its
    "filtered" container.
    """

    kind: str
    name: Any


class New(NamedTuple):
    """A value of a public class."""

    name: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]


class Call(NamedTuple):
    """A method of a working container and what it is called with."""

    verb: str
    args: tuple[Any, ...]
    options: Mapping[str, Any]


class Compiler:
    """Makes the calls of one build."""

    def __init__(self, request: Request, contexts: Contexts) -> None:
        self.request = request
        self.contexts = contexts

    def calls(self, step: Step) -> list[Call]:
        """The calls of a step, in order; the last one makes its layer, if it makes any."""
        if isinstance(step, ConfigStep):
            return [self._config(step)]
        if isinstance(step, RunStep):
            return [self._run(step)]
        if isinstance(step, CopyStep):
            return [self._copy(step)]
        return self._workdir(step)

    def base(self, name: str) -> Call:
        """What fills the container of a stage that is built on a folder."""
        # BuildKit describes such a layer so.
        said = {"created_by": f"[context {name}] load from client", "comment": "buildkit.exporter.image.v0"}
        return Call("copy", (".",), {"dest": "/", **self._place(name), **said})

    def _config(self, step: ConfigStep) -> Call:
        changes = {name: dict(value) if name in ("env", "labels") else value for name, value in step.changes}
        if any(path.endswith("-") for path in changes.get("volumes") or ()):  # by itself, that would remove one
            changes["volumes"] = {path: {} for path in changes["volumes"]}
        return Call("config", (), {**changes, **self._said(step)})

    def _said(self, step: Step) -> dict[str, str]:
        """What the history is told of a step."""
        if self.request.history == "docker":
            return {"created_by": step.created_by, "comment": COMMENT} if step.created_by is not None else {}
        if isinstance(step, RunStep):
            return {"created_by": step.created_by.removeprefix("RUN ").removesuffix(" # buildkit")}
        return {"created_by": f"/bin/sh -c #(nop) {step.at.keyword} {step.at.args}"} if step.at is not None else {}

    def _workdir(self, step: WorkdirStep) -> list[Call]:
        options = {"owner": step.owner} if step.owner else {}
        made = Call("mkdir", (step.path,), {**options, **self._said(step)})
        return [Call("config", (), {"working_dir": step.path}), made]

    def _run(self, step: RunStep) -> Call:
        options: dict[str, Any] = {}
        if step.env:
            options["env"] = dict(step.env)
        mounts = [self._mount(mount) for mount in step.mounts]
        if step.script is not None:
            path, text = step.script
            mounts.insert(0, New("Content", (path, text.encode("utf-8", "surrogateescape")), {}))
        if mounts:
            options["mounts"] = mounts
        if step.network != "default":
            options["network"] = step.network
        if self.request.stdin:
            options["stdin"] = 0
        if step.security != "sandbox":
            options["security"] = step.security
        if step.devices:
            options["devices"] = list(step.devices)
        command = step.command if isinstance(step.command, str) else list(step.command)
        return Call("run", (command,), {**options, **self._said(step)})

    def _mount(self, wanted: RunMount) -> New:
        """A mount of the plan as one of the API."""
        mount, origin = wanted
        mode = {} if mount.mode is None else {"mode": mount.mode}
        rights = {**mode, **_true(uid=mount.uid, gid=mount.gid)}
        if mount.type == "tmpfs":
            return New("Tmpfs", (mount.target,), _true(size=mount.size))
        if mount.type == "secret":
            source = self.request.secrets.get(mount.id)
            where = {{"file": "source", "env": "variable"}[source.kind]: source.name} if source is not None else {}
            more = _true(target=mount.target, env=mount.env, required=mount.required)
            return New("Secret", (mount.id,), {**more, **where, **rights})
        if mount.type == "ssh":
            agent = self.request.ssh.get(mount.id)
            whose = {} if agent is None else _true(agent=agent.socket, keys=agent.keys)
            return New("Ssh", (mount.id,), {**_true(target=mount.target, required=mount.required), **whose, **rights})
        if mount.type == "cache":
            options = {**_true(ro=mount.readonly), **rights}
            if mount.sharing != "shared":
                options["sharing"] = mount.sharing
            if origin.kind != "scratch":
                options.update(from_=self._files(origin), source=mount.source)
            return New("Cache", (mount.target, mount.id), options)
        options = _true(rw=not mount.readonly)
        name = self._folder(origin)
        if name is None:
            options["from_"] = self._files(origin)
        elif self.contexts.ignore(name):
            options["from_"] = Ref("filtered", name)  # what is ignored is not in it
        else:
            options["context"] = Ref("folder", name)
        return New("Bind", (mount.source, mount.target), options)

    def _copy(self, step: CopyStep) -> Call:
        options: dict[str, Any] = {"dest": step.dest}
        name = self._folder(step.origin)
        if name is not None:
            options.update(self._place(name))
        else:
            options["from_"] = self._files(step.origin)
        options.update(_true(chown=step.chown, chmod=step.chmod, link=step.link, parents=step.parents))
        options.update(_true(exclude=list(step.exclude), contents=dict(step.contents), checksum=step.checksum))
        if step.keep_git_dir is not None:
            options["keep_git_dir"] = step.keep_git_dir
        if step.unpack is not None:
            options["unpack"] = step.unpack
        options["empty_wildcard"] = True
        return Call("add" if step.is_add else "copy", step.sources, {**options, **self._said(step)})

    def _place(self, name: str) -> dict[str, Any]:
        ignored = {"ignore": Ref("ignore", name)} if self.contexts.ignore(name) else {}
        return {"context": Ref("folder", name), **ignored}

    def _folder(self, origin: Origin) -> str | None:
        """The name of a context that is a folder."""
        if origin.kind == "context":
            return MAIN
        if origin.kind == "named" and self.contexts.place(origin.name).kind != "image":
            return origin.name
        return None

    def _files(self, origin: Origin) -> Any:
        """What ``from_`` of the API takes."""
        name = self._folder(origin)
        if name is not None:
            return Ref("filtered", name)
        if origin.kind == "stage":
            return Ref("stage", origin.stage)
        return Ref("image", self.contexts.place(origin.name).where if origin.kind == "named" else origin.name)


def _true(**options: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in options.items() if value}
