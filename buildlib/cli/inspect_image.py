"""``buildlib inspect docker://…``: an image where it is, in the shape of skopeo's document."""

from __future__ import annotations

import sys

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.cli.flags import Arguments
    from buildlib.cli.template import Struct


def run(args: Arguments) -> int:
    """Print what was asked for: by default skopeo's summary, as JSON with four spaces."""
    from buildlib.cli.many import NO_IMAGE, each

    if args.raw and args.format:
        raise UsageError("raw output does not support format option")
    return each(args.positionals, lambda name: _show(args, name), missing=NO_IMAGE)


def _show(args: Arguments, name: str) -> None:
    from buildlib import inspect_image, read_document
    from buildlib.cli.registry_flags import place_access, place_options, platform

    access = place_access(args) if name.startswith("docker://") else None
    options = place_options(args, name)
    if args.raw and not args.config:  # whatever it is: an index without an image for this machine, an artifact
        _write(read_document(name, access=access, **options))
        return
    found = inspect_image(name, access=access, platform=platform(args), tags=args.tags, **options)
    if args.raw:
        _write(found.raw_config)
        return
    document = _config(found) if args.config else _summary(found, for_template=bool(args.format))
    if args.format:
        from buildlib.cli.template import Template

        print(Template(args.format).render(document))
    else:
        from buildlib.cli.document import plain
        from buildlib.cli.listing import print_json

        print_json(plain(document))


def _write(raw: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)


def _config(found: Any) -> Struct:
    from buildlib.cli.document import describe

    config = _parsed(found.raw_config)
    described: Struct = describe(config=config)["OCIv1"]
    return described


def _summary(found: Any, *, for_template: bool) -> Struct:
    from buildlib.cli.template import Struct, Time

    config = _parsed(found.raw_config)
    execution = config.get("config") or {}
    layers = [layer.to_dict() for layer in found.manifest.layers]
    return Struct(
        {
            "Name": found.name,
            "Digest": str(found.descriptor.digest),
            "RepoTags": list(found.tags or ()),
            "Created": Time(config["created"]) if config.get("created") else None,
            "DockerVersion": config.get("docker_version") or "",
            "Labels": execution.get("Labels") or ({} if for_template else None),  # nil as Go shows a map, or in JSON
            "Architecture": config.get("architecture") or "",
            "Os": config.get("os") or "",
            "Layers": [layer["digest"] for layer in layers],
            "LayersData": [
                Struct(
                    {
                        "MIMEType": layer["mediaType"],
                        "Digest": layer["digest"],
                        "Size": layer["size"],
                        "Annotations": layer.get("annotations"),
                    }
                )
                for layer in layers
            ],
            "Env": execution.get("Env"),
        },
        ("Name",),
    )


def _parsed(raw: bytes) -> dict[str, Any]:
    import json

    parsed: dict[str, Any] = json.loads(raw)
    return parsed
