"""Source images: layouts that hold what an image was made of, as buildah-source(1) has them. Experimental there, too.

A source image is an OCI artifact: its config is of a media type of its own, and each layer an archive of sources. It
lies in an OCI layout of its own, and travels like any other image.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

from buildlib.errors import FormatError, NameInUse, NotFound, from_os_error
from buildlib.oci import Descriptor, Digest, Manifest, format_time, mediatype

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG = "application/vnd.oci.source.image.config.v1+json"
_GZIP, _BLOCK = b"\x1f\x8b", 1 << 20


def create_source_image(path: str, *, author: str = "", created: float | None = None) -> str:
    """Make an empty source image in the folder ``path``, which must not be there; return the digest of its manifest.

    ``created``: seconds since 1970, None for no time. Raises :class:`NameInUse`.
    """
    if os.path.lexists(path):
        raise NameInUse(f"creating the source image: {path} already exists", kind="path", name=path)
    fields = {"created": format_time(created) if created is not None else None, "author": author}
    config = json.dumps({name: value for name, value in fields.items() if value}, separators=(",", ":")).encode()
    try:
        os.makedirs(f"{path}/blobs/sha256")
        _write(f"{path}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _write(_blob(path, Digest.of(config)), config)
    except OSError as error:
        raise from_os_error(error, f"making the source image {path}") from error
    return _name(path, Manifest.build(Descriptor(CONFIG, Digest.of(config), len(config)), []))


def add_source(path: str, artifact: str, *, annotations: Mapping[str, str] | None = None) -> str:
    """Add a file or folder to the source image in ``path``; return the digest of its new manifest.

    A compressed archive is added as it is, anything else as a compressed archive. Raises :class:`NotFound`,
    :class:`FormatError` when ``path`` holds no source image.
    """
    manifest, old = source_manifest(path), _digest(path)
    try:
        with tempfile.NamedTemporaryFile(dir=f"{path}/blobs/sha256", delete=False) as file:
            try:
                _pack(artifact, file)
                digest, size = _measured(file)
                os.chmod(file.name, 0o644)
                os.rename(file.name, _blob(path, digest))
            except BaseException:
                os.unlink(file.name)
                raise
    except FileNotFoundError:
        raise NotFound(f"there is no {artifact}", kind="path", name=artifact) from None
    except OSError as error:
        raise from_os_error(error, f"adding {artifact} to {path}") from error
    layer = Descriptor(mediatype.OCI_LAYER_GZIP, digest, size, annotations=dict(annotations or {}))
    new = Manifest.build(manifest.config, [*manifest.layers, layer])
    named = _name(path, new)
    if old != new.digest and os.path.exists(_blob(path, old)):
        os.unlink(_blob(path, old))
    return named


def source_manifest(path: str) -> Manifest:
    """The manifest of the source image in ``path``. Raises :class:`NotFound`, :class:`FormatError`."""
    try:
        with open(_blob(path, _digest(path)), "rb") as file:
            raw = file.read()
        document = json.loads(raw)
    except FileNotFoundError:
        raise NotFound(f"{path} is no source image", kind="path", name=path) from None
    except OSError as error:
        raise from_os_error(error, f"reading the source image {path}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise FormatError(f"{path} is no source image: {error}") from error
    if document.get("layers") is None:  # as buildah writes none
        raw = json.dumps({**document, "layers": []}).encode()
    manifest = Manifest.parse(raw)
    if manifest.config.media_type != CONFIG:
        raise FormatError(f"{path} is not a source image: its config is {manifest.config.media_type}")
    return manifest


def _digest(path: str) -> Digest:
    """That of the manifest, as the index has it."""
    with open(f"{path}/index.json", "rb") as file:
        return Digest(json.load(file)["manifests"][0]["digest"])


def _name(path: str, manifest: Manifest) -> str:
    _write(_blob(path, manifest.digest), manifest.raw)
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": len(manifest.raw),
    }
    _write(f"{path}/index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    return str(manifest.digest)


def _blob(path: str, digest: Digest) -> str:
    return f"{path}/blobs/sha256/{digest.hex}"


def _write(path: str, data: bytes) -> None:
    with open(f"{path}.new", "wb") as file:
        file.write(data)
    os.rename(f"{path}.new", path)


def _pack(artifact: str, out: Any) -> None:
    if not os.path.isdir(artifact):
        with open(artifact, "rb") as file:
            if file.peek(2)[:2] == _GZIP and tarfile.is_tarfile(artifact):
                shutil.copyfileobj(file, out, _BLOCK)
                return
    # No name and no time in the header of gzip, entries in order: the same sources give the same blob.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        if not os.path.isdir(artifact):
            tar.add(artifact, os.path.basename(artifact))
            return
        for name in sorted(os.listdir(artifact)):
            tar.add(f"{artifact}/{name}", name)


def _measured(file: Any) -> tuple[Digest, int]:
    file.flush()
    file.seek(0)
    hash = hashlib.sha256()
    while data := file.read(_BLOCK):
        hash.update(data)
    return Digest(f"sha256:{hash.hexdigest()}"), file.tell()
