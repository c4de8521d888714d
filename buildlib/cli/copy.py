"""``buildlib copy``, and what ``add`` shares with it."""

from __future__ import annotations

import os

from buildlib.cli.copy_image import IMAGE_FLAGS
from buildlib.cli.flags import BOOL, LIST, NUMBER, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS, has_transport
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Store
    from buildlib.cli.flags import Arguments

COPY_FLAGS = (
    Flag("add-history", "note this in the history of the image", kind=BOOL, env="BUILDAH_HISTORY"),
    Flag("allow-empty-wildcard", "a pattern may match nothing", kind=BOOL),
    Flag("allow-wildcard", "with =false names of sources are no patterns", kind=BOOL, default=True),
    Flag("blob-cache", "accepted; the store keeps blobs", metavar="DIR", no_op=True, hidden=True),
    Flag("chmod", "permissions of what is copied, as 0644 or u=rwX,go=rX", metavar="MODE"),
    Flag("chown", "owner of what is copied, names are looked up in the container", metavar="USER[:GROUP]"),
    Flag("contextdir", "folder that the sources lie in", metavar="DIR"),
    Flag("exclude", "leave out what matches this pattern", kind=LIST, metavar="PATTERN"),
    Flag("from", "a container or an image that the sources lie in", metavar="NAME"),
    Flag("ignorefile", "file with patterns of what to leave out", metavar="FILE"),
    Flag("link", "into an empty root that is put on top, so that no link of the container is followed", kind=BOOL),
    Flag("no-follow-symlinks", "a source that is a symbolic link is copied as a link", kind=BOOL),
    Flag("quiet", "do not tell how it goes on; of files nothing is printed anyway", short="q", kind=BOOL),
    Flag("timestamp", "the time of the copied files, in seconds", kind=NUMBER, metavar="SECONDS"),
)
_PULL_FLAGS = tuple(flag for flag in REGISTRY_FLAGS if flag.name in ("cert-dir", "creds", "retry", "retry-delay"))
"""For the image of ``--from``; other such flags of ``copy`` are those of skopeo."""

_OWN_FLAGS = (*COPY_FLAGS, Flag("parents", "keep the folders of the sources' names", kind=BOOL), *_PULL_FLAGS)
_BOTH = {"quiet", "tls_verify", "authfile", "retry_delay"}

VERB = Verb(
    "copy",
    "Copy files into a working container, or an image from one place to another",
    accepts="CONTAINER SOURCE... [DESTINATION] | IMAGE DESTINATION",
    positionals=(2, None),
    missing="a container and what to copy, or two images, must be specified",
    example="buildlib copy --chown www-data debian-working-container site/ /srv/site\n"
    "buildlib copy --all docker://quay.io/team/site:1 docker://localhost:5000/site:1\n"
    "buildlib copy docker://debian oci:layout:debian",
    details="A folder copies its contents. Without DESTINATION the working directory of the container is meant.\n"
    "When the first argument begins with a transport (docker://, oci:, oci-archive:, docker-archive:, dir:,\n"
    "docker-daemon:, containers-storage:, tarball:), an image is copied, as by skopeo and with its flags; it\n"
    "passes through no store. Then flags that are for files are refused, and the other way round.",
    flags=(
        *_OWN_FLAGS,
        Flag("tls-verify", "require HTTPS and verify certificates", kind=BOOL, default=True),
        *IMAGE_FLAGS,
    ),
)


def run(args: Arguments) -> int:
    """Copy files, or an image."""
    image = has_transport(args.positionals[0])
    _refuse(args, _OWN_FLAGS if image else IMAGE_FLAGS, "files" if image else "images")
    if image:
        from buildlib.cli.copy_image import run as run_image

        if len(args.positionals) != 2:
            raise UsageError("an image is copied to one destination", hint=f"buildlib copy {args.positionals[0]} oci:x")
        return run_image(args)
    return transfer(args, "copy", parents=args.parents)


def _refuse(args: Arguments, flags: tuple[Flag, ...], what: str) -> None:
    """Refuse flags that mean nothing for what is copied."""
    for flag in flags:
        if flag.key in args.given and flag.key not in _BOTH and not flag.env and not flag.no_op:
            raise UsageError(f"--{flag.name} is for copying {what}")


def transfer(args: Arguments, method: str, **options: Any) -> int:
    """Call ``container.copy`` or ``container.add`` as the flags say."""
    from buildlib.cli.place import open_store

    name, *sources = args.positionals
    destination = sources.pop() if len(sources) > 1 else "."
    if args.contextdir is not None:
        sources = [_within(source, args.contextdir) for source in sources]
    if not args.allow_wildcard:
        sources = [_literal(source) for source in sources]
    with open_store(args) as store:
        container = store.container(name)
        getattr(container, method)(
            *sources,
            dest=destination,
            context=args.contextdir,
            from_=_origin(store, args),
            chown=args.chown,
            chmod=args.chmod,
            exclude=args.exclude,
            ignore=_ignored(args),
            link=args.link,
            empty_wildcard=args.allow_empty_wildcard,
            follow_links=not args.no_follow_symlinks,
            keep_setuid=True,
            timestamp=args.timestamp,
            created_by=_history(args, method) if args.add_history else None,
            **options,
        )
    return 0


def _origin(store: Store, args: Arguments) -> Any:
    """The container or image of ``--from``; an image that is not here is pulled, as with buildah."""
    from buildlib.cli.registry_flags import access_to
    from buildlib.errors import NotFound

    name = args.values["from"]
    if name is None:
        return None
    for find in (store.container, store.image):
        try:
            return find(name)
        except NotFound:
            pass
    from buildlib.cli.progress import Progress

    with Progress(args.quiet) as progress:
        return store.pull(name, progress=progress, **access_to(args, name))


def _literal(source: str) -> str:
    """``source`` as a pattern that means only itself."""
    return "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in source)


def _within(source: str, context: str) -> str:
    """A source as seen from the context: an absolute one may name the context, too, as with buildah."""
    top = os.path.abspath(context)
    return os.path.relpath(source, top) if f"{source}/".startswith(f"{top}/") else source


def _ignored(args: Arguments) -> Any:
    """The patterns of ``--ignorefile``, or of the ignore file in ``--contextdir``; else none, as with buildah."""
    from buildlib import IgnorePatterns

    path = args.ignorefile
    if path is None and args.contextdir is not None:
        candidates = (f"{args.contextdir}/{name}" for name in (".containerignore", ".dockerignore"))
        path = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
    if path is None:
        return ()
    with open(path, "rb") as file:
        return IgnorePatterns.parse(file.read(), source=path)


def _history(args: Arguments, method: str) -> str:
    return f"/bin/sh -c #(nop) {method.upper()} {' '.join(args.positionals[1:])}"
