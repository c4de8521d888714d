"""``buildlib push``: copies an image out of the store."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, LIST, Flag, Verb
from buildlib.cli.registry_flags import PUSH_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "push",
    "Copy an image to somewhere else",
    accepts="IMAGE [DESTINATION]",
    positionals=(1, 2),
    missing="at least a source image ID must be specified",
    example="buildlib push localhost/site:1.2 docker-archive:site.tar:localhost/site:1.2",
    details="DESTINATION is a transport and what it needs: docker://NAME, oci:DIR[:TAG],\n"
    "oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or dir:DIR.",
    flags=(
        Flag("all", "accepted; of an index all images are pushed", kind=BOOL, no_op=True),
        Flag("disable-compression", "do not compress layers", short="D", kind=BOOL),
        Flag("encrypt-layer", "layers to encrypt", kind=LIST, later=True),
        Flag("encryption-key", "key to encrypt with", kind=LIST, later=True),
        *PUSH_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Push, and write the digest where it is wanted."""
    from buildlib.cli.place import open_store

    name = args.positionals[0]
    destination = args.positionals[-1] if len(args.positionals) > 1 else None
    options = _options(args)
    with open_store(args) as store:
        digest = None if args.tls_verify or args.creds else _known(store, name, destination, options, args.quiet)
        if digest is None:
            from buildlib.cli.progress import Progress
            from buildlib.cli.registry_flags import access_to

            def access() -> Any:  # made when layers are being packed already
                return access_to(args, destination or name).get("access")

            if destination is not None and destination.startswith("docker-daemon:"):
                options |= access_to(args, destination)
            with Progress(args.quiet) as progress:
                digest = str(store.push(name, destination, progress=progress, access=access, **options).digest)
        if args.rm:
            store.manifest_list(name).remove(name)
    if args.digestfile is not None:
        with open(args.digestfile, "w", encoding="ascii") as file:
            file.write(digest)
    return 0


def _known(store: Store, name: str, destination: str | None, options: dict[str, Any], quiet: bool) -> str | None:
    """The digest of what is in the registry already, if it is certain that nothing would change."""
    there = store.already_pushed(name, destination, **options)
    if there is None:
        return None
    for blob in () if quiet else there.blobs:
        print(f"Copying blob {blob} (there already)", file=sys.stderr)
    return there.digest


_FORMATS = {"docker": "docker", "oci": "oci", "v2s2": "docker"}
_COMPRESSIONS = ("gzip", "none", "zstd")


def _options(args: Arguments) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if args.format is not None:
        if args.format not in _FORMATS:
            raise UsageError(f'unknown format "{args.format}"', hint="the formats are oci and v2s2")
        options["format"] = _FORMATS[args.format]
    compression = "none" if args.disable_compression else args.compression_format
    if compression is not None:
        if compression not in _COMPRESSIONS:
            raise UsageError(f'unknown compression "{compression}"', hint=f"there are {', '.join(_COMPRESSIONS)}")
        options["compression"] = compression
        options["level"] = args.compression_level
    elif args.compression_level is not None:
        options.update(compression="gzip", level=args.compression_level)
    return options
