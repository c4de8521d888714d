"""``dir:path``: one image as plain files in a folder, the way skopeo keeps them. Nothing is converted.

``manifest.json`` is the topmost document, ``<hex>.manifest.json`` each document below an index, ``<hex>`` each blob,
and ``version`` says what it is (containers/image, directory/directory_transport.go).
"""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING

from buildlib.content import ContentStore
from buildlib.errors import FormatError, from_os_error
from buildlib.oci import mediatype
from buildlib.oci.digest import Digest
from buildlib.oci.manifest import parse
from buildlib.transports import Form
from buildlib.transports.oci import HALF_MADE, claim, read_file, sweep, write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.content import Readable
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.index import Index
    from buildlib.oci.manifest import Manifest
    from buildlib.transports import Blob

MANIFEST_FILE = "manifest.json"
VERSION_FILE = "version"
_OURS = re.compile(r"[0-9a-f]{64,128}(\.manifest\.json)?|([0-9a-f]{64,128}\.)?signature-[0-9]+")
VERSION = b"Directory Transport Version: 1.1\n"


def source(rest: str, *, tmp: str | None = None) -> DirectorySource:
    """The image in the folder ``rest``."""
    return DirectorySource(rest)


def destination(rest: str, *, tmp: str | None = None) -> DirectoryDestination:
    """The folder ``rest``, empty, new, or holding such an image, which is replaced."""
    return DirectoryDestination(rest)


class _Flat(ContentStore):
    """Blobs by the hex of their digest alone."""

    def path(self, digest: str) -> str:
        return f"{self.blobs}/{Digest(digest).hex}"


class DirectorySource:
    """Reads the image of a folder."""

    def __init__(self, path: str) -> None:
        self.name = f"dir:{path}"
        self._path = path
        self._content = _Flat(path, blobs=path, tmp=path)
        if os.path.exists(f"{path}/{VERSION_FILE}"):
            version = read_file(f"{path}/{VERSION_FILE}", "dir: image", 256)
            if not version.startswith(b"Directory Transport Version: 1."):
                raise FormatError(f"{path}: unknown {version[:60].decode(errors='replace').strip()!r}")
        raw = read_file(f"{path}/{MANIFEST_FILE}", "dir: image")
        self._root: Manifest | Index = parse(raw)

    def resolve(self) -> Descriptor:
        """The document in manifest.json."""
        return self._root.descriptor

    def open(self, descriptor: Descriptor) -> Readable:
        """The content of a descriptor."""
        if descriptor.digest == self._root.digest:
            return io.BytesIO(self._root.raw)
        if mediatype.is_manifest(descriptor.media_type) or mediatype.is_index(descriptor.media_type):
            return io.BytesIO(read_file(f"{self._path}/{descriptor.digest.hex}.{MANIFEST_FILE}", "dir: image"))
        return self._content.open(descriptor.digest)

    def close(self) -> None:
        """Nothing is kept open."""


class DirectoryDestination:
    """Writes one image into a folder. The old one is gone only when the new one is complete."""

    form = Form()

    def __init__(self, path: str) -> None:
        self.name = f"dir:{path}"
        self._path = path
        self._content = _Flat(path, blobs=path, tmp=path, prefix=HALF_MADE)
        self._kept = {VERSION_FILE, MANIFEST_FILE}
        claim(path, {VERSION_FILE}, "an image that dir: has written")
        sweep(path)
        self._write(VERSION_FILE, VERSION)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the old image in this folder has the blob as well."""
        found = self._content.size(descriptor.digest) == descriptor.size
        if found:
            self._kept.add(descriptor.digest.hex)
        return found

    def push(self, blob: Blob) -> None:
        """Write a blob."""
        with blob.open() as reader:
            self._kept.add(self._content.ingest(reader).digest.hex)

    def put(self, document: Manifest | Index) -> None:
        """Write a document below the topmost one."""
        self._write(f"{document.digest.hex}.{MANIFEST_FILE}", document.raw)

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Write manifest.json, and delete what only the image before needed. A folder has no names."""
        self._write(MANIFEST_FILE, document.raw)
        try:
            for name in set(os.listdir(self._path)) - self._kept:
                if _OURS.fullmatch(name):
                    os.unlink(f"{self._path}/{name}")
        except OSError as error:
            raise from_os_error(error, f"clearing {self._path}") from error

    def _write(self, name: str, data: bytes) -> None:
        self._kept.add(name)
        try:
            write_file(f"{self._path}/{name}", data)
        except OSError as error:
            raise from_os_error(error, f"writing {self._path}/{name}") from error

    def close(self) -> None:
        """Nothing is left to do."""

    def abort(self) -> None:
        """Nothing is left to do: blobs without a name do no harm."""
