"""Images where they are, without a store: copied from one place to another, looked at, deleted, their tags listed.

Every function that may reach a registry takes an :class:`Access`; without one it uses the logins and settings of this
user (:func:`own_access`).
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from buildlib import transports
from buildlib.content import VerifiedReader
from buildlib.errors import NotFound, TransportError, UsageError
from buildlib.events import silent
from buildlib.oci import Index, Manifest, Platform, Reference, mediatype
from buildlib.oci.document import MAX_BYTES
from buildlib.oci.value import field, frozen
from buildlib.policy import admit
from buildlib.registry.access import Access
from buildlib.transports.copy import copy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from buildlib.events import Sink
    from buildlib.oci import Descriptor, ImageConfig
    from buildlib.transports import ImageSource
    from buildlib.transports.registry import RegistrySource


def own_access() -> Access:
    """What this user brings to registries: the environment and the files that it names are read."""
    return Access.from_environment(os.environ, os.getuid())


def copy_image(
    source: str,
    destination: str,
    *,
    source_access: Access | None = None,
    destination_access: Access | None = None,
    source_options: Mapping[str, Any] | None = None,
    destination_options: Mapping[str, Any] | None = None,
    tmp: str | None = None,
    progress: Sink = silent,
    **options: Any,
) -> Descriptor:
    """Copy an image from one ``transport:…`` to another; return the descriptor of what was written.

    ``options`` are those of :func:`buildlib.transports.copy.copy` (``platform``, ``multi_arch``, ``names``, ``format``,
    ``compression``, ``level``, ``preserve_digests``, ``parallel``), ``source_options`` and ``destination_options`` the
    transports' own. Nothing becomes visible at the destination before all of it is there. Raises
    :class:`TransportError`, :class:`NotFound`, :class:`DigestMismatch`.
    """
    transports.check(destination)
    arriving = dict(destination_options or {})
    with closing(open_source(source, source_access, tmp, **(source_options or {}))) as opened:
        opened.resolve()
        admit(opened, source, os.environ, os.geteuid())
        if destination.startswith("docker://"):
            arriving["access"] = destination_access or own_access()
            arriving["mount_from"] = _beside(opened, destination)
        with transports.writing(transports.destination(destination, tmp=tmp, **arriving)) as target:
            return copy(opened, target, progress=progress, **options)


def open_source(name: str, access: Access | None, tmp: str | None = None, **options: Any) -> ImageSource:
    """The source that ``transport:…`` names. Raises :class:`UsageError` for a bare name."""
    if name.startswith("docker://"):
        access = access or own_access()
    return transports.source(name, access=access, tmp=tmp, **options)


def _beside(source: ImageSource, destination: str) -> Any:
    """From where the destination's registry may take blobs, if the image lies in the same registry."""
    source.resolve()
    there = getattr(source, "reference", None)
    wanted = Reference.parse(destination.removeprefix("docker://"))
    if not isinstance(there, Reference) or not source.name.startswith("docker://") or there.registry != wanted.registry:
        return None
    repository = there.repository
    return lambda digest: (repository,)


# --- looking ----------------------------------------------------------------------------------------------------------


@frozen
class Inspected:
    """What an image is, read without its layers."""

    name: str
    """The repository with its registry, where the image is in one; else empty."""
    raw: bytes = field(repr=False)
    """The topmost document: a manifest, or an index."""
    descriptor: Descriptor
    """Of the topmost document."""
    manifest: Manifest
    """Of the image for the wanted platform."""
    raw_config: bytes = field(repr=False)
    tags: tuple[str, ...] | None = None
    """All tags of the repository, where they were asked for."""

    @property
    def config(self) -> ImageConfig:
        """The image's config."""
        from buildlib.oci import ImageConfig

        return ImageConfig.parse(self.raw_config)


def inspect_image(
    name: str,
    *,
    access: Access | None = None,
    platform: Platform | None = None,
    tags: bool = False,
    tmp: str | None = None,
    **options: Any,
) -> Inspected:
    """Look at the image that ``transport:…`` names: its documents and its config are read, nothing else.

    ``tags`` lists all tags of its repository as well, which may be many. ``options`` are the transport's own.
    """
    with closing(open_source(name, access, tmp, **options)) as source:
        root = source.resolve()
        raw = _read(source, root)
        entry, document = root, raw
        for _ in range(4):
            if not mediatype.is_index(entry.media_type):
                break
            entry = Index.parse(document, entry.media_type).select(platform or Platform.host())
            document = _read(source, entry)
        manifest = Manifest.parse(document, entry.media_type)
        config = _read(source, manifest.config)
        listed, called = None, ""
        if name.startswith("docker://"):
            registry: RegistrySource = source  # type: ignore[assignment]
            called = registry.reference.name
            listed = tuple(registry.client.tags(registry.repository)) if tags else None
        return Inspected(called, raw, root, manifest, config, listed)


