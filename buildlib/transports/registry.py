"""``docker://host/repository[:tag|@digest]``: images in a registry. The endpoints are the client's business."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from buildlib.errors import BuildlibError, NotFound, TransportError, UsageError
from buildlib.oci import mediatype
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.reference import Reference
from buildlib.registry.access import Access
from buildlib.transports import Form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildlib.content import Readable
    from buildlib.oci.index import Index
    from buildlib.oci.manifest import Manifest
    from buildlib.registry.client import RegistryClient
    from buildlib.transports import Blob

    Neighbours = Callable[[str], Sequence[str]]

SMALL = 1 << 20
"""Bytes: a blob that is not larger is sent in one request."""


def source(rest: str, *, access: Access | None = None, tmp: str | None = None) -> RegistrySource:
    """The image ``//name``; a short name is searched as registries.conf says."""
    return RegistrySource(_name(rest), access or Access())


def destination(
    rest: str, *, access: Access | None = None, tmp: str | None = None, mount_from: Neighbours | None = None
) -> RegistryDestination:
    """The place ``//name``. ``mount_from(digest)`` names repositories of the registry that may have a blob already."""
    return RegistryDestination(Reference.parse(_name(rest), default_tag="latest"), access or Access(), mount_from)


def _name(rest: str) -> str:
    if not rest.startswith("//") or len(rest) == 2:
        raise UsageError(f"'docker:{rest}' names no image", hint="write docker://HOST/REPOSITORY:TAG")
    return rest[2:]


class RegistrySource:
    """One image of a registry, or of the first of its mirrors that has it. Manifests are remembered."""

    def __init__(self, name: str, access: Access) -> None:
        self.name = f"docker://{name}"
        self.candidates = [
            (found.with_tag("latest") if not found.tag and not found.digest else found)
            for found in access.configuration.candidates(name)
        ]
        self._access = access
        self._documents: dict[str, bytes] = {}
        self._root: Descriptor | None = None
        self._client: RegistryClient | None = None
        self.reference = self.candidates[0]
        """What was found, as the user calls it; before :meth:`resolve`, what is tried first."""
        self._there = self.reference

    @property
    def client(self) -> RegistryClient:
        """The client of the registry that has the image."""
        if self._client is None:
            self.resolve()
        assert self._client is not None
        return self._client

    @property
    def repository(self) -> str:
        """The image's repository as that registry calls it."""
        return self._there.repository

    def resolve(self) -> Descriptor:
        """The manifest or index behind the name, from the first endpoint that has it."""
        if self._root is not None:
            return self._root
        failures: list[tuple[BuildlibError, bool]] = []
        for candidate in self.candidates:
            for endpoint in self._access.configuration.endpoints(candidate):
                there = endpoint.reference
                try:
                    client = self._access.client(endpoint)
                    fetched = client.manifest(there.repository, str(there.digest or there.tag))
                except (NotFound, TransportError) as error:
                    failures.append((error, endpoint.mirror))
                    continue
                self._client, self._there, self.reference = client, there, candidate
                media_type = mediatype_of(fetched.raw, fetched.media_type)
                self._documents[fetched.digest] = fetched.raw
                self._root = Descriptor(media_type, fetched.digest, len(fetched.raw))
                return self._root
        raise self._failure(failures)

    def _failure(self, failures: list[tuple[BuildlibError, bool]]) -> BuildlibError:
        """What is to be said when nobody had the image. What a mirror lacks, or that it is down, decides nothing."""
        if len(failures) == 1:
            return failures[0][0]
        own = [error for error, mirror in failures if not mirror]
        tried = "; ".join(error.message for error, _ in failures)
        if all(isinstance(error, NotFound) for error in own):
            return NotFound(f"{self.name}: {tried}", hint=own[-1].hint, kind="image", name=self.name)
        last = next(error for error in reversed(own) if isinstance(error, TransportError))
        return TransportError(f"{self.name}: {tried}", hint=last.hint, status=last.status)

    def open(self, descriptor: Descriptor) -> Readable:
        """A document, or a blob as a stream that resumes after a broken connection."""
        if mediatype.is_manifest(descriptor.media_type) or mediatype.is_index(descriptor.media_type):
            if descriptor.digest not in self._documents:
                fetched = self.client.manifest(self.repository, descriptor.digest)
                self._documents[descriptor.digest] = fetched.raw
            return io.BytesIO(self._documents[descriptor.digest])
        return self.client.blob(self.repository, descriptor.digest, descriptor.size)

    def close(self) -> None:
        """Nothing is left to do: connections belong to the access."""


