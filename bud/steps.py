"""The plan of a build as data: stages, and for each the steps that the public API will be asked for.

Everything is expanded; nothing in here refers to a variable. ``describe`` gives the text that people and golden tests
read.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NamedTuple

    from bud.instructions import From
    from bud.mounts import Mount
    from bud.parser import Statement
else:
    from bud.value import NamedTuple


class BaseConfig(NamedTuple):
    """What planning needs to know of a base image's config."""

    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False


class Origin(NamedTuple):
    """Where files come from."""

    kind: str
    """"context", "stage", "image", "named" (an additional build context) or "scratch" (nowhere)."""
    name: str = ""
    stage: int = -1

    def __str__(self) -> str:
        return f"stage {self.stage} ({self.name})" if self.kind == "stage" else f"{self.kind} {self.name}".strip()


class ConfigStep(NamedTuple):
    """Fields of the config change. The values of ``env`` and ``labels`` are added, all others replace."""

    at: Statement | None
    changes: tuple[tuple[str, Any], ...]
    created_by: str | None
    """The text for the history; None: no entry."""


class WorkdirStep(NamedTuple):
    """A directory is made and becomes the working directory; always a layer of its own."""

    at: Statement
    path: str
    owner: str
    created_by: str
    title: str


class RunStep(NamedTuple):
    """A command runs."""

    at: Statement
    command: str | tuple[str, ...]
    """A text for the shell, or an argument vector."""
    shell: tuple[str, ...]
    """The shell, for a text."""
    env: tuple[tuple[str, str], ...]
    """What the environment holds beyond the config's: the ARGs in scope."""
    mounts: tuple[RunMount, ...]
    network: str
    security: str
    devices: tuple[str, ...]
    script: tuple[str, str] | None
    """A file for this run only, read-only and executable: its path and its content."""
    created_by: str
    title: str

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole argument vector."""
        return (*self.shell, self.command) if isinstance(self.command, str) else self.command


class RunMount(NamedTuple):
    """A mount of a RUN and where it comes from."""

    mount: Mount
    origin: Origin


class CopyStep(NamedTuple):
    """Files are copied or added."""

    at: Statement
    is_add: bool
    sources: tuple[str, ...]
    contents: tuple[tuple[str, str], ...]
    """(name, text) of files whose content stands in the Dockerfile."""
    dest: str
    """Absolute; a "/" or "/." at its end says that it is a directory."""
    origin: Origin
    chown: str
    chmod: str
    link: bool
    parents: bool
    exclude: tuple[str, ...]
    checksum: str
    keep_git_dir: bool | None
    unpack: bool | None
    created_by: str
    title: str


LayerStep = WorkdirStep | RunStep | CopyStep
"""A step that makes a layer."""

Step = ConfigStep | LayerStep


class StagePlan(NamedTuple):
    """One stage to build."""

    number: int
    label: str
    start: From
    base: Origin
    platform: str
    """What FROM asks for; "" for the build's own."""
    steps: tuple[Step, ...]
    needs: tuple[int, ...]
    """The stages that must be built before."""

    @property
    def layer_steps(self) -> int:
        """How many steps make a layer."""
        return sum(not isinstance(step, ConfigStep) for step in self.steps)


class Plan(NamedTuple):
    """A build: its stages in an order in which each comes after what it needs."""

    stages: tuple[StagePlan, ...]
    target: int
    warnings: tuple[str, ...]

    def stage(self, number: int) -> StagePlan:
        """The stage of that number."""
        return next(stage for stage in self.stages if stage.number == number)

    def describe(self) -> str:
        """The plan as text: one line a stage and a step, details indented below it."""
        lines: list[str] = [f"warning: {warning}" for warning in self.warnings]
        for stage in self.stages:
            platform = f" for {stage.platform}" if stage.platform else ""
            mark = " (target)" if stage.number == self.target else ""
            lines.append(f"stage {stage.number} {stage.label} from {stage.base}{platform}{mark}")
            for step in stage.steps:
                lines.extend("  " + line for line in _describe(step))
        return "\n".join(lines) + "\n"


def _describe(step: Step) -> Iterator[str]:
    line = step.at.line.line if step.at is not None else "-"
    if isinstance(step, ConfigStep):
        yield f"{line} config {' '.join(f'{name}={_text(value)}' for name, value in step.changes)}".rstrip()
    elif isinstance(step, WorkdirStep):
        yield f"{line} mkdir {_text(step.path)} owner={step.owner or 'root'}"
    elif isinstance(step, RunStep):
        yield f"{line} run {_text(step.argv)}"
        yield from _details(step, ("env", "network", "security", "devices", "script"))
        for mount, origin in step.mounts:
            fields = {name: value for name, value in mount._asdict().items() if value not in ("", None, False)}
            shown = " ".join(f"{name.rstrip('_')}={_text(value)}" for name, value in fields.items())
            yield f"    mount {shown} [{origin}]"
    else:
        verb = "add" if step.is_add else "copy"
        yield f"{line} {verb} {_text(step.sources)} → {_text(step.dest)} [{step.origin}]"
        names = ("chown", "chmod", "link", "parents", "exclude", "checksum", "keep_git_dir", "unpack")
        yield from _details(step, names)
        for name, text in step.contents:
            yield f"    content {_text(name)} {_text(text)}"
    yield "    no history" if step.created_by is None else f"    history {_text(step.created_by)}"


def _details(step: Step, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        value = getattr(step, name)
        if value not in ("", (), None, False, "default", "sandbox"):
            yield f"    {name} {_text(value)}"


def _text(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
