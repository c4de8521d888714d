"""``buildlib manifest inspect``: shows a manifest or an index, of the store or from elsewhere."""

from __future__ import annotations

from buildlib.cli.flags import Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "manifest inspect",
    "Display an image index, or the manifest of an image",
    accepts="NAME",
    positionals=(1, 1),
    missing="a name must be specified",
    example="buildlib manifest inspect localhost/site:1.2\nbuildlib manifest inspect docker://debian",
    details="A name that means nothing in the store is looked for in registries.",
    flags=REGISTRY_FLAGS,
)


def run(args: Arguments) -> int:
    """Print the document with four spaces."""
    import json

    from buildlib.cli.listing import print_json

    print_json(json.loads(_document(args)))
    return 0


def _document(args: Arguments) -> bytes:
    from buildlib import read_document
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to, has_transport
    from buildlib.errors import NotFound

    name = args.positionals[0]
    if not has_transport(name):
        with open_store(args) as store:
            try:
                found = store.find(name)
            except NotFound:
                name = f"docker://{name}"
            else:
                return store.blobs.read(found.digest)
    return read_document(name, **access_to(args, name))
