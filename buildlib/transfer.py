"""Pulling and pushing: which transport is meant, under which name an image arrives, and what is already here."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from buildlib import transports
from buildlib.errors import InvalidReference, NotFound, TransportError, UsageError, from_os_error
from buildlib.events import silent
from buildlib.exchange import StoreDestination, StoreSource
from buildlib.image import Image
from buildlib.names import LOCAL, near, normalise
from buildlib.oci import History, ImageConfig, Manifest, Platform, Reference
from buildlib.transports.copy import copy
from buildlib.transports.layout import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from buildlib.events import Sink
    from buildlib.oci import Descriptor
    from buildlib.store import Store
    from buildlib.transports import ImageSource

POLICIES = ("missing", "always", "never", "newer")
SCRATCH = "scratch"


def pull(
    store: Store,
    name: str,
    names: Iterable[str] = (),
    platform: Platform | None = None,
    progress: Sink | None = None,
    **options: Any,
) -> Image:
    """See :meth:`Store.pull`. ``options`` are those of the transport, such as ``access`` for registries."""
    name = name if has_transport(name) else f"docker://{name}"
    if name.startswith("tarball:"):
        return _unpack(store, name.partition(":")[2], names)
    destination = StoreDestination(store)
    with transports.writing(destination), closing(transports.source(name, tmp=store.tmp, **options)) as source:
        source.resolve()  # a registry knows only then which of several it is
        called = [normalise(each) for each in names] or names_of(source, name)
        copy(source, destination, platform=platform, names=called, progress=progress or silent)
    return destination.images[0]


def _unpack(store: Store, path: str, names: Iterable[str]) -> Image:
    """A root file system archive as an image of one layer. Its tar is not kept: it can be made anew from the files."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"no file {path}", kind="archive", name=path) from None
    except OSError as error:
        raise from_os_error(error, f"opening {path}") from error
    try:
        with store.lease() as lease:
            layer = store.layers.extract(fd, lease)
            descriptor, host = store.layers.descriptor(layer), Platform.host()
            config = ImageConfig(
                host.architecture,
                host.os,
                variant=host.variant,
                diff_ids=(descriptor.digest,),
                history=(History(created_by="tarball"),),
            )
            manifest = Manifest.build(config.descriptor(), [descriptor])
            return store.add_image(config.encode(), manifest.raw, [layer], names)
    finally:
        os.close(fd)


def push(
    image: Image,
    destination: str | None = None,
    *,
    names: Sequence[str] = (),
    format: str | None = None,
    compression: str | None = None,
    level: int | None = None,
    preserve_digests: bool = False,
    progress: Sink = silent,
    **options: Any,
) -> Descriptor:
    """Copy an image out of the store to ``transport:…`` or a name in a registry, by default its own name.

    A layer that was pulled leaves as the bytes it came as, unless ``compression`` ("none", "gzip", "zstd"; ``level``)
    or ``format`` ("oci", "docker") demands others; ``preserve_digests`` makes that an error. ``names`` are what a
    destination that holds several images shall call it. ``options`` are those of the transport, such as ``access``.
    Returns the descriptor of what was written. Raises :class:`TransportError`, :class:`DigestMismatch` for damage.
    """
    where = destination or image.name
    if where is None:
        raise UsageError(f"image {image.id[:12]} has no name to push it to", hint="name a destination")
    where = where if has_transport(where) else f"docker://{where}"
    with transports.writing(transports.destination(where, tmp=image.store.tmp, **options)) as target:
        return copy(
            StoreSource(image),
            target,
            names=names,
            format=format,
            compression=compression,
            level=level,
            preserve_digests=preserve_digests,
            progress=progress,
        )


def base_image(
    store: Store, image: Image | str, policy: str = "missing", platform: Platform | None = None, **options: Any
) -> tuple[Image | None, str]:
    """The image for a new container, pulled as ``policy`` says, and what it is called; (None, "scratch") for none."""
    if policy not in POLICIES:
        raise UsageError(f"no pull policy {policy!r}", hint=f"there are {', '.join(POLICIES)}")
    if isinstance(image, Image):
        return image, image.name or image.id
    if image in ("", SCRATCH):
        return None, SCRATCH
    if has_transport(image):
        found = pull(store, image, (), platform, **options)
        return found, found.name or image
    here, problem = _here(store, image, platform)
    if problem is not None and (policy == "never" or image.startswith(f"{LOCAL}/")):
        raise problem  # what was built here is in no registry
    if here is None or policy in ("always", "newer"):
        here = _fetch(store, image, platform, here if policy == "newer" else None, options)
    return here, here.name or here.id


def _here(store: Store, name: str, platform: Platform | None) -> tuple[Image | None, NotFound | None]:
    """The image of that name, if it is here and for the wanted platform, else why not."""
    try:
        image = store.image(name, platform)
    except NotFound as error:
        return None, error
    if platform is not None and platform.rank(image.platform) is None:
        what = f"{name!r} is here for {image.platform}, not for {platform}"
        return None, NotFound(what, hint=f"pull it for {platform}", kind="image", name=name)
    return image, None


def _fetch(
    store: Store, name: str, platform: Platform | None, otherwise: Image | None, options: dict[str, Any]
) -> Image:
    try:
        return pull(store, name, (), platform, **options)
    except (NotFound, TransportError) as error:
        if otherwise is not None:
            return otherwise
        hint = f"{near(store.db, name)} (and pulling failed: {error.message})"
        raise NotFound(f"no image is called {name!r}", hint=hint, kind="image", name=name) from error


def has_transport(name: str) -> bool:
    """Whether ``name`` says how to get at the image. ``docker:dind`` does not: it is the name of one, and its tag."""
    parsed = transports.parse(name)
    return parsed is not None and (parsed[0] != "docker" or parsed[1].startswith("//"))


def names_of(source: ImageSource, name: str) -> list[str]:
    """What the image that was chosen from a source is called in the store, if the source tells.

    A full name is kept; the bare tag ``v1`` of an image layout in the folder ``site`` becomes ``localhost/site:v1``.
    """
    reference = getattr(source, "reference", None)
    if isinstance(reference, Reference):
        return [str(reference)]
    path, wanted = split(name.partition(":")[2])
    entries: Sequence[Any] = getattr(source, "images", ())
    if wanted and not wanted.startswith("@"):
        known = [wanted]
    elif wanted:
        known = list(entries[int(wanted[1:])].names)
    else:
        known = list(entries[0].names) if len(entries) == 1 else []
    return [full for each in known if (full := _full_name(each, path))]


def _full_name(name: str, path: str) -> str | None:
    """The reference for what an archive or layout at ``path`` calls an image; None where there is none."""
    folder = os.path.basename(os.path.abspath(path)).split(".")[0].lower()
    within = f"localhost/{folder}:{name}"
    for text in [name, within] if "/" in name or ":" in name else [within]:
        try:
            return normalise(text)
        except InvalidReference:
            continue
    return None
