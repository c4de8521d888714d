"""``buildlib from``: makes a working container."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, Flag, Verb
from buildlib.cli.registry_flags import PLATFORM_FLAGS, REGISTRY_FLAGS
from buildlib.cli.run_flags import LIMIT_FLAGS, NAMESPACE_FLAGS, RIGHTS_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store, WorkingContainer
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "from",
    "Create a working container based on an image",
    accepts="IMAGE",
    positionals=(1, 1),
    missing='an image name (or "scratch") must be specified',
    example="ctr=$(buildlib from --name base oci:layout:app)\nbuildlib from tarball:rootfs.tar",
    details="How commands are run (limits, namespaces, capabilities, volumes …) is kept for all later `run`s.\n"
    "Prints the name of the container. IMAGE is a name or id from `buildlib images`, scratch, or a\n"
    "transport: docker://, oci:, oci-archive:, docker-archive:, dir:, or tarball: for a root file system. The name\n"
    "of a container makes a second one in the same state.",
    flags=(
        Flag("cidfile", "write the id of the container to this file", metavar="FILE"),
        Flag("format", "format of the image to be: oci or docker", short="f", default="oci", env="BUILDAH_FORMAT"),
        Flag("decryption-key", "key to decrypt with", kind=LIST, later=True),
        Flag("name", "name of the container", metavar="NAME"),
        Flag("pull", "when to fetch the image: always, missing, never or newer", default="missing", bare="true"),
        Flag("pull-always", "the same as --pull=always", kind=BOOL),
        Flag("pull-never", "the same as --pull=never", kind=BOOL),
        Flag("quiet", "do not tell how the fetching goes on", short="q", kind=BOOL),
        Flag("suffix", "end of the name of the container, instead of working-container", metavar="TEXT"),
        Flag("volume", "a folder of the host for commands, SOURCE:TARGET[:ro]", short="v", kind=EACH, metavar="VOLUME"),
        *LIMIT_FLAGS,
        *NAMESPACE_FLAGS,
        *RIGHTS_FLAGS,
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


def _pull_word(args: Arguments) -> str:
    if args.pull_always or args.pull_never:
        return "always" if args.pull_always else "never"
    return str(args.pull)


def _other(store: Store, name: str) -> WorkingContainer | None:
    """The working container of that name, if no image is called so."""
    from buildlib.errors import NotFound

    if store.db.row("SELECT 1 FROM containers WHERE name = ?", (name,)) is None:
        return None
    try:
        store.find(name)
    except NotFound:
        return store.container(name)
    return None


def run(args: Arguments) -> int:
    """Make the container and print its name."""
    from buildlib.cli.configuration import container_defaults
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import access_to_image, platform
    from buildlib.cli.run_flags import run_options

    name, policy = args.positionals[0], pull_policy(_pull_word(args))
    if args.format not in ("oci", "docker"):
        raise UsageError(f"unrecognized image type {args.format!r}", hint="the formats are oci and docker")
    with open_store(args) as store:
        other = _other(store, name)
        container = (
            other.fork(args.name)
            if other is not None
            else store.from_image(
                name,
                args.name,
                pull=policy,
                platform=platform(args),
                format=args.format,
                run=run_options(args, **container_defaults(args)),
                suffix=args.suffix,
                **access_to_image(args, store, name, policy),
            )
        )
        if args.cidfile is not None:
            with open(args.cidfile, "w", encoding="ascii") as file:
                file.write(container.id)
        print(container.name)
    return 0
