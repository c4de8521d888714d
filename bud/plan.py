"""From a Dockerfile to a plan: which stages are needed, what their variables are, which steps they take.

A pure function of the Dockerfile, the options and the configs of the base images, which a function is asked for.
"""

from __future__ import annotations

from bud import contexts
from bud.dispatch import Context, dispatch, join_workdir
from bud.errors import did_you_mean
from bud.instructions import Arg, Copy
from bud.mounts import MountError, parse_mount, settle
from bud.scope import DEFAULT_PATH, Scope, expand_at
from bud.stages import (
    Need,
    base_stage,
    check_cycles,
    find_stage,
    find_target,
    in_order,
    needs,
    onbuild_of,
    reachable,
    triggers,
)
from bud.steps import BaseConfig, ConfigStep, Origin, Plan, RunMount, StagePlan
from buildlib.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NamedTuple

    from bud.instructions import Instruction, Run
    from bud.stages import Dockerfile, Stage
    from bud.steps import Step
else:
    from bud.value import NamedTuple

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_SCRATCH = "scratch"
_ALWAYS_CONSUMED = "BUILDKIT_"


class Options(NamedTuple):
    """What a build is asked for, as far as the plan depends on it."""

    build_args: Mapping[str, str] = {}
    target: str = ""
    platform: str = "linux/amd64"
    """Of the image: os/architecture[/variant]."""
    build_platform: str = "linux/amd64"
    """Of this machine."""
    contexts: Mapping[str, str] = {}
    """Additional build contexts, as :func:`bud.contexts.read_names` gives them."""
    base: str = ""
    """Replaces the image of the first FROM."""
    all_stages: bool = False
    """Also those that the target does not need, up to it."""


def make_plan(dockerfile: Dockerfile, options: Options, config_of: Callable[[Origin, str], BaseConfig]) -> Plan:
    """Plan the build of one target.

    ``config_of(origin, platform)`` gives the config of a base image (or context); it is asked only for what the target
    needs, once each. Raises :class:`bud.errors.DockerfileError`, and what ``config_of`` raises.
    """
    return _Planner(dockerfile, options, config_of).plan()


def is_proxy(name: str) -> bool:
    """Whether a build argument is one that RUN gets without an ARG, and that never is part of a cache key."""
    return name.upper() in _PROXIES


