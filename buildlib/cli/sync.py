"""``buildlib sync``: keeps images in one place as they are in another."""

from __future__ import annotations

from buildlib.cli.copy_image import image_format
from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.cli.registry_flags import PLATFORM_FLAGS, RETRY_FLAGS, place_flags
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.cli.flags import Arguments

FAILED = 1
"""The exit code when some images could not be copied and --keep-going was given."""

VERB = Verb(
    "sync",
    "Keep images in one place as they are in another",
    accepts="SOURCE DESTINATION",
    positionals=(2, 2),
    missing="a source and a destination must be specified",
    example="buildlib sync --src docker --dest dir --scoped quay.io/team/site /media/usb\n"
    "buildlib sync --src dir --dest docker /media/usb registry.example.com\n"
    "buildlib sync --src docker --dest docker --all --delete quay.io/team/site registry.example.com/mirror",
    details="SOURCE is a repository (with all its tags) or an image, a folder of images, or a file in YAML as\n"
    "skopeo-sync(1) describes it; DESTINATION a registry with what names shall begin with, or a folder. What is\n"
    "there already in the same form is not copied. --delete makes it a mirror. Exits with 1 when --keep-going\n"
    "went on after failures.",
    flags=(
        Flag("all", "indexes with all their images", short="a", kind=BOOL),
        Flag("append-suffix", "put this behind each tag at the destination", metavar="SUFFIX"),
        Flag("authfile", "file with logins for registries", metavar="FILE", env="REGISTRY_AUTH_FILE"),
        Flag("delete", "delete what the source does not have", kind=BOOL),
        Flag("dest", "kind of the destination: docker or dir", short="d", metavar="KIND"),
        Flag("dry-run", "only say what would be done", kind=BOOL),
        Flag("format", "type of the manifests: oci or v2s2 (docker)", short="f", metavar="FORMAT"),
        Flag("if-missing", "do not copy to a name that is there, whatever it is", kind=BOOL),
        Flag("keep-going", "go on when an image can't be copied", kind=BOOL),
        Flag("preserve-digests", "fail rather than change a digest", kind=BOOL),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("remove-signatures", "do not copy signatures", kind=BOOL, no_op=True),
        *RETRY_FLAGS,
        Flag("scoped", "names at the destination hold the whole name of the source", kind=BOOL),
        Flag("sign-by", "sign with this key", metavar="FINGERPRINT", later=True),
        Flag("sign-by-sigstore", "sign as this file describes", metavar="FILE", later=True),
        Flag("sign-by-sigstore-private-key", "sign with this key", metavar="FILE", later=True),
        Flag("sign-by-sq-fingerprint", "sign with this key", metavar="FINGERPRINT", later=True),
        Flag("sign-passphrase-file", "passphrase of the key", metavar="FILE", later=True),
        Flag("src", "kind of the source: docker, dir or yaml", short="s", metavar="KIND"),
        *(flag for side in ("src", "dest") for flag in place_flags(side)),
        *PLATFORM_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Sync, and say how much was done."""
    from buildlib import sync_images
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import place_access, platform

    if args.src is None or args.dest is None:
        raise UsageError("--src and --dest must be specified", hint="--src docker, dir or yaml; --dest docker or dir")
    source, destination = args.positionals
    with Progress(args.quiet) as progress:
        report = sync_images(
            source,
            destination,
            source_kind=args.src,
            destination_kind=args.dest,
            source_access=place_access(args, "src"),
            destination_access=place_access(args, "dest"),
            scoped=args.scoped,
            append_suffix=args.append_suffix or "",
            all=args.all,
            if_missing=args.if_missing,
            delete=args.delete,
            dry_run=args.dry_run,
            keep_going=args.keep_going,
            platform=platform(args),
            format=image_format(args.format),
            preserve_digests=args.preserve_digests,
            progress=progress,
        )
    if not args.quiet:
        done = f"{len(report.copied)} copied, {len(report.skipped)} there already, {len(report.deleted)} deleted"
        print(f"{'Would be: ' if args.dry_run else ''}{done}, {len(report.failed)} failed")
    return FAILED if report.failed else 0
