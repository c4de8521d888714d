"""Runs the source of a cell in the Python of a container, and brings the value of its last expression back."""

from __future__ import annotations

import json
import secrets
import sys
from typing import Any

_RUNNER = """
import ast, json, sys
source, mark = open("/run/buildlib-cell.py").read(), sys.argv[1]
tree = ast.parse(source, "<cell>")
names = {"__name__": "__main__"}
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
exec(compile(tree, "<cell>", "exec"), names)
value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last is not None else None
try:
    found = json.dumps({"value": value})
except (TypeError, ValueError):
    found = json.dumps({"repr": repr(value)})
sys.stdout.flush()
sys.stdout.write(mark + found)
sys.stdout.flush()
"""
"""What runs there: only the standard library, of any Python 3."""


class Marked:
    """A stream that passes on what is printed, up to the mark; what follows it is kept in ``rest``."""

    def __init__(self, out: Any, mark: str) -> None:
        self._out = out
        self._mark = mark
        self._held = ""
        self.rest: str | None = None

    def write(self, text: str) -> int:
        """Take a piece; the beginning of a mark is held back until more comes."""
        if self.rest is not None:
            self.rest += text
            return len(text)
        self._held += text
        before, mark, after = self._held.partition(self._mark)
        if mark:
            self._out.write(before)
            self._held, self.rest = "", after
            return len(text)
        keep = next(
            (n for n in range(min(len(self._mark), len(before)), 0, -1) if self._mark.startswith(before[-n:])), 0
        )
        self._out.write(before[: len(before) - keep])
        self._held = before[len(before) - keep :]
        return len(text)

    def flush(self) -> None:
        """Pass on what was printed."""
        self._out.flush()

    def finish(self) -> None:
        """Nothing more comes: what was held back was no mark."""
        self._out.write(self._held)
        self._held = ""


class Shown:
    """A value that can't travel: it shows itself as it did inside."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def run_python(container: Any, interpreter: str, source: str, **options: Any) -> Any:
    """The value of the last expression of ``source``; None without one. What it prints goes to this process's output.

    What JSON can't hold comes as its ``repr``. Raises what ``container.run`` raises.
    """
    from buildlib import Content

    mark = f"\x02{secrets.token_hex(8)}\x03"
    out = Marked(sys.stdout, mark)
    cell = Content("/run/buildlib-cell.py", source.encode("utf-8", "surrogateescape"), 0o644)
    options["mounts"] = [cell, *options.get("mounts", ())]
    try:
        container.run([interpreter, "-c", _RUNNER, mark], stdout=out, stderr=sys.stderr, **options)
    finally:
        out.finish()
    found: dict[str, Any] = json.loads(out.rest) if out.rest else {"value": None}
    return found["value"] if "value" in found else Shown(found["repr"])
