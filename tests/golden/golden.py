"""The golden corpus: a folder for each case, with its Dockerfile, its context and what must come out.

``plan.txt`` is the plan, or ``error.txt`` the error with its excerpt. ``options.json`` may hold the fields of
``bud.plan.Options`` and, as ``bases``, the configs of images other than busybox. ``python tests/golden/golden.py``
writes what comes out now; then read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path

from bud.errors import DockerfileError
from bud.plan import Options, make_plan
from bud.stages import read_dockerfile
from bud.steps import BaseConfig, Origin

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/Dockerfile"))
BUSYBOX = BaseConfig(env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",))


def outcome(case: Path) -> tuple[str, str]:
    """The name of the file that holds what comes out of a case, and its text."""
    file = case / "options.json"
    options = json.loads(file.read_text()) if file.exists() else {}
    bases = {
        name: BaseConfig(**{k: tuple(v) for k, v in fields.items()})
        for name, fields in options.pop("bases", {}).items()
    }

    def config_of(origin: Origin, platform: str) -> BaseConfig:
        return bases.get(origin.name, BUSYBOX)

    try:
        plan = make_plan(read_dockerfile((case / "Dockerfile").read_bytes()), Options(**options), config_of)
    except DockerfileError as error:
        lines = [str(error), error.excerpt(), f"hint: {error.hint}" if error.hint else ""]
        return "error.txt", "\n".join(line for line in lines if line) + "\n"
    return "plan.txt", plan.describe()


def main() -> None:
    """Write what comes out now."""
    for case in CASES:
        name, text = outcome(case)
        (case / name).write_text(text)


if __name__ == "__main__":
    main()