class RegistryDestination:
    """A repository of a registry that takes images. Blobs are uploaded from several threads."""

    form = Form(compression="compress")

    def __init__(self, reference: Reference, access: Access, mount_from: Neighbours | None = None) -> None:
        self.name = f"docker://{reference}"
        self.reference = reference
        self.present: dict[str, int] = {}
        """The blobs that the repository was found to have, or got, with their sizes."""
        endpoint = access.configuration.endpoints(reference)[-1]  # the place itself: mirrors are only read
        self.repository = endpoint.reference.repository
        self.client = access.client(endpoint, writing=True)
        self._mount_from = mount_from
        self._begun: dict[str, str] = {}
        """Uploads that a registry began when it was asked to mount, by digest."""

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has the blob, if need be by mounting it from a repository beside it."""
        found = self.client.has_blob(self.repository, descriptor.digest) in (descriptor.size, -1)
        if found or self._mount(descriptor.digest):
            self.present[descriptor.digest] = descriptor.size
            return True
        return False

    def _mount(self, digest: str) -> bool:
        for place in self._mount_from(digest) if self._mount_from is not None else ():
            if place == self.repository:
                continue
            location = self.client.mount(self.repository, digest, place)
            if location is None:
                return True
            if location:  # it does not mount from there: what it began is used for the upload, so ask no more
                self._begun[digest] = location
                break
        return False

    def push(self, blob: Blob) -> None:
        """Stream a blob; after a broken connection only what is missing is sent again."""
        location = self._begun.pop(blob.digest, None) if blob.digest else None
        if blob.digest and blob.size is not None and blob.size <= SMALL:
            with blob.open() as reader:
                data = reader.readall()
            self.client.put_blob(self.repository, blob.digest, data, location)
            self.present[blob.digest] = blob.size
            return
        upload = self.client.upload(self.repository, blob.open, blob.size, location)
        try:
            upload.send()
            upload.finish(blob.descriptor.digest)
        except BaseException:
            upload.cancel()
            raise
        self.present[blob.descriptor.digest] = blob.descriptor.size

    def put(self, document: Manifest | Index) -> None:
        """Store a document under its digest."""
        self._store(document, document.digest)

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Store the topmost document under its tag: from here on it is pulled by that name."""
        references = [Reference.parse(name, default_tag="latest") for name in names] or [self.reference]
        for reference in references:
            if reference.digest and reference.digest != document.digest:
                raise TransportError(
                    f"docker://{reference}: the image to store has the digest {document.digest}",
                    hint="push to a tag; a digest is what the content makes it",
                )
            self._store(document, reference.tag or document.digest)

    def _store(self, document: Manifest | Index, reference: str) -> None:
        media_type = document.descriptor.media_type
        reply = self.client.put_manifest(self.repository, reference, document.raw, media_type)
        subject = json.loads(document.raw).get("subject")
        if subject and not reply.headers.get("oci-subject"):
            self.client.add_referrer(self.repository, subject["digest"], document.raw, media_type)

    def close(self) -> None:
        """Nothing is left to do: connections belong to the access."""

    def abort(self) -> None:
        """Nothing is left to do: a tag was not set, and blobs without a manifest go by themselves."""


def mediatype_of(raw: bytes, told: str) -> str:
    """The media type of a manifest: what it says itself, else what the registry told."""
    try:
        own = json.loads(raw).get("mediaType")
    except (ValueError, AttributeError):
        own = None
    return own if isinstance(own, str) and own else told
