"""Looks for what is allowed in a Dockerfile and rarely wanted: applies the rules of :mod:`bud.rules`.

It never builds and never fetches: what is not known about a base image makes the rules that need it silent.
"""

from __future__ import annotations

from bud.errors import DockerfileError, visible
from bud.instructions import Arg, Copy, Env, Expose, Label, Run, StopSignal, User, Volume, Workdir
from bud.scope import DEFAULT_PATH, Scope
from bud.words import WordError, expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, NamedTuple

    from bud.instructions import Instruction
    from bud.lines import LogicalLine
    from bud.rules import Rule
    from bud.stages import Dockerfile, Stage
    from bud.words import Expansion
    from buildlib import IgnorePatterns
else:
    from bud.value import NamedTuple

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
CHECK_ARG = "BUILDKIT_DOCKERFILE_CHECK"
"""A build argument that replaces the file's ``check`` directive."""


class Base(NamedTuple):
    """What the rules ask of a base image."""

    env: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    platform: str = ""
    """os/architecture[/variant]; "" when nobody knows."""


class Checks(NamedTuple):
    """Which rules apply, as a ``check`` directive says it."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    error: bool = False
    """Findings end a build."""
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False

    def wants(self, rule: Rule) -> bool:
        """Whether ``rule`` is to be applied."""
        if rule.experimental and not self.experimental_all and rule.name not in self.experimental:
            return False
        return not self.skip_all and rule.name not in self.skip


class Finding(NamedTuple):
    """One thing that a rule found."""

    rule: Rule
    message: str
    line: int
    end_line: int
    text: tuple[str, ...]
    """The physical lines from ``line`` to ``end_line``."""
    file: str

    def short(self) -> str:
        """One line, as docker shows it at the end of a build."""
        return visible(f"{self.rule.name}: {self.message} (line {self.line})")

    def excerpt(self) -> str:
        """The lines with their numbers; of a long instruction the first and the last few."""
        numbered = [f"{number:>5} | {visible(text[:160])}" for number, text in enumerate(self.text, self.line)]
        if len(numbered) > 8:
            numbered[4:-2] = [f"{'…':>5} |"]
        return "\n".join(numbered)


class Target(NamedTuple):
    """What is checked, and all that is known around it."""

    dockerfile: Dockerfile
    arguments: Mapping[str, str]
    """The ARGs of every Dockerfile (TARGETPLATFORM …)."""
    build_args: Mapping[str, str] = {}
    ignore: IgnorePatterns | None = None
    base_of: Callable[[str, str], Base | None] = lambda name, platform: None
    """What is known of an image, by name and platform ("": that of the target)."""


class Expanded(NamedTuple):
    """An instruction and what became of the texts in it that docker expands."""

    instruction: Instruction
    texts: tuple[Expansion, ...]
    declared: frozenset[str]
    """ARGs in scope, with or without a value."""
    known: tuple[str, ...]
    """The names that have a value."""


class StageView(NamedTuple):
    """A stage as the rules see it."""

    stage: Stage
    base: Expansion
    """The image of FROM, expanded."""
    platform: Expansion
    parent: int | None
    """The stage that it is built on."""
    image: Base | None
    """What is known of its base; for a stage on a stage, of that one's base."""
    steps: tuple[Expanded, ...]


def check(target: Target, checks: Checks | None = None) -> tuple[Finding, ...]:
    """All findings, by line. Raises :class:`DockerfileError` when the ``check`` directive can't be read."""
    from bud.rules import RULES, View

    source = target.dockerfile.source
    checks = checks if checks is not None else checks_of(target)
    view = View(target, *_global_scope(target), ())
    view = view._replace(stages=tuple(_stages(view)))
    found = []
    for rule in RULES:
        if not checks.wants(rule):
            continue
        for line, message, at in rule.check(view):
            if not _skipped(line, rule):
                first, last = (at, at) if at else (line.line, line.end_line)
                text = tuple(text.rstrip("\r") for text in source.physical[first - 1 : last])
                found.append(Finding(rule, message, first, last, text, source.name))
    return tuple(sorted(found, key=lambda finding: finding.line))


# --- which rules ------------------------------------------------------------------------------------------------------


def checks_of(target: Target) -> Checks:
    """The options of a build: of the build argument, else of the file's directive."""
    source = target.dockerfile.source
    text = target.build_args.get(CHECK_ARG, source.directives.get("check", ""))
    try:
        return read_checks(text)
    except ValueError as error:
        raise DockerfileError(f"{source.name}: {error}", hint="write # check=skip=Rule,Rule;error=true") from None


def read_checks(text: str) -> Checks:
    """Read ``skip=A,B;error=true;experimental=C``. Raises :class:`ValueError`."""
    values: dict[str, Any] = {}
    for part in text.split(";") if text.strip() else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or key not in ("skip", "error", "experimental"):
            raise ValueError(f"invalid check option {part.strip()[:60]!r}")
        if key == "error":
            if value not in _TRUE + _FALSE:
                raise ValueError(f"the check option error can't be {value[:60]!r}")
            values["error"] = value in _TRUE
        elif value == "all":
            values[f"{key}_all"] = True
        else:
            values[key] = frozenset(word.strip() for word in value.split(","))
    return Checks(**values)


def _skipped(line: LogicalLine, rule: Rule) -> bool:
    """Whether a ``# check=skip=…`` directly above the instruction says so. What else it says has no effect."""
    for comment in line.comments:
        name, _, value = comment.partition("=")
        if name.strip().lower() == "check":
            try:
                checks = read_checks(value)
            except ValueError:
                continue
            if checks.skip_all or rule.name in checks.skip:
                return True
    return False


# --- what the rules see -----------------------------------------------------------------------------------------------


