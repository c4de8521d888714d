"""Why each step of a build would hit or miss the cache. It looks up and executes nothing; bases are fetched for it."""

from __future__ import annotations

from bud.builds import Builds
from bud.progress import Progress
from bud.stage import StageBuild
from bud.steps import CopyStep, RunStep
from buildlib.errors import NotCached, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple

    from bud.build import Build
    from bud.request import Request
    from bud.steps import LayerStep, Plan, StagePlan
    from buildlib import Store, WorkingContainer
else:
    from bud.value import NamedTuple

UNKNOWN = "no such step is known on this state"


class Explained(NamedTuple):
    """What the cache says of one step that makes a layer."""

    title: str
    line: int
    """Of the Dockerfile, from 1."""
    hit: bool
    why: tuple[str, ...] = ()
    """Of a miss."""

    def describe(self) -> str:
        """Lines for people."""
        reasons = "".join(f"\n       {reason}" for reason in self.why)
        return f"{'HIT ' if self.hit else 'MISS'} {self.title} (line {self.line}){reasons}\n"


def explain(store: Store, request: Request) -> tuple[Explained, ...]:
    """Look every step of the build up, in order. A step after a miss can't be: its parent will be another one.

    Raises what planning raises.
    """
    if not request.layers:
        raise UsageError("there is nothing to explain: without layers nothing is cached")
    request = request._replace(caching=request.caching._replace(explain=True, targets=()))
    with Builds(store, request, Progress(None)) as builds:
        plans = [build.plan() for build in builds.each]
        builds.shared.caching.open([build.request.platform for build in builds.each])
        return tuple(one for build, plan in zip(builds.each, plans, strict=True) for one in _explained(build, plan))


def _explained(build: Build, plan: Plan) -> Iterator[Explained]:
    stages: dict[int, _Stage] = {}
    for stage in plan.stages:
        stages[stage.number] = _Stage(build, stage, stages, alone=len(plan.stages) == 1)
        build.stages[stage.number] = stages[stage.number]
        stages[stage.number].look_up()
        yield from stages[stage.number].explained


class _Stage(StageBuild):
    """A stage of which everything is only looked up."""

    def __init__(self, build: Build, stage: StagePlan, others: dict[int, _Stage], *, alone: bool) -> None:
        super().__init__(build, stage, alone=alone)
        self.explained: list[Explained] = []
        self.missed = ""
        """Why nothing more can be looked up."""
        self._others = others

    def look_up(self) -> None:
        base = self.plan.base
        if base.kind == "stage" and self._others[base.stage].missed:
            self.missed = f"its parent changed: the stage {base.name}"
        try:
            self._go(only_cached=True)
        except NotCached:  # the files of a context that is the base
            self.missed = f"its parent changed: the build context {base.name}"
            self._filled = True
            self._go(only_cached=True)

    def _perform(self, container: WorkingContainer, step: LayerStep, title: str, only_cached: bool) -> None:
        why = self._cause(step)
        if not why:
            try:
                super()._perform(container, step, title, only_cached)
            except NotCached:
                look = self.build.caching.look(container)
                why = tuple(look.why) if look is not None and look.why else (UNKNOWN,)
                self.missed = "its parent changed"
        self.explained.append(Explained(title, step.at.line.line, not why, why))

    def _cause(self, step: LayerStep) -> tuple[str, ...]:
        """Why a step can't even be looked up."""
        if self.missed:
            return (self.missed,)
        for name in sorted({other.label for other in self._sources(step) if other.missed}):
            self.missed = "its parent changed"
            return (f"the stage {name}, which it takes files from, changed",)
        return ()

    @property
    def label(self) -> str:
        """The name of the stage."""
        return self.plan.label

    def _sources(self, step: LayerStep) -> list[_Stage]:
        origins = []
        if isinstance(step, CopyStep):
            origins.append(step.origin)
        elif isinstance(step, RunStep):
            origins += [mount.origin for mount in step.mounts]
        return [self._others[origin.stage] for origin in origins if origin.kind == "stage"]
