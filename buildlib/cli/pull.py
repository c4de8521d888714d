"""``buildlib pull``: copies an image into the store."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, LIST, Flag, Verb
from buildlib.cli.registry_flags import PLATFORM_FLAGS, REGISTRY_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "pull",
    "Copy an image into local storage",
    accepts="IMAGE",
    positionals=(1, 1),
    missing="an image name must be specified",
    example="buildlib pull docker-archive:site.tar\nbuildlib pull --all-platforms quay.io/team/site:1.2",
    details="Prints the id of the image. The transports are docker://, oci:, oci-archive:,\n"
    "docker-archive:, dir: and tarball:. Several --platform make an index of those.",
    flags=(
        Flag("all-platforms", "the image for every platform, under the one name", kind=BOOL),
        Flag("all-tags", "all tagged images of the repository", short="a", kind=BOOL),
        Flag("decryption-key", "key to decrypt with", kind=LIST, later=True),
        Flag("policy", "when to fetch: always, missing or never", default="missing", metavar="POLICY"),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("remove-signatures", "do not copy signatures", kind=BOOL, no_op=True),
        *PLATFORM_FLAGS,
        *REGISTRY_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Pull, and print the ids of what was pulled."""
    from buildlib.cli.from_ import pull_policy
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to

    name, policy = args.positionals[0], pull_policy(args.policy)
    with open_store(args) as store:
        here = _here(store, args, policy)
        if here is not None:
            print(here)
            return 0
        access = access_to(args, name)
        for each in _tags(name, access) if args.all_tags else [name]:
            print(_pull(store, each, args, access))
    return 0


def _here(store: Store, args: Arguments, policy: str) -> str | None:
    """The id of what need not be pulled."""
    from buildlib.cli.registry_flags import platform
    from buildlib.errors import NotFound

    if policy == "always" or args.all_tags:
        return None
    name = args.positionals[0]
    try:
        if args.all_platforms or len(args.platform) > 1:
            return store.manifest_list(name).id
        return store.image(name, platform(args)).id
    except (NotFound, UsageError):
        if policy == "never":
            raise
        return None


def _pull(store: Store, name: str, args: Arguments, access: dict[str, Any]) -> str:
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import platform, platforms

    with Progress(args.quiet) as progress:
        if args.all_platforms or len(args.platform) > 1:
            return store.pull_all(name, platforms=platforms(args), progress=progress, **access).id
        return store.pull(name, platform=platform(args), progress=progress, **access).id


def _tags(name: str, access: dict[str, Any]) -> list[str]:
    """All images of a repository."""
    from buildlib import list_tags

    repository = name.removeprefix("docker://")
    return [f"docker://{repository}:{tag}" for tag in list_tags(f"docker://{repository}", **access)]
