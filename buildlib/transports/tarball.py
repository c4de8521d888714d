"""``tarball:path``: a root file system in a plain or compressed tar, as an image of one layer. It can only be read.

The image is a function of the file's content and the machine's architecture: it has no times.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from buildlib.content import VerifiedReader
from buildlib.errors import NotFound, TransportError
from buildlib.oci import mediatype
from buildlib.oci.config import History, ImageConfig
from buildlib.oci.descriptor import Descriptor
from buildlib.oci.manifest import Manifest
from buildlib.oci.platform import Platform
from buildlib.transports.archive import Slice, compression_at, seekable

if TYPE_CHECKING:
    from buildlib.content import Readable


def source(rest: str, *, tmp: str | None = None) -> TarballSource:
    """The image made of the tar at ``rest``, which may be a pipe; it is read once to know its digests."""
    return TarballSource(rest, tmp)


class TarballSource:
    """The tar is not checked beyond its compression: whoever unpacks the layer does that."""

    def __init__(self, path: str, tmp: str | None = None) -> None:
        self.name = f"tarball:{path}"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no file {path}", kind="archive", name=path) from None
        except OSError as error:
            raise TransportError(f"{path}: {error.strerror}") from error
        if os.path.isdir(path):
            self.close()
            raise TransportError(f"{path}: is a folder, not a tar")
        try:
            fd, self._fd = self._fd, -1
            self._fd = seekable(fd, path, tmp)
            self._size = os.fstat(self._fd).st_size
            self._compression = compression_at(self._fd)
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        from buildlib.transports.packing import unpacked

        outer = VerifiedReader(self._whole(), size=self._size, name=self.name)
        inner = outer if self._compression == "none" else VerifiedReader(unpacked(outer), name=self.name)
        tar = inner.finish()
        if self._compression in ("gzip", "zstd"):
            self._layer = Descriptor(mediatype.layer(self._compression), *outer.finish())
        else:  # no media type names bzip2 and xz: the image has the tar that is in it
            self._layer = Descriptor(mediatype.OCI_LAYER, *tar)
        platform = Platform.host()
        config = ImageConfig(
            platform.architecture,
            platform.os,
            variant=platform.variant,
            diff_ids=(tar.digest,),
            history=(History(created_by="tarball"),),
        )
        manifest = Manifest.build(config.descriptor(), [self._layer])
        self._documents = {config.digest: config.encode(), manifest.digest: manifest.raw}
        self._root = manifest.descriptor

    def _whole(self) -> Slice:
        return Slice(self._fd, 0, self._size)

    def resolve(self) -> Descriptor:
        """The manifest that was made up."""
        return self._root

    def open(self, descriptor: Descriptor) -> Readable:
        """The content of a descriptor of that manifest."""
        from buildlib.transports.packing import unpacked

        if descriptor.digest in self._documents:
            return io.BytesIO(self._documents[descriptor.digest])
        if descriptor.digest != self._layer.digest:
            raise NotFound(f"{self.name}: no {descriptor.digest}", kind="blob", name=str(descriptor.digest))
        return unpacked(self._whole()) if self._compression in ("bzip2", "xz") else self._whole()

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