def _expand(text: str, variables: Mapping[str, str], escape: str) -> Expansion | None:
    try:
        return expand(text, variables, escape=escape)
    except WordError:
        # The plan will say so, with its place.
        return None


def _global_scope(target: Target) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """The values of the ARGs before the first FROM, the same by defaults alone, and the names of all of them."""
    escape = target.dockerfile.source.escape
    values, defaults, names = dict(target.arguments), dict(target.arguments), set(target.arguments)
    for arg in target.dockerfile.args:
        for name, default in arg.pairs:
            names.add(name)
            for scope, given in ((values, target.build_args.get(name)), (defaults, None)):
                expansion = None if default is None else _expand(default, scope, escape)
                value = given if given is not None else expansion.text if expansion is not None else None
                if value is not None:
                    scope[name] = value
    return values, defaults, frozenset(names)


def _stages(view: Any) -> Iterator[StageView]:
    from bud.stages import base_stage

    target: Target = view.target
    stages = target.dockerfile.stages
    nothing = expand("", {})
    scopes: list[Scope] = []
    images: list[Base | None] = []
    for stage in stages:
        escape = target.dockerfile.source.escape
        base = _expand(stage.start.base, view.values, escape) or nothing
        platform = _expand(stage.start.platform, view.values, escape) or nothing
        parent = base_stage(stages, stage.number, base.text)
        if parent is not None:
            image, scope = images[parent], scopes[parent].child()
        else:
            image = Base() if base.text == "scratch" else target.base_of(base.text, platform.text)
            scope = _scope(image)
        steps = tuple(_steps(stage, scope, target, view.values))
        scopes.append(scope)
        images.append(image)
        yield StageView(stage, base, platform, parent, image, steps)


def _scope(image: Base | None) -> Scope:
    from bud.steps import BaseConfig

    scope = Scope.of_image(BaseConfig(image.env if image is not None else ()))
    scope.variables.setdefault("PATH", DEFAULT_PATH)
    return scope


def _steps(stage: Stage, scope: Scope, target: Target, outer: Mapping[str, str]) -> Iterator[Expanded]:
    for instruction in stage.instructions:
        escape = instruction.at.line.source.escape
        known = tuple(scope.variables)
        if isinstance(instruction, Arg):
            texts = []
            for name, default in instruction.pairs:
                expansion = None if default is None else _expand(default, scope.variables, escape)
                if expansion is not None:
                    texts.append(expansion)
                inherited = expansion.text if expansion is not None else outer.get(name)
                scope.set_arg(name, target.build_args.get(name, inherited))
        else:
            found = (_expand(text, scope.variables, escape) for text in _texts(instruction))
            texts = [expansion for expansion in found if expansion is not None]
        if isinstance(instruction, Env):
            values = [_expand(value, scope.variables, escape) for _name, value in instruction.pairs]
            for (name, _value), expansion in zip(instruction.pairs, values, strict=True):
                scope.set_env(name, expansion.text if expansion is not None else "")
        yield Expanded(instruction, tuple(texts), frozenset(scope.args), known)


def _texts(instruction: Instruction) -> list[str]:
    """What docker expands in an instruction (but ARG, of which each default sees those before it)."""
    if isinstance(instruction, Env | Label):
        return [text for pair in instruction.pairs for text in pair]
    if isinstance(instruction, Copy):
        flags = (instruction.chown, instruction.chmod, instruction.checksum)
        return [*instruction.sources, instruction.dest, *(flag for flag in flags if flag)]
    if isinstance(instruction, Run):
        return list(instruction.mounts)
    if isinstance(instruction, Expose):
        return list(instruction.ports)
    if isinstance(instruction, Volume):
        return list(instruction.paths)
    if isinstance(instruction, User):
        return [instruction.user]
    if isinstance(instruction, Workdir):
        return [instruction.path]
    return [instruction.signal] if isinstance(instruction, StopSignal) else []


# --- how findings are shown -------------------------------------------------------------------------------------------


def as_text(findings: tuple[Finding, ...]) -> str:
    """For people: each finding with its lines and what to do."""
    parts = [
        f"WARNING: {finding.rule.name}: {visible(finding.message)}\n"
        f"{visible(finding.file)}:{finding.line}\n{finding.excerpt()}\n  advice: {finding.rule.advice}\n"
        for finding in findings
    ]
    parts.append(f"Check complete, {counted(len(findings)) if findings else 'no warnings'} found.\n")
    return "\n".join(parts)


def as_json(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """For programs: the document of ``docker build --check --format json``, with an ``advice`` more."""
    return {
        "warnings": [
            {
                "ruleName": finding.rule.name,
                "description": finding.rule.description,
                "detail": finding.message,
                "advice": finding.rule.advice,
                "location": {
                    "file": finding.file,
                    "ranges": [{"start": {"line": finding.line}, "end": {"line": finding.end_line}}],
                },
            }
            for finding in findings
        ]
    }


def summary(findings: tuple[Finding, ...]) -> str:
    """What a build says at its end; "" when there is nothing to say."""
    if not findings:
        return ""
    lines = "".join(f" - {finding.short()}\n" for finding in findings)
    return f"\n {counted(len(findings))} found (`bud check` says what to do):\n{lines}"


def violation(findings: tuple[Finding, ...]) -> DockerfileError:
    """The error of a build whose ``check`` directive wants errors."""
    names = dict.fromkeys(finding.rule.name for finding in findings)
    first = findings[0]
    return DockerfileError(
        f"{first.file}:{first.line}: lint violation found for rules: {', '.join(names)}",
        hint="`bud check` shows them all",
        file=first.file,
        line=first.line,
        text=first.text[0] if first.text else None,
    )


def counted(number: int) -> str:
    """``1 warning``, ``2 warnings``."""
    return f"{number} warning{'s' * (number != 1)}"