def read_document(name: str, *, access: Access | None = None, tmp: str | None = None, **options: Any) -> bytes:
    """The bytes of the topmost document of an image: a manifest, or an index."""
    with closing(open_source(name, access, tmp, **options)) as source:
        return _read(source, source.resolve())


def _read(source: ImageSource, descriptor: Descriptor) -> bytes:
    if descriptor.size > MAX_BYTES:
        raise TransportError(f"{source.name}: a document of {descriptor.size} bytes, more than the {MAX_BYTES} allowed")
    with VerifiedReader(source.open(descriptor), descriptor.digest, descriptor.size) as reader:
        return reader.readall()


def list_tags(name: str, *, access: Access | None = None, tmp: str | None = None) -> tuple[str, ...]:
    """All tags of the repository that ``docker://…`` names, or the names of the images in a layout or an archive."""
    if not name.startswith("docker://"):
        return tuple(tag for entry in list_images(name, tmp=tmp) for tag in entry)
    reference, access = _repository(name), access or own_access()
    failure: Exception | None = None
    for candidate in access.configuration.candidates(reference):
        endpoint = access.configuration.endpoints(candidate)[-1]
        try:
            return tuple(access.client(endpoint).tags(endpoint.reference.repository))
        except (NotFound, TransportError) as error:
            failure = error
    assert failure is not None
    raise failure


def _repository(name: str) -> str:
    """The repository in ``docker://…``, which must have no tag and no digest."""
    text = name.removeprefix("docker://")
    reference = Reference.parse(text)
    if reference.tag or reference.digest:
        raise UsageError(f"{name}: a repository is wanted, without tag or digest", hint=f"write {reference.name}")
    return text


def list_images(name: str, *, tmp: str | None = None) -> tuple[tuple[str, ...], ...]:
    """The names of each image in a layout or an archive, in its order; an image may have none."""
    transport, rest = transports.parse(name) or ("", "")
    if transport not in ("oci", "oci-archive", "docker-archive"):
        raise UsageError(f"{name}: has no list of images", hint="docker://, oci:, oci-archive:, docker-archive: have")
    path = rest.partition(":")[0]
    try:
        with closing(transports.source(f"{transport}:{path}:@0", tmp=tmp)) as source:
            entries: Sequence[Any] = source.images  # type: ignore[attr-defined]
            return tuple(tuple(entry.names) for entry in entries)
    except NotFound as error:
        if error.kind == "image" and error.name == "@0":
            return ()
        raise


# --- deleting ---------------------------------------------------------------------------------------------------------


def delete_image(
    name: str, *, access: Access | None = None, all_tags: bool = False, tmp: str | None = None, **options: Any
) -> tuple[str, ...]:
    """Delete an image from where ``transport:…`` says; return the names that are gone.

    Of ``docker://host/name:tag`` the tag alone is deleted where the registry can do that (OCI distribution 1.1). Where
    it can delete by digest only, all tags of that image would go: that is done if there is no other, or with
    ``all_tags``; else it raises :class:`UsageError`. By digest the image is deleted with all its tags.
    """
    if not name.startswith("docker://"):
        return transports.delete(name, access=access, tmp=tmp, **options)
    access = access or own_access()
    reference = Reference.parse(name.removeprefix("docker://"), default_tag="latest")
    endpoint = access.configuration.endpoints(reference)[-1]
    repository = endpoint.reference.repository
    client = access.client(endpoint, writing=True)
    if reference.digest:
        client.delete_manifest(repository, reference.digest)
        return (str(reference),)
    assert reference.tag is not None
    digest = client.manifest_digest(repository, reference.tag)
    if digest is None:
        raise NotFound(f"{reference}: not in the registry", kind="image", name=str(reference))
    if not all_tags and _tag_alone(client, repository, reference.tag):
        return (str(reference),)
    gone = [tag for tag in _same(client, repository, digest) if tag != reference.tag]
    if gone and not all_tags:
        raise UsageError(
            f"{reference}: this registry deletes only by digest, and {', '.join(gone[:5])} is the same image",
            hint="say that all its tags shall go (--all-tags), or delete the image by its digest",
        )
    client.delete_manifest(repository, digest)
    return tuple(str(reference.with_tag(tag)) for tag in (reference.tag, *gone))


def _tag_alone(client: Any, repository: str, tag: str) -> bool:
    """Delete a tag and nothing else; False where the registry can't."""
    try:
        client.delete_manifest(repository, tag)
    except TransportError as error:
        if error.status in (400, 404, 405, 501):
            return False
        raise
    except NotFound:  # an older registry looks for a manifest of that digest
        return False
    return True


def _same(client: Any, repository: str, digest: str) -> list[str]:
    """The tags that mean the image ``digest``."""
    from concurrent.futures import ThreadPoolExecutor

    tags = list(client.tags(repository))
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(lambda tag: client.manifest_digest(repository, tag), tags)
        return [tag for tag, found in zip(tags, digests, strict=True) if found == digest]
