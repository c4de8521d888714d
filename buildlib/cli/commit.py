"""``buildlib commit``: makes an image of a working container."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Store, WorkingContainer
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "commit",
    "Create an image from a working container",
    accepts="CONTAINER [IMAGE]",
    positionals=(1, 2),
    missing="container ID must be specified",
    example="buildlib commit debian-working-container localhost/site:1.2\n"
    "buildlib commit --rm --squash $ctr oci-archive:site.tar:1.2",
    details="Prints the id of the image. IMAGE is a name, or a transport and what it needs, as for `push`.",
    flags=(
        Flag("add-file", "a file of the host to put into the image", kind=EACH, later=True),
        Flag("annotation", "an annotation of the manifest, KEY=VALUE", short="a", kind=EACH, metavar="KEY=VALUE"),
        Flag("change", "an instruction of a Dockerfile to apply", short="c", kind=EACH, later=True),
        Flag("config", "a file with a config to merge", metavar="FILE", later=True),
        Flag("disable-compression", "layers lie unpacked anyway", short="D", kind=BOOL, default=True, no_op=True),
        Flag("encrypt-layer", "layers to encrypt", kind=LIST, later=True),
        Flag("encryption-key", "key to encrypt with", kind=LIST, later=True),
        Flag("format", "oci or docker", short="f", metavar="FORMAT", env="BUILDAH_FORMAT"),
        Flag("identity-label", "accepted; no label names the builder", kind=BOOL, default=True, no_op=True),
        Flag("iidfile", "write the image's id to this file instead of stdout", metavar="FILE"),
        Flag("manifest", "a manifest list to add the image to", metavar="NAME", later=True),
        Flag("omit-history", "leave the history out", kind=BOOL),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("rewrite-timestamp", "give no file a later time than --source-date-epoch", kind=BOOL),
        Flag("rm", "remove the container when the image is made", kind=BOOL),
        Flag("sign-by", "sign with this key", metavar="FINGERPRINT", later=True),
        Flag("source-date-epoch", "the time of the image and its history, in seconds", kind=NUMBER,
             metavar="SECONDS", env="SOURCE_DATE_EPOCH"),
        Flag("squash", "make an image of one layer", kind=BOOL),
        Flag("timestamp", "the time of the image, its history and all new files, in seconds", kind=NUMBER,
             metavar="SECONDS"),
        Flag("unsetenv", "a variable to leave out of the image", kind=LIST, later=True),
        *REGISTRY_FLAGS,
    ),
)  # fmt: skip


_FORMATS = {"v2s2": "docker"}


def run(args: Arguments) -> int:
    """Commit, and print the id of the image or write it to a file."""
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to, has_transport

    name, *rest = args.positionals
    destination = rest[0].removeprefix("containers-storage:") if rest else None
    options = _options(args)
    with open_store(args) as store:
        container = store.container(name)
        if destination is not None and has_transport(destination):
            id = _send(store, container, destination, options, access_to(args, destination))
        else:
            id = container.commit(destination, **options).id
        if args.rm:
            container.remove()
    if args.iidfile is not None:
        with open(args.iidfile, "w", encoding="ascii") as file:
            file.write(f"sha256:{id}")
    elif destination is None or not has_transport(destination):
        print(id)
    return 0


def _send(
    store: Store, container: WorkingContainer, destination: str, options: dict[str, Any], access: dict[str, Any]
) -> str:
    """Commit to somewhere else; the store keeps the image only if it had it before."""
    before = {image.id for image in store.images()}
    image = container.commit(**options)
    try:
        image.push(destination, **access)
    finally:
        if image.id not in before:
            image.remove()
    return image.id


def _options(args: Arguments) -> dict[str, Any]:
    if args.timestamp is not None and "source_date_epoch" in args.given:
        raise UsageError("--timestamp and --source-date-epoch may not be used together")
    return {
        "squash": args.squash,
        "timestamp": args.timestamp,
        "source_date_epoch": args.source_date_epoch,
        "rewrite_timestamp": args.rewrite_timestamp,
        "format": _FORMATS.get(args.format, args.format),
        "annotations": _annotations(args.annotation),
        "omit_history": args.omit_history,
    }


def _annotations(words: list[str]) -> dict[str, str] | None:
    return dict(word.partition("=")[::2] for word in words) if words else None
