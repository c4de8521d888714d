"""What the library tells while it works: typed, frozen events, handed to a sink. It never prints by itself.

A :data:`Sink` is any callable that takes an event. It may be called from several threads, must return soon and
should not raise. Without one, everything is silent (:func:`silent`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildlib.oci.value import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    import structlog


@frozen
class StepStarted:
    """A step of a build begins. ``step`` identifies it in later events, ``title`` is one line for people."""

    step: str
    title: str
    number: int = 0
    total: int = 0
    """Of ``total`` steps this is the ``number``-th, from 1; 0 where it is not known."""


@frozen
class StepFinished:
    """The step is over. ``cached``: it was not executed. ``error`` is the message of the error that ended it."""

    step: str
    cached: bool = False
    seconds: float = 0.0
    error: str | None = None


@frozen
class Output:
    """A piece of what a command printed, as it came: not necessarily a line. ``stream``: "stdout" or "stderr"."""

    stream: str
    text: str
    step: str | None = None


@frozen
class BytesMoved:
    """Bytes of ``what`` (a digest or a file name) moved so far; ``total`` is None where nobody knows it yet.

    ``skipped``: none had to be moved, they are there already.
    """

    what: str
    done: int
    total: int | None = None
    skipped: bool = False


@frozen
class Log:
    """A message for people. ``level`` is "debug", "info", "warning" or "error"; ``values`` are details."""

    level: str
    message: str
    values: dict[str, Any] = field(factory=dict, hash=False)


if TYPE_CHECKING:
    Event = StepStarted | StepFinished | Output | BytesMoved | Log
    Sink = Callable[[Event], None]


def silent(event: Event) -> None:
    """The sink that drops everything."""


def structlog_sink(logger: structlog.typing.BindableLogger | None = None) -> Sink:
    """A sink that logs to structlog: one log line an event, named for its class, its fields as values.

    ``logger`` is a bound logger of the caller's; by default ``structlog.get_logger("buildlib")``.
    :class:`BytesMoved` is logged at debug level, only when it is complete, for it comes in thousands.
    """
    import structlog
    from attrs import asdict

    log: Any = logger if logger is not None else structlog.get_logger("buildlib")

    def sink(event: Event) -> None:
        if isinstance(event, Log):
            getattr(log, event.level)(event.message, **event.values)
        elif not isinstance(event, BytesMoved):
            name = {StepStarted: "step started", StepFinished: "step finished", Output: "output"}[type(event)]
            log.info(name, **asdict(event))
        elif event.done == event.total:
            log.debug("bytes moved", **asdict(event))

    return sink
