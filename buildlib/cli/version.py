"""``buildlib version`` and ``buildlib --version``."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "version",
    "Display the version and what it is built on",
    example="buildlib version --json",
    flags=(Flag("json", "output in JSON format", kind=BOOL),),
)

IMAGE_SPEC = "1.1.0"
RUNTIME_SPEC = "1.2.0"


def run(args: Arguments) -> int:
    """Print the versions as lines or as JSON, with buildah's names where they fit."""
    facts = {
        "version": program_version(),
        "pythonVersion": sys.version.split()[0],
        "imageSpec": IMAGE_SPEC,
        "runtimeSpec": RUNTIME_SPEC,
        "osArch": f"linux/{go_architecture()}",
    }
    if args.json:
        import json

        print(json.dumps(facts, indent=4))
    else:
        print(f"Version:         {facts['version']}")
        print(f"Python Version:  {facts['pythonVersion']}")
        print(f"Image Spec:      {facts['imageSpec']}")
        print(f"Runtime Spec:    {facts['runtimeSpec']}")
        print(f"OS/Arch:         {facts['osArch']}")
    return 0


def print_short() -> int:
    """The one line of ``--version``."""
    print(f"buildlib version {program_version()} (image-spec {IMAGE_SPEC}, runtime-spec {RUNTIME_SPEC})")
    return 0


def program_version() -> str:
    """The version of the installed package, from the name of its metadata folder."""
    from buildlib.cli.plugins import installed_version

    return installed_version("buildlib", sys.path) or "unknown"


def go_architecture() -> str:
    """This machine's architecture by the name that Go has for it."""
    import os

    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(machine, machine)
