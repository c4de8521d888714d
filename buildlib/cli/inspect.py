"""``buildlib inspect``: everything about a container or an image, in one document."""

from __future__ import annotations

import sys

from buildlib.cli.flags import Flag, Verb
from buildlib.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Image, Store, WorkingContainer
    from buildlib.cli.flags import Arguments
    from buildlib.cli.template import Struct

VERB = Verb(
    "inspect",
    "Inspect the configuration of a container or image",
    accepts="NAME",
    positionals=(1, 1),
    missing="container or image name must be specified",
    example="buildlib inspect --format '{{.OCIv1.Config.Env}}' localhost/site:1.2",
    flags=(
        Flag("format", "print by this Go template", short="f", metavar="TEMPLATE"),
        Flag("type", "container or image", short="t", default="container", metavar="TYPE"),
    ),
)


def run(args: Arguments) -> int:
    """Print the document as JSON, or by a template without a newline of our own on a pipe."""
    from buildlib.cli.place import open_store

    if args.type not in ("container", "image"):
        raise UsageError('the only recognized types are "container" and "image"')
    with open_store(args) as store:
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


def _find(store: Store, args: Arguments) -> Struct:
    name = args.positionals[0]
    if args.type == "image":
        return _image(store.image(name), name)
    try:
        return _container(store.container(name))
    except NotFound:
        if "type" in args.given:
            raise
    return _image(store.image(name), name)


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
