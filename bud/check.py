"""What ``bud check`` does, and what a build says of its Dockerfile at its end: lint, with the bases in the store."""

from __future__ import annotations

from contextlib import contextmanager

from bud import lint
from bud.errors import visible
from buildlib.errors import BuildlibError, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bud.lint import Base, Finding, Target
    from bud.progress import Progress
    from bud.request import Request
    from buildlib import Store


def target(store: Store, request: Request, unknown: set[str] | None = None) -> Target:
    """What a request is about, as the rules want it. Nothing is fetched: bases count that are here.

    The names of the others are added to ``unknown``.
    """
    from bud.plan import platform_args

    dockerfile, options = request.dockerfile, request.plan
    platform = options.platform

    def base_of(name: str, wanted: str) -> Base | None:
        found = None if name in options.contexts else _base(store, name, wanted or platform)
        if found is None and unknown is not None:
            unknown.add(name)
        return found

    arguments = platform_args(options, dockerfile.stages[-1].start.name)
    return lint.Target(dockerfile, arguments, options.build_args, request.ignore, base_of)


def _base(store: Store, name: str, platform: str) -> Base | None:
    from buildlib import Platform

    try:
        image = store.image(name, Platform.parse(platform))
    except (NotFound, UsageError):
        return None
    config = image.config.config
    return lint.Base(config.env or (), config.shell or (), str(image.platform))


def findings(store: Store, request: Request) -> tuple[Finding, ...]:
    """All that the rules find."""
    return lint.check(target(store, request))


def refuse(store: Store, request: Request) -> None:
    """Raise :class:`bud.errors.DockerfileError` when the file's ``check`` directive makes errors of its findings."""
    about = target(store, request)
    if lint.checks_of(about).error:
        found = lint.check(about)
        if found:
            raise lint.violation(found)


def report(store: Store, request: Request, kind: str) -> tuple[str, int]:
    """The output of ``bud check`` as "text" or "json", and the exit code: 1 when there are findings."""
    unknown: set[str] = set()
    found = lint.check(target(store, request, unknown))
    if kind == "json":
        import json

        return json.dumps(lint.as_json(found), indent=2) + "\n", int(bool(found))
    notes = "".join(f"not here, so what it sets is not known: {visible(name)}\n" for name in sorted(unknown))
    return lint.as_text(found) + notes, int(bool(found))


@contextmanager
def around(store: Store, request: Request, shown: Progress, kind: str = "plain") -> Iterator[None]:
    """Around a build: before it, :func:`refuse`; behind it, also when it failed, all findings in one line each.

    ``kind`` is that of the progress (see :mod:`bud.told`): programs get every finding as a warning of its own, and
    where all is quiet nothing is looked for.
    """
    refuse(store, request)
    try:
        yield
    except BuildlibError:
        _tell(store, request, shown, kind)
        raise
    _tell(store, request, shown, kind)


def _tell(store: Store, request: Request, shown: Progress, kind: str) -> None:
    if kind in ("quiet", "none"):
        return
    found = findings(store, request)
    if kind == "rawjson":
        for finding in found:
            shown.warn(finding.short())
    else:
        shown.write(lint.summary(found))
