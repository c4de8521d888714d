"""``python -m buildlib`` is the command ``buildlib``."""

from __future__ import annotations

import sys

from buildlib.cli import program

if __name__ == "__main__":
    sys.exit(program())
