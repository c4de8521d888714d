"""The worker in an interpreter of its own: ``python -I -S …/worker/__main__.py ROOT CLIENT_PID TIER MODULE_PATH``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Take the module path of the client as our own, then serve."""
    root, client, tier, path = sys.argv[1:]
    # The folder of this file comes first in sys.path when it is run as a script; its modules are no top-level ones.
    sys.path[:] = [*path.split(os.pathsep), *sys.path]
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in dict.fromkeys(sys.path) if entry != here]

    from buildlib.worker.birth import run_executed

    run_executed(root, int(client), tier)


if __name__ == "__main__":
    main()
