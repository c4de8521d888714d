"""``buildlib from``: makes a working container."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, Flag, Verb
from buildlib.cli.registry_flags import PLATFORM_FLAGS, REGISTRY_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "from",
    "Create a working container based on an image",
    accepts="IMAGE",
    positionals=(1, 1),
    missing='an image name (or "scratch") must be specified',
    example="ctr=$(buildlib from --name base oci:layout:app)\nbuildlib from tarball:rootfs.tar",
    details="Prints the name of the container. IMAGE is a name or id from `buildlib images`, scratch, or a\n"
    "transport: docker://, oci:, oci-archive:, docker-archive:, dir:, or tarball: for a root file system.",
    flags=(
        Flag("add-host", "a custom host-to-IP mapping", kind=EACH, metavar="HOST:IP", later=True),
        Flag("cap-add", "a capability for the commands that run", kind=LIST, metavar="CAP", later=True),
        Flag("cap-drop", "take a capability away", kind=LIST, metavar="CAP", later=True),
        Flag("cidfile", "write the id of the container to this file", metavar="FILE"),
        Flag("format", "format of the image to be: oci or docker", short="f", default="oci", env="BUILDAH_FORMAT"),
        Flag("isolation", "accepted; there is one kind", metavar="KIND", env="BUILDAH_ISOLATION", no_op=True),
        Flag("name", "name of the container", metavar="NAME"),
        Flag("network", "network of the commands that run: host or none", metavar="NETWORK", later=True),
        Flag("pull", "when to fetch the image: always, missing, never or newer", default="missing", bare="true"),
        Flag("quiet", "do not tell how the fetching goes on", short="q", kind=BOOL),
        Flag("volume", "a folder of the host for the commands that run", short="v", kind=EACH, later=True),
        *PLATFORM_FLAGS,
        *REGISTRY_FLAGS,
    ),
)

_PULL = {"": "missing", "true": "missing", "false": "missing", "ifmissing": "missing", "ifnewer": "newer"}
_POLICIES = ("always", "missing", "never", "newer")


def pull_policy(word: str) -> str:
    """One of the four policies, from any of the words that buildah takes."""
    policy = _PULL.get(word.lower(), word.lower())
    if policy not in _POLICIES:
        raise UsageError(f"unrecognized pull policy {word!r}", hint=f"it is one of {', '.join(_POLICIES)}")
    return policy


def run(args: Arguments) -> int:
    """Make the container and print its name."""
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to_image, platform

    name, policy = args.positionals[0], pull_policy(args.pull)
    if args.format not in ("oci", "docker"):
        raise UsageError(f"unrecognized image type {args.format!r}", hint="the formats are oci and docker")
    with open_store(args) as store:
        container = store.from_image(
            name,
            args.name,
            pull=policy,
            platform=platform(args),
            format=args.format,
            **access_to_image(args, store, name, policy),
        )
        if args.cidfile is not None:
            with open(args.cidfile, "w", encoding="ascii") as file:
                file.write(container.id)
        print(container.name)
    return 0
