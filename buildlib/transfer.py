"""Pulling and pushing: which transport is meant, under which name an image arrives, and what is already here."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from buildlib import transports
from buildlib.archives import find, remember
from buildlib.bases import has_transport
from buildlib.errors import InvalidReference, NotFound, UsageError, from_os_error
from buildlib.events import silent
from buildlib.exchange import StoreDestination, StoreSource
from buildlib.image import Image
from buildlib.names import normalise
from buildlib.oci import History, ImageConfig, Manifest, Platform, Reference
from buildlib.policy import admit
from buildlib.repush import options_key
from buildlib.transports.copy import copy
from buildlib.transports.layout import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from buildlib.ahead import Ahead
    from buildlib.events import Sink
    from buildlib.manifest_list import ManifestList
    from buildlib.oci import Descriptor
    from buildlib.store import Store
    from buildlib.transports import ImageSource


def pull(
    store: Store,
    name: str,
    names: Iterable[str] = (),
    platform: Platform | None = None,
    progress: Sink | None = None,
    **options: Any,
) -> Image:
    """See :meth:`Store.pull`. ``options`` are those of the transport, such as ``access`` for registries."""
    if name.startswith("tarball:"):
        return _unpack(store, name.partition(":")[2], names)
    found = arrive(store, name, names, platform=platform, progress=progress, **options)
    assert isinstance(found, Image)
    return found


def pull_all(
    store: Store,
    name: str,
    names: Iterable[str] = (),
    platforms: Sequence[Platform] = (),
    progress: Sink | None = None,
    **options: Any,
) -> Image | ManifestList:
    """See :meth:`Store.pull_all`."""
    return arrive(store, name, names, multi_arch=platforms or "all", progress=progress, **options)


def arrive(
    store: Store,
    name: str,
    names: Iterable[str] = (),
    *,
    platform: Platform | None = None,
    multi_arch: str | Sequence[Platform] = "system",
    progress: Sink | None = None,
    **options: Any,
) -> Image | ManifestList:
    """Bring an image into the store, or with another ``multi_arch`` (see :func:`copy`) than "system" an index."""
    name = name if has_transport(name) else f"docker://{name}"
    destination = StoreDestination(store, indexes=multi_arch != "system")
    options = _with_access(name, options)
    with transports.writing(destination), closing(transports.source(name, tmp=store.tmp, **options)) as source:
        source.resolve()  # a registry knows only then which of several it is
        admit(source, name, os.environ, os.geteuid())
        called = [normalise(each) for each in names] or names_of(source, name)
        if multi_arch != "system" and not called:
            raise UsageError(f"{name}: an index needs a name", hint="say what it shall be called in the store")
        copy(
            source,
            destination,
            platform=platform,
            multi_arch=multi_arch,
            names=called,
            progress=progress or silent,
        )
    found = destination.list or destination.images[0]
    if name.startswith("docker://"):
        from buildlib.places import note_pulled

        note_pulled(store, source.reference, (found,) if isinstance(found, Image) else found.images)  # type: ignore[attr-defined]
    return found


def _with_access(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """``options`` with the logins and settings of this user where a registry is meant and nothing else was said."""
    access = options.get("access")
    if not name.startswith("docker://"):
        return {key: value for key, value in options.items() if key != "access"}
    if access is not None:
        return {**options, "access": access() if callable(access) else access}
    from buildlib.registry.access import Access

    return {**options, "access": Access.from_environment(os.environ, os.getuid())}


def _unpack(store: Store, path: str, names: Iterable[str]) -> Image:
    """A root file system archive as an image of one layer. Its tar is not kept: it can be made anew from the files."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"no file {path}", kind="archive", name=path) from None
    except OSError as error:
        raise from_os_error(error, f"opening {path}") from error
    try:
        before = os.fstat(fd)
        known = find(store, path)
        if known is not None:
            known.tag(*names)
            return known
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
            image = store.add_image(config.encode(), manifest.raw, [layer], names)
        remember(store, fd, before, image)
        return image
    finally:
        os.close(fd)


def push(
    image: Image | ManifestList,
    destination: str | None = None,
    *,
    names: Sequence[str] = (),
    platform: Platform | None = None,
    multi_arch: str | Sequence[Platform] = "all",
    format: str | None = None,
    compression: str | None = None,
    level: int | None = None,
    preserve_digests: bool = False,
    progress: Sink = silent,
    ahead: Ahead | None = None,
    **options: Any,
) -> Descriptor:
    """Copy an image out of the store to ``transport:…`` or a name in a registry, by default its own name.

    A layer that was pulled leaves as the bytes it came as, unless ``compression`` ("none", "gzip", "zstd"; ``level``)
    or ``format`` ("oci", "docker") demands others; ``preserve_digests`` makes that an error. Of an index all images
    go, or those that ``multi_arch`` and ``platform`` choose as in :func:`buildlib.transports.copy.copy`. ``names`` are
    what a destination that holds several images shall call it. ``options`` are those of the transport; without
    ``access`` (an :class:`Access`, or a function that makes it when it is needed) a registry is reached with this
    user's own logins and settings. ``ahead`` are layers that are being packed already. Returns the descriptor of what
    was written. Raises :class:`TransportError`, :class:`DigestMismatch` for damage.
    """
    where = destination or image.name
    if where is None:
        raise UsageError(f"image {image.id[:12]} has no name to push it to", hint="name a destination")
    where = where if has_transport(where) else f"docker://{where}"
    options = _with_access(where, options)
    if not isinstance(image, Image) and multi_arch == "system":
        image = image.image(platform)
    with closing(StoreSource(image, options.get("access"), ahead)) as source:
        to_registry = where.startswith("docker://")
        if to_registry:
            from buildlib.places import neighbours

            registry = Reference.parse(where.removeprefix("docker://")).registry
            options["mount_from"] = neighbours(image.store, registry, source.origins)
        with transports.writing(transports.destination(where, tmp=image.store.tmp, **options)) as target:
            pushed = copy(
                source,
                target,
                multi_arch=multi_arch,
                names=names,
                format=format,
                compression=compression,
                level=level,
                preserve_digests=preserve_digests,
                progress=progress,
            )
    if to_registry and multi_arch == "all":
        from buildlib.places import note_pushed

        key = options_key(format, compression, level)
        note_pushed(image.store, image, key, target, pushed)  # type: ignore[arg-type]
    return pushed


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
