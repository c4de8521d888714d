"""Builds one stage: its container, and the calls of its steps one after the other. What is cached needs no thread."""

from __future__ import annotations

from bud.errors import StepFailed
from bud.progress import CANCELED
from bud.steps import ConfigStep, RunStep
from buildlib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bud.build import Build
    from bud.calls import Call
    from bud.steps import LayerStep, StagePlan
    from buildlib import WorkingContainer

_OUR_WORDS = (
    errors.CopyError,
    errors.UsageError,
    errors.NotFound,
    errors.TransportError,
    errors.DigestMismatch,
    errors.LayerError,
    errors.SandboxError,
)
"""Errors of a step that are about what the Dockerfile asks for; they are told with its line."""


class StageBuild:
    """A stage on its way; a task of :mod:`bud.schedule`."""

    def __init__(self, build: Build, stage: StagePlan, *, alone: bool) -> None:
        self.number = stage.number
        self.needs = stage.needs
        self.build = build
        self.plan = stage
        self.container: WorkingContainer | None = None
        self._at = 0
        """The step that comes next."""
        self._filled = stage.base.kind != "named"
        self._cancelled = False
        image = stage.base.kind in ("image", "named")
        self._total = stage.layer_steps + image
        self._shown = int(image)
        self._label = build.label + ("" if alone else f"{stage.label} ")

    def replay(self) -> bool:
        """Go on as far as the cache has everything; whether that was to the end."""
        try:
            self._go(only_cached=True)
        except errors.NotCached:
            return False
        return True

    def run(self) -> None:
        """Go on to the end."""
        self._go(only_cached=False)

    def cancel(self) -> None:
        """End what is executed now; the thread that does it gets :class:`Cancelled`."""
        self._cancelled = True
        if self.container is not None:
            self.container.cancel()

    def _go(self, *, only_cached: bool) -> None:
        if self._cancelled:
            raise errors.Cancelled("the build was cancelled")
        if self.container is None:
            self.container = self.build.start(self.plan)
            if self._shown:
                self.build.progress.step(self._title(1, f"FROM {self.plan.base.name}")).end()
        self.container.only_cached = only_cached
        if self._cancelled:  # before there was a container to tell
            self.container.cancel()
        if not self._filled:
            self.build.fill(self.container, self.plan.base)
            self._filled = True
        while self._at < len(self.plan.steps):
            step = self.plan.steps[self._at]
            if isinstance(step, ConfigStep):
                self.build.invoke(self.container, self.build.compiler.calls(step)[0])
            else:
                self._perform(self.container, step, self._title(self._shown + 1, step.title), only_cached)
                self._shown += 1
            self._at += 1

    def _title(self, number: int, text: str) -> str:
        width = len(str(self._total))
        return f"[{self._label}{number:>{width}}/{self._total}] {text}"

    def _perform(self, container: WorkingContainer, step: LayerStep, title: str, only_cached: bool) -> None:
        """Do one step that makes a layer; its errors say where in the Dockerfile it stands."""
        *before, call = self.build.compiler.calls(step)
        self.build.caching.before(container, self.plan, step, self.build.request.no_cache)
        # Of what is only looked up nothing is said before it is known.
        shown = None if only_cached else self.build.progress.step(title)
        streams: dict[str, Any] = {"stdout": shown, "stderr": shown} if shown and isinstance(step, RunStep) else {}
        problem: str | None = None
        try:
            for one in before:
                self.build.invoke(container, one)
            result = self.build.invoke(container, call, **streams)
        except errors.RunError as error:
            problem = error.message
            failure = self._failed(container, step, call, error)
            failure.log = shown.log if shown is not None else None
            raise failure from error
        except _OUR_WORDS as error:
            problem = error.message
            raise step.at.error(error.message, hint=error.hint) from error
        except BaseException as error:
            problem = None if isinstance(error, errors.NotCached) else _how_it_ended(error)
            raise
        finally:
            if problem is not None:
                (shown or self.build.progress.step(title)).end(error=problem)
        cached = result if isinstance(result, bool) else result.cached
        shown = shown or self.build.progress.step(title)
        why = self.build.caching.why(container)
        if why:
            shown.say(f"not cached: {why}")
        shown.end(cached=cached)

    def _failed(self, container: WorkingContainer, step: LayerStep, call: Call, error: errors.RunError) -> StepFailed:
        """The error of a RUN, with its place and the way to look at what it left."""
        place = step.at.error(error.message)
        failure = StepFailed(
            place.message,
            hint=error.hint,
            argv=error.argv,
            exit_code=error.exit_code,
            output=error.output,
            file=place.file,
            line=place.line,
            instruction=step.at.line.text,
        )
        failure.container = container
        failure.call = call
        return failure


def _how_it_ended(error: BaseException) -> str:
    """What progress says of a step that neither succeeded nor failed by itself."""
    if isinstance(error, errors.Cancelled | KeyboardInterrupt):
        return CANCELED
    return error.message if isinstance(error, errors.BuildlibError) else repr(error)
