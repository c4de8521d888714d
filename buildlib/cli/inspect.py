"""``buildlib inspect``: everything about a container or an image, in one document."""

from __future__ import annotations

import sys

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import PLATFORM_FLAGS, RETRY_FLAGS, has_transport, place_flags
from buildlib.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Image, Store, WorkingContainer
    from buildlib.cli.flags import Arguments
    from buildlib.cli.template import Struct

VERB = Verb(
    "inspect",
    "Inspect a container or an image, also one in a registry",
    accepts="NAME",
    positionals=(1, 1),
    missing="container or image name must be specified",
    example="buildlib inspect --format '{{.OCIv1.Config.Env}}' localhost/site:1.2\n"
    "buildlib inspect docker://debian:bookworm-slim",
    details="A name that begins with a transport is looked up there, and shown as by skopeo: no layer is fetched,\n"
    "and no list of tags unless --tags. Exits with 2 where it is not there.",
    flags=(
        Flag("config", "show the config of the image", kind=BOOL),
        Flag("format", "print by this Go template", short="f", metavar="TEMPLATE"),
        Flag("no-tags", "accepted; tags are listed only by --tags", short="n", kind=BOOL, no_op=True),
        Flag("raw", "show the manifest (with --config: the config) as it is, byte for byte", kind=BOOL),
        *RETRY_FLAGS,
        Flag("tags", "list all tags of the repository, too", kind=BOOL),
        Flag("type", "container, image or manifest", short="t", default="container", metavar="TYPE"),
        *place_flags(),
        *PLATFORM_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Print the document as JSON, or by a template without a newline of our own on a pipe."""
    from buildlib.cli.place import open_store

    if has_transport(args.positionals[0]):
        from buildlib.cli.inspect_image import run as run_image

        return run_image(args)
    if args.type not in ("container", "image", "manifest"):
        raise UsageError('the only recognized types are "container", "image" and "manifest"')
    with open_store(args) as store:
        if args.raw or args.config or args.type == "manifest":
            return _print_blob(store, args)
        document = _find(store, args)
    if args.format:
        from buildlib.cli.template import Template

        text = Template(args.format).render(document)
        # As buildah does: a terminal gets its newline, a script exactly what the template says.
        sys.stdout.write(text + "\n" if sys.stdout.isatty() and not text.endswith("\n") else text)
    else:
        from buildlib.cli.document import plain
        from buildlib.cli.listing import print_json

        print_json(plain(document))
    return 0


def _print_blob(store: Store, args: Arguments) -> int:
    """Show manifest, index or config of an image of the store."""
    from buildlib.cli.registry_flags import platform

    name = args.positionals[0]
    image = store.image(name, platform(args)) if args.config else store.find(name)
    raw = store.blobs.read(f"sha256:{image.id}" if args.config else image.digest)
    if args.raw:
        sys.stdout.buffer.write(raw)
    else:
        from buildlib.cli.listing import print_json

        print_json(_parsed(raw))
    return 0


def _find(store: Store, args: Arguments) -> Struct:
    from buildlib.cli.registry_flags import platform

    name = args.positionals[0]
    if args.type == "image":
        return _image(store.image(name, platform(args)), name)
    try:
        return _container(store.container(name))
    except NotFound:
        if "type" in args.given:
            raise
    return _image(store.image(name, platform(args)), name)


def _image(image: Image, name: str) -> Struct:
    from buildlib.cli.document import describe

    return describe(
        config=_parsed(image.config_blob),
        raw_config=image.config_blob.decode(),
        manifest=image.manifest_blob.decode(),
        name=_called(image, name),
        image_id=image.id,
        image_digest=image.digest,
        annotations=dict(image.manifest.annotations),
    )


def _container(container: WorkingContainer) -> Struct:
    from buildlib.cli.document import describe

    base = container.base
    config = container.image_config.evolve(
        history=container.history,
        diff_ids=base.diff_ids if base else (),
        created=base.config.created if base else None,
    )
    return describe(
        config=_parsed(config.encode()),
        raw_config=base.config_blob.decode() if base else "",
        manifest=base.manifest_blob.decode() if base else "",
        name=container.image_name if base else "",
        image_id=container.image_id or "",
        image_digest=base.digest if base else "",
        container=container.name,
        container_id=container.id,
        mount_point=container.mount_point or "",
        annotations=dict(container.state.annotations),
        created_by=container.state.created_by,
        run=container.state.run,
    )


def _called(image: Image, name: str) -> str:
    """The name of the image that was asked for, or another one, or none."""
    names = image.names
    for full in names:
        if full in (name, f"{name}:latest") or full.endswith((f"/{name}", f"/{name}:latest")):
            return full
    return names[0] if names else ""


def _parsed(raw: bytes) -> Any:
    import json

    return json.loads(raw)
