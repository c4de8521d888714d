"""``buildlib pull``: copies an image into the store."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import PLATFORM_FLAGS, REGISTRY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "pull",
    "Copy an image into local storage",
    accepts="IMAGE",
    positionals=(1, 1),
    missing="an image name must be specified",
    example="buildlib pull docker-archive:site.tar",
    details="Prints the id of the image. The transports are docker://, oci:, oci-archive:,\n"
    "docker-archive:, dir: and tarball:.",
    flags=(
        Flag("all-tags", "all tagged images of the repository", short="a", kind=BOOL, later=True),
        Flag("policy", "when to fetch: always, missing or never", default="missing", metavar="POLICY"),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("remove-signatures", "do not copy signatures", kind=BOOL, no_op=True),
        *PLATFORM_FLAGS,
        *REGISTRY_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Pull, and print the image's id."""
    from buildlib.cli.from_ import pull_policy
    from buildlib.cli.place import open_store
    from buildlib.cli.progress import sink
    from buildlib.cli.registry_flags import access_to, platform
    from buildlib.errors import NotFound

    name, policy = args.positionals[0], pull_policy(args.policy)
    with open_store(args) as store:
        if policy != "always":
            try:
                print(store.image(name, platform(args)).id)
            except NotFound:
                if policy == "never":
                    raise
            else:
                return 0
        access = access_to(args, name)
        print(store.pull(name, platform=platform(args), progress=sink(args.quiet), **access).id)
    return 0
