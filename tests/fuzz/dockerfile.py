"""All that is done with a Dockerfile before anything is built, on whatever bytes: it works, or raises DockerfileError.

As a program (``make fuzz``) it looks for bytes that do anything else, guided by coverage: ``python -m
tests.fuzz.dockerfile [libFuzzer's flags and folders]``. ``tests/unit/bud/test_fuzz.py`` does so with hypothesis.
"""

from __future__ import annotations

import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def target() -> Callable[[bytes], None]:
    """The function under test; what it needs is imported now."""
    from bud import lint
    from bud.errors import DockerfileError
    from bud.plan import Options, make_plan, platform_args
    from bud.stages import read_dockerfile
    from bud.steps import BaseConfig
    from buildlib.errors import UsageError
    from buildlib.patterns import IgnorePatterns

    base = BaseConfig(env=("A=1",), on_build=("RUN t",))

    def read_and_plan(data: bytes) -> None:
        with suppress(UsageError):
            IgnorePatterns.parse(data.decode("utf-8", "surrogateescape")).matches("a/b")
        with suppress(DockerfileError):
            dockerfile = read_dockerfile(data)
            arguments = platform_args(Options(), "")
            lint.check(lint.Target(dockerfile, arguments, {"A": "a b"}, IgnorePatterns(), lambda name, platform: None))
            for stage in dockerfile.stages:
                with suppress(DockerfileError):
                    options = Options(build_args={"A": "a b"}, target=str(stage.number))
                    make_plan(dockerfile, options, lambda origin, platform: base).describe()

    return read_and_plan


def main() -> None:
    """Fuzz until libFuzzer's flags say stop, or something is found."""
    import atheris

    with atheris.instrument_imports(include=["bud", "buildlib", "dockerfile_parse"]):
        function = target()
    atheris.Setup(sys.argv, function)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
