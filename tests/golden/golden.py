"""The golden corpus: a folder for each case, with its Dockerfile, its context and what must come out.

``plan.txt`` is the plan, or ``error.txt`` the error with its excerpt; ``image.json`` is config and history of the
image, at time 0, as far as they are not the base's. ``options.json`` may hold the fields of ``bud.plan.Options``
(folders of additional contexts lie in the case's), the configs of ``bases`` other than busybox, and as ``build`` the
reason why the case is only planned. ``python tests/golden/golden.py`` writes the plans anew, ``pytest tests/golden
--rewrite`` the images; then read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bud.errors import DockerfileError
from bud.plan import Options, make_plan
from bud.stages import read_dockerfile
from bud.steps import BaseConfig, Origin

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/Dockerfile"))
BUSYBOX = BaseConfig(env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",))


class Case:
    """A case with its options."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dockerfile = (folder / "Dockerfile").read_bytes()
        file = folder / "options.json"
        options: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        self.bases: dict[str, dict[str, Any]] = options.pop("bases", {})
        self.unbuildable: str | None = options.pop("build", None)
        if (folder / "error.txt").exists():
            self.unbuildable = "it is an error"
        self.options = Options(**options)

    @property
    def contexts(self) -> dict[str, str]:
        """The additional contexts as a command line would have them."""
        found = self.options.contexts.items()
        return {name: str(self.folder / where) if ":" not in where else where for name, where in found}


def outcome(folder: Path) -> tuple[str, str]:
    """The name of the file that holds what comes out of a case, and its text."""
    case = Case(folder)
    bases = {
        name: BaseConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
        for name, fields in case.bases.items()
    }

    def config_of(origin: Origin, platform: str) -> BaseConfig:
        if origin.kind == "named" and ":" not in case.options.contexts[origin.name]:
            return BaseConfig(working_dir="/")
        return bases.get(origin.name, BUSYBOX)

    try:
        plan = make_plan(read_dockerfile(case.dockerfile), case.options, config_of)
    except DockerfileError as error:
        lines = [str(error), error.excerpt(), f"hint: {error.hint}" if error.hint else ""]
        return "error.txt", "\n".join(line for line in lines if line) + "\n"
    return "plan.txt", plan.describe()


def main() -> None:
    """Write what comes out now."""
    for folder in CASES:
        name, text = outcome(folder)
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
