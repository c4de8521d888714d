"""Which way a build is told: live on a terminal, in plain lines (in groups on GitHub), as JSON, or not at all."""

from __future__ import annotations

from bud.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

KINDS = ("auto", "plain", "tty", "quiet", "none", "rawjson")
"""What ``--progress`` and ``$BUILDLIB_PROGRESS`` may say; "none" is buildah's word for quiet."""


def progress(kind: str, out: TextIO, environ: Mapping[str, str], logs: str = "") -> Progress:
    """The progress of one build, written to ``out``; ``logs`` is the folder for what steps print ("": none is kept).

    ``kind`` is one of :data:`KINDS`. "auto" is live where ``out`` is a terminal that can be drawn on and ``rich`` is
    there, else plain; "tty" asks for live and gets plain too where that is impossible.
    """
    found = _of(kind, out, environ)
    if not logs:
        return found
    from bud.step_logs import LogFolder, LoggedProgress

    return LoggedProgress(found, LogFolder(logs))


def _of(kind: str, out: TextIO, environ: Mapping[str, str]) -> Progress:
    if kind in ("quiet", "none"):
        return Progress(None)
    if kind == "rawjson":
        from bud.rawjson import JsonProgress

        return JsonProgress(out)
    if kind in ("auto", "tty") and out.isatty() and environ.get("TERM", "dumb") not in ("dumb", "unknown"):
        from bud.live import LiveProgress, available

        if available():
            return LiveProgress(out, color=not environ.get("NO_COLOR"))
    if environ.get("GITHUB_ACTIONS") == "true":
        from bud.groups import GroupedProgress

        return GroupedProgress(out)
    return Progress(out)
