"""``buildlib save``: writes images into one archive."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "save",
    "Save images to an archive",
    accepts="IMAGE...",
    positionals=(1, None),
    missing="at least one image must be specified",
    example="buildlib save -o site.tar localhost/site:1.2 localhost/site:1.3\n"
    "buildlib save localhost/site | ssh host docker load",
    details="An image that is given by a name is called so in the archive, one that is given by its id has no name.",
    flags=(
        Flag("compress", "compress layers, in a docker-dir", kind=BOOL),
        Flag("format", "docker-archive, oci-archive, oci-dir, docker-dir", default="docker-archive", metavar="FORMAT"),
        Flag("multi-image-archive", "accepted; several images need no flag", short="m", kind=BOOL, no_op=True),
        Flag("output", "the archive; standard output if it is not a terminal", short="o", metavar="FILE"),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("uncompressed", "leave layers of OCI archives uncompressed", kind=BOOL),
    ),
)


def run(args: Arguments) -> int:
    """Save."""
    from buildlib.cli.place import open_store
    from buildlib.cli.progress import Progress

    if args.output is None and sys.stdout.isatty():
        raise UsageError("refusing to save to terminal", hint="use -o, or redirect the output")
    if args.output is None and args.format.endswith("-dir"):
        raise UsageError(f"{args.format} needs a folder", hint="name it by -o")
    compression = "compress" if args.compress else "keep" if args.uncompressed else None
    with open_store(args) as store, Progress(args.quiet or args.output is None) as progress:
        images = _chosen(store, args.positionals)
        path = args.output or "/dev/stdout"
        store.save(images, path, args.format, compression=compression, progress=progress)
    return 0


def _chosen(store: Store, names: list[str]) -> dict[Any, list[str]]:
    """The images in the order of the arguments, each once, with the names by which they were asked for."""
    found: dict[Any, list[str]] = {}
    for name in names:
        image = store.find(name)
        called = found.setdefault(image, [])
        full = called_by(image, name)
        if full is not None and full not in called:
            called.append(full)
    return found


def called_by(image: Any, name: str) -> str | None:
    """The full name that ``name`` is short for, if it is a name and not an id."""
    for full in image.names:
        if full in (name, f"{name}:latest") or full.endswith((f"/{name}", f"/{name}:latest")):
            return str(full)
    return None
