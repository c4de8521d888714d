"""What ``bud check`` does, and what a build says of its Dockerfile at its end: lint, with the bases in the store."""

from __future__ import annotations

from contextlib import contextmanager

from bud import lint
from buildlib.errors import BuildlibError, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bud.lint import Base, Finding, Target
    from bud.progress import Progress
    from bud.request import Request
    from buildlib import Store


def target(store: Store, request: Request) -> Target:
    """What a request is about, as the rules want it. Nothing is fetched: bases count that are here."""
    from bud.plan import platform_args

    dockerfile, options = request.dockerfile, request.plan
    platform = options.platform

    def base_of(name: str, wanted: str) -> Base | None:
        if name in options.contexts:
            return None
        return _base(store, name, wanted or platform)

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
    found = findings(store, request)
    if kind == "json":
        import json

        return json.dumps(lint.as_json(found), indent=2) + "\n", int(bool(found))
    return lint.as_text(found), int(bool(found))


@contextmanager
def around(store: Store, request: Request, shown: Progress, *, each: bool = False) -> Iterator[None]:
    """Around a build: before it, :func:`refuse`; behind it, also when it failed, all findings in one line each.

    ``each`` tells every finding as a warning of its own, for progress that programs read.
    """
    refuse(store, request)
    try:
        yield
    except BuildlibError:
        _tell(store, request, shown, each)
        raise
    _tell(store, request, shown, each)


def _tell(store: Store, request: Request, shown: Progress, each: bool) -> None:
    found = findings(store, request)
    if each:
        for finding in found:
            shown.warn(finding.short())
    else:
        shown.write(lint.summary(found))
