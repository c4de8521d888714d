"""What a build does with caches besides using the store's own: others are asked and written, steps are left out."""

from __future__ import annotations

import itertools
import re

from buildlib.errors import BuildlibError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NamedTuple

    from bud.progress import Progress
    from bud.steps import LayerStep, StagePlan
    from buildlib import Platform, Store, WorkingContainer
else:
    from bud.value import NamedTuple

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LINES = re.compile(r"(\d+)(?:-(\d+))?\Z")


class CacheOptions(NamedTuple):
    """What the flags of a build say about caches."""

    sources: tuple[str, ...] = ()
    """``--cache-from``: as :meth:`Store.import_cache` takes them."""
    targets: tuple[str, ...] = ()
    """``--cache-to``."""
    max_age: float | None = None
    """Seconds; older records do not count."""
    filters: tuple[str, ...] = ()
    """Names of stages, and lines (``12`` or ``12-20``) of the Dockerfile that are not looked up."""
    explain: bool = False
    """Say of each step that is executed why the cache did not have it."""
    access: Any = None
    """For registries."""

    @property
    def inline(self) -> bool:
        """Whether the image is to hold its cache."""
        return any(_is_inline(target) for target in self.targets)


def _is_inline(target: str) -> bool:
    return "type=inline" in target.split(",")


def parse_duration(text: str) -> float:
    """Seconds in a duration as Go writes it (``1h30m``), or a plain number of seconds. Raises :class:`UsageError`."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{text!r} is no duration", hint="write it like 90s or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


class Caching:
    """The caches of one build."""

    def __init__(self, store: Store, options: CacheOptions, progress: Progress) -> None:
        self.options = options
        self._store = store
        self._progress = progress
        self._imports: list[Any] = []
        self._looks: dict[str, Any] = {}

    def open(self, platforms: Sequence[Platform | None]) -> None:
        """Import what is to be asked. A cache that can't be read is only a warning: the build works without."""
        if self.options.explain:
            self._store.cache.watch = lambda look: self._looks.__setitem__(look.container, look)
        # Only an image holds a cache that differs by platform.
        for source, platform in itertools.product(self.options.sources, platforms):
            step = self._progress.step(f"importing cache from {source}")
            try:
                found = self._store.import_cache(source, access=self.options.access, platform=platform)
            except UsageError:
                raise
            except BuildlibError as error:
                step.end(error=error.message)
                continue
            self._imports.append(found)
            step.say(f"{len(found)} records")
            step.end()

    def before(self, container: WorkingContainer, stage: StagePlan, step: LayerStep, no_cache: bool) -> None:
        """Have the next step looked up, or not."""
        if not self.options.filters or not container.state.cache:
            return
        wanted = no_cache or any(_matches(each, stage, step) for each in self.options.filters)
        if container.state.no_cache is not wanted:
            container.save(container.state.evolve(no_cache=wanted))

    def look(self, container: WorkingContainer) -> Any:
        """The last look-up for that container, once; None if there was none."""
        return self._looks.pop(container.id, None)

    def why(self, container: WorkingContainer) -> str:
        """Why the last step of that container was executed; "" if it was not."""
        look = self.look(container)
        return "" if look is None or look.hit else "; ".join(look.why) or "no such step is known on this state"

    def export(self, targets: Sequence[WorkingContainer], others: Iterable[WorkingContainer]) -> None:
        """Write the caches that are asked for. Raises what writing raises, unless a target says ``ignore-error``."""
        for place in self.options.targets:
            if _is_inline(place):
                continue
            step = self._progress.step(f"exporting cache to {place}")
            containers = [*targets, *others] if "mode=max" in place.split(",") else targets
            try:
                self._store.export_cache(place, *containers, access=self.options.access)
            except BuildlibError as error:
                step.end(error=error.message)
                if "ignore-error=true" not in place.split(","):
                    raise
                continue
            step.end()

    def close(self) -> None:
        """Let go of caches from elsewhere, and say what was wrong with them."""
        if self.options.explain:
            self._store.cache.watch = None
        for failure in [failure for one in self._imports for failure in one.failures]:
            self._progress.warn(f"a cached layer could not be fetched: {failure.message}")
        for one in self._imports:
            one.close()
        self._imports.clear()


def check_filters(filters: Iterable[str], stages: Iterable[str]) -> None:
    """Refuse a filter that can't mean anything. Raises :class:`UsageError`."""
    from bud.errors import did_you_mean

    known = list(stages)
    for each in filters:
        if not _LINES.match(each) and each.lower() not in (name.lower() for name in known):
            raise UsageError(f"--no-cache-filter {each}: there is no such stage", hint=did_you_mean(each, known))


def _matches(wanted: str, stage: StagePlan, step: LayerStep) -> bool:
    lines = _LINES.match(wanted)
    if lines is None:
        return wanted.lower() == stage.label.lower()
    first = int(lines[1])
    last = int(lines[2] or first)
    return first <= step.at.line.end_line and step.at.line.line <= last