class _Planner:
    def __init__(
        self, dockerfile: Dockerfile, options: Options, config_of: Callable[[Origin, str], BaseConfig]
    ) -> None:
        self.dockerfile = dockerfile
        self.stages = dockerfile.stages
        self.options = options
        self.config_of = config_of
        self.global_args = platform_args(options, self.stages[-1].start.name)
        self.predefined = frozenset(self.global_args)
        self.declared: set[str] = set()
        self.bases: list[Origin] = []
        self.replaced: set[int] = set()
        """Stages in whose place an additional context stands."""
        self.platforms: list[str] = []
        self.configs: dict[int, BaseConfig] = {}
        self.triggered: dict[int, tuple[Instruction, ...]] = {}
        self.scopes: dict[int, Scope] = {}

    def plan(self) -> Plan:
        self.read_global_args()
        for stage in self.stages:
            self.bases.append(self.base_of(stage))
        target = find_target(self.dockerfile, self.options.target)
        order = in_order(self.wanted(target))
        planned = tuple(self.plan_stage(self.stages[number]) for number in order)
        return Plan(planned, target, self.warnings())

    def read_global_args(self) -> None:
        for arg in self.dockerfile.args:
            for name, default in arg.pairs:
                self.declared.add(name)
                value = self.options.build_args.get(name)
                if value is None and default is not None:
                    value = expand_at(default, self.global_args, arg.at).text
                if value is not None:
                    self.global_args[name] = value

    def base_of(self, stage: Stage) -> Origin:
        """What a stage is built on, its FROM expanded."""
        start = stage.start
        expansion = expand_at(start.base, self.global_args, start.at)
        platform = self.platform_of(stage)
        self.platforms.append(platform)
        base = expansion.text
        if not base:
            missing = ", ".join(sorted(expansion.missing))
            hint = f"{missing} has no value: give the ARG before FROM a default" if missing else None
            raise start.at.error(f"the base image {start.base} is empty once it is expanded", hint=hint)
        instead = self.context_for(start.name, platform) if start.name else None
        if instead is not None:
            self.replaced.add(stage.number)
            return instead
        if stage.number == 0 and self.options.base:
            base = self.options.base
        instead = self.context_for(base, platform)
        if instead is not None:
            return instead
        number = base_stage(self.stages, stage.number, base)
        return self.stage_origin(number) if number is not None else _image(base)

    def stage_origin(self, number: int) -> Origin:
        return Origin("stage", self.stages[number].label, number)

    def context_for(self, name: str, platform: str) -> Origin | None:
        """The additional context (or, for ``target:``, the stage) that goes before what is called ``name``."""
        found = contexts.find(self.options.contexts, name, platform or self.options.platform)
        if found is None:
            return None
        where = self.options.contexts[found]
        if not where.startswith(contexts.TARGET):
            return Origin("named", found)
        return self.stage_origin(find_target(self.dockerfile, where.removeprefix(contexts.TARGET)))

    def platform_of(self, stage: Stage) -> str:
        text = stage.start.platform
        if not text:
            return ""
        platform = expand_at(text, self.global_args, stage.start.at).text
        offset = stage.start.at.flags[0].offset
        if not platform:
            raise stage.start.at.error(f"the platform {text} is empty once it is expanded", offset)
        parts = platform.split("/")
        if len(parts) > 3 or not all(part and part.replace("_", "").replace("-", "").isalnum() for part in parts):
            raise stage.start.at.error(f"{platform[:60]} is no platform", offset, expected="os/architecture[/variant]")
        return platform

    def wanted(self, target: int) -> dict[int, set[int]]:
        """The stages that the target needs, each with those that it needs itself.

        ONBUILD triggers may bring in more of them, so it is done in rounds.
        """
        while True:
            edges = {stage.number: self.edges(stage) for stage in self.stages}
            check_cycles(self.stages, edges)
            found = reachable(target, edges)
            if self.options.all_stages:
                found |= {needed for number in range(target) for needed in reachable(number, edges)}
            new = [number for number in sorted(found) if number not in self.triggered]
            if not new:
                return {number: edges[number] for number in found}
            for number in new:
                self.start(self.stages[number])

    def start(self, stage: Stage) -> None:
        """Learn a needed stage's base config and the triggers in it."""
        base = self.bases[stage.number]
        if base.kind == "stage":
            texts = () if base.stage in self.replaced else onbuild_of(self.stages[base.stage])
        elif base.kind == "scratch":
            self.configs[stage.number] = BaseConfig(working_dir="/")
            texts = ()
        else:
            config = self.config_of_base(stage, base)
            self.configs[stage.number] = config
            texts = config.on_build
        self.triggered[stage.number] = triggers(texts, stage.start, base.name) if texts else ()

    def config_of_base(self, stage: Stage, base: Origin) -> BaseConfig:
        try:
            return self.config_of(base, self.platforms[stage.number])
        except (NotFound, UsageError) as error:
            names = [other.start.name for other in self.stages[: stage.number] if other.start.name]
            hint = did_you_mean(base.name, names) or error.hint
            offset = stage.start.at.line.text.find(stage.start.base)
            raise stage.start.at.error(error.message, max(offset, 0), hint=hint) from error

    def instructions(self, stage: Stage) -> tuple[Instruction, ...]:
        # A stage that an additional context replaces is that context and nothing else.
        if stage.number in self.replaced:
            return ()
        return self.triggered.get(stage.number, ()) + stage.instructions

    def edges(self, stage: Stage) -> set[int]:
        base = self.bases[stage.number]
        found = {base.stage} if base.kind == "stage" else set()
        for need in needs(self.stages, self.instructions(stage)):
            instead = self.context_for(need.name, self.platforms[stage.number])
            number = need.stage if instead is None else instead.stage
            if number is not None and number >= 0:
                found.add(number)
        return found

    def origin(self, stage: Stage, need: Need) -> Origin:
        instead = self.context_for(need.name, self.platforms[stage.number])
        if instead is not None:
            return instead
        if need.stage is None:
            return _image(need.name)
        if need.stage >= stage.number:
            name = self.stages[need.stage].label
            raise need.by.at.error(f"the stage {name} comes later than this", hint="move it up")
        return self.stage_origin(need.stage)

    def plan_stage(self, stage: Stage) -> StagePlan:
        base = self.bases[stage.number]
        steps: list[Step] = []
        if base.kind == "stage":
            scope = self.scopes[base.stage].child()
            if base.stage not in self.replaced and onbuild_of(self.stages[base.stage]):
                steps.append(ConfigStep(None, (("on_build", None),), None))
        else:
            scope = Scope.of_image(self.configs[stage.number])
            steps.extend(self.settle_base(self.configs[stage.number], scope))
        instructions = self.instructions(stage)
        context = self.context(stage, scope)
        for instruction in instructions:
            if isinstance(instruction, Arg):
                self.declared.update(name for name, _ in instruction.pairs)
            steps.append(dispatch(instruction, context))
        self.scopes[stage.number] = scope
        needed = tuple(sorted(self.edges(stage)))
        return StagePlan(
            stage.number, stage.label, stage.start, base, self.platforms[stage.number], tuple(steps), needed
        )

    def settle_base(self, config: BaseConfig, scope: Scope) -> list[Step]:
        """What docker changes in every base: a PATH if there is none, a clean working directory, no triggers."""
        changes: list[tuple[str, object]] = []
        if "PATH" not in scope.image_env:
            scope.set_env("PATH", DEFAULT_PATH)
            changes.append(("env", (("PATH", DEFAULT_PATH),)))
        if config.working_dir:
            scope.working_dir = join_workdir("/", config.working_dir)
            if scope.working_dir != config.working_dir or config == BaseConfig(working_dir="/"):
                changes.append(("working_dir", scope.working_dir))
        if config.on_build:
            changes.append(("on_build", None))
        return [ConfigStep(None, tuple(changes), None)] if changes else []

    def context(self, stage: Stage, scope: Scope) -> Context:
        def origin_of(copy: Copy) -> Origin:
            if not copy.from_:
                return Origin("context")
            return self.origin(stage, needs(self.stages, (copy,))[0])

        def mounts_of(run: Run, scope: Scope) -> tuple[RunMount, ...]:
            return tuple(self.mount(stage, run, index, scope) for index in range(len(run.mounts)))

        return Context(scope, self.options.build_args, self.global_args, origin_of, mounts_of)

    def mount(self, stage: Stage, run: Run, index: int, scope: Scope) -> RunMount:
        try:
            mount = settle(parse_mount(run.mounts[index], lambda text: scope.expand(text, run.at)), scope.working_dir)
        except MountError as error:
            offsets = [flag.offset for flag in run.at.flags if flag.text.startswith("--mount=")]
            raise run.at.error(error.message, offsets[index], expected=error.expected, hint=error.hint) from None
        if mount.type in ("tmpfs", "secret", "ssh"):
            return RunMount(mount, Origin("scratch"))
        if not mount.from_:
            return RunMount(mount, Origin("scratch" if mount.type == "cache" else "context"))
        return RunMount(mount, self.origin(stage, Need(run, find_stage(self.stages, mount.from_), mount.from_)))

    def warnings(self) -> tuple[str, ...]:
        unused = [
            name
            for name in self.options.build_args
            if name not in self.declared
            and not is_proxy(name)
            and not name.startswith(_ALWAYS_CONSUMED)
            and name != "SOURCE_DATE_EPOCH"
            and name not in self.predefined
        ]
        return (f"one or more build args were not consumed: [{' '.join(sorted(unused))}]",) if unused else ()


def _image(name: str) -> Origin:
    return Origin("scratch") if name == _SCRATCH else Origin("image", name)


def platform_args(options: Options, last_name: str) -> dict[str, str]:
    """The ARGs that every Dockerfile has before its first line; a build argument overrides each."""
    args: dict[str, str] = {}
    for side, platform in (("BUILD", options.build_platform), ("TARGET", options.platform)):
        system, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        if (architecture, variant) == ("arm64", "v8") or (architecture, variant) == ("amd64", "v1"):
            variant, platform = "", f"{system}/{architecture}"
        values = (platform, system, "", architecture, variant)
        names = (f"{side}{part}" for part in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"))
        args.update(zip(names, values, strict=True))
    args["TARGETSTAGE"] = options.target or last_name or "default"
    for name in args:
        args[name] = options.build_args.get(name, args[name])
    return args
