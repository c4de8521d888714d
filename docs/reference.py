"""Writes the command reference: the table of verbs in README.md, and all flags in docs/commands.md.

``make docs`` runs it; a test checks that it would change nothing. The only source is the tables that the
verbs themselves declare.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

from buildlib.cli import MODULES, _load, help

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
COMMANDS = ROOT / "docs" / "commands.md"

BEGIN = "<!-- commands: written by `make docs` -->"
END = "<!-- end of commands -->"


def bud_help() -> str:
    """What ``bud --help`` prints: it is a package of its own, and its table is reached as a user would."""
    from bud.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(["--help"])
    return out.getvalue()


def table() -> str:
    """One line a verb, for the README."""
    rows = {name: (_load(name).VERB.summary, _load(name).VERB.aliases) for name in MODULES}
    rows["build"] = (bud_help().splitlines()[0], ("bud",))
    lines = ["| command | what it does |", "|---|---|"]
    for name, (summary, aliases) in sorted(rows.items()):
        also = f" (also {', '.join(f'`{alias}`' for alias in aliases)})" if aliases else ""
        lines.append(f"| [`{name}`](docs/commands.md#{name.replace(' ', '-')}) | {summary}{also} |")
    return "\n".join(lines)


def readme(text: str) -> str:
    """``text`` of README.md with the table of verbs anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


def commands() -> str:
    """The whole of docs/commands.md."""
    texts = {name: help.verb_help(_load(name).VERB) for name in MODULES} | {"build": bud_help()}
    parts = [
        "# Commands\n\nWritten by `make docs` from what the commands say of themselves; "
        "`buildlib COMMAND --help` prints the same.\n",
        f"## buildlib\n\n```text\n{help.program_help().rstrip()}\n```\n",
    ]
    parts += [f"## {name}\n\n```text\n{text.rstrip()}\n```\n" for name, text in sorted(texts.items())]
    return re.sub(r"[ \t]+$", "", "\n".join(parts), flags=re.MULTILINE)


def main() -> int:
    """Write both files."""
    README.write_text(readme(README.read_text()))
    COMMANDS.write_text(commands())
    return 0


if __name__ == "__main__":
    sys.exit(main())
