"""``oci-archive:path[:name]``: an OCI image layout in a tar. It may hold several images.

Read in place, also from a pipe or compressed; written anew each time, so it holds what one destination was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildlib.errors import NotFound, TransportError
from buildlib.oci import mediatype
from buildlib.oci.index import Index
from buildlib.transports import Form, layout
from buildlib.transports.archive import Archive
from buildlib.transports.archive_writer import ArchiveWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.content import Readable
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.manifest import Manifest
    from buildlib.transports import Blob


def source(rest: str, *, tmp: str | None = None) -> layout.LayoutSource:
    """The image of ``path[:name]`` or ``path:@number``; ``tmp`` is for what has to be decompressed first."""
    path, wanted = layout.split(rest)
    files = ArchivedLayout(Archive(path, tmp))
    try:
        return layout.LayoutSource(f"oci-archive:{rest}", files, wanted)
    except BaseException:
        files.close()
        raise


def destination(rest: str, *, tmp: str | None = None) -> OCIArchiveDestination:
    """A new archive at ``path``, in place of one that is there."""
    path, wanted = layout.split(rest)
    return OCIArchiveDestination(path, wanted, tmp)


class ArchivedLayout:
    """The files of a layout in a tar."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def read(self, name: str) -> bytes:
        """A small file of the layout."""
        try:
            return self.archive.read(name)
        except NotFound as error:
            kind = "a docker-archive" if "manifest.json" in self.archive else "no archive of images"
            raise TransportError(f"{error.message}, so this is no oci-archive", hint=f"it looks like {kind}") from None

    def blob(self, descriptor: Descriptor) -> Readable:
        """The content of a blob."""
        return self.archive.open(_member(descriptor.digest.algorithm, descriptor.digest.hex))

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()


class OCIArchiveDestination:
    """Collects images and writes them as one archive when it is closed."""

    form = Form((mediatype.OCI_MANIFEST,), compression="compress", ordered=True)

    def __init__(self, path: str, wanted: str | None, tmp: str | None = None) -> None:
        self.name = f"oci-archive:{path}" + (f":{wanted}" if wanted else "")
        if wanted and wanted.startswith("@"):
            raise TransportError(f"{self.name}: {wanted} is a number to read by, not a name to write to")
        self._wanted = wanted
        self._writer = ArchiveWriter(path, tmp)
        self._index = Index.build(())
        self._writer.add(layout.VERSION_FILE, layout.VERSION)
        self._writer.add_folder("blobs/")
        self._writer.add_folder("blobs/sha256/")

    def has(self, descriptor: Descriptor) -> bool:
        """Whether an image before had the blob too."""
        return _member(descriptor.digest.algorithm, descriptor.digest.hex) in self._writer.names

    def push(self, blob: Blob) -> None:
        """Append a blob."""

        def name() -> str:
            digest = blob.descriptor.digest
            return _member(digest.algorithm, digest.hex)

        with blob.open() as reader:
            self._writer.add_stream(reader, name)

    def put(self, document: Manifest | Index) -> None:
        """Append a document as the blob that it is."""
        self._writer.add(_member("sha256", document.digest.hex), document.raw)

    def finish(self, document: Manifest | Index, names: Sequence[str] = ()) -> None:
        """Note the image for index.json."""
        self.put(document)
        self._index = layout.add(self._index, document, names or ((self._wanted,) if self._wanted else ()))

    def close(self) -> None:
        """Write index.json, and make the archive appear if an image was finished."""
        try:
            if self._index.manifests:
                self._writer.add(layout.INDEX_FILE, self._index.raw)
                self._writer.finish()
        finally:
            self._writer.close()

    def abort(self) -> None:
        """Throw the new archive away."""
        self._writer.close()


def _member(algorithm: str, hexed: str) -> str:
    return f"blobs/{algorithm}/{hexed}"
