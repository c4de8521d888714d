"""``buildlib list-tags``: the tags of a repository, or the names in an archive."""

from __future__ import annotations

from buildlib.cli.flags import Verb
from buildlib.cli.registry_flags import RETRY_FLAGS, place_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "list-tags",
    "List the tags of a repository, or the names in an archive or a layout",
    accepts="REPOSITORY",
    positionals=(1, 1),
    missing="exactly one repository must be specified",
    example="buildlib list-tags docker://docker.io/library/debian",
    details="REPOSITORY is docker://HOST/NAME, docker-archive:FILE, oci-archive:FILE or oci:DIR.",
    flags=(*RETRY_FLAGS, *place_flags()),
)


def run(args: Arguments) -> int:
    """Print the list as skopeo does."""
    from buildlib import list_tags
    from buildlib.cli.listing import print_json
    from buildlib.cli.many import NO_IMAGE, each
    from buildlib.cli.registry_flags import place_access

    def show(name: str) -> None:
        remote = name.startswith("docker://")
        tags = list(list_tags(name, access=place_access(args) if remote else None))
        print_json({"Repository": _repository(name), "Tags": tags} if remote else {"Tags": tags})

    return each(args.positionals, show, missing=NO_IMAGE)


def _repository(name: str) -> str:
    from buildlib import Reference

    return Reference.parse(name.removeprefix("docker://")).name
