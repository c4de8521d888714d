"""The lists and folders of a store: layers.json, images.json, big data. Fields that are not known here survive."""

from __future__ import annotations

import base64
import json
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen

from buildlib.content import sync_folder
from buildlib.errors import FormatError, TransportError
from buildlib.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    Record = dict[str, Any]

INCOMPLETE = "incomplete"
"""The flag of a layer whose writer is gone or has not finished."""
COMPRESSIONS = {"none": 0, "bzip2": 1, "gzip": 2, "xz": 3, "zstd": 4}
"""Numbers of the field ``compression`` (pkg/archive, Compression)."""
_LIMIT = 256 << 20


@frozen
class Place:
    """The folders of a store, or of a store of other people, with one driver."""

    root: str
    driver: str

    @property
    def layers(self) -> str:
        """The folder of layers.json."""
        return f"{self.root}/{self.driver}-layers"

    @property
    def images(self) -> str:
        """The folder of images.json."""
        return f"{self.root}/{self.driver}-images"

    @property
    def links(self) -> str:
        """The folder of short links to layers (overlay)."""
        return f"{self.root}/overlay/l"

    def folder(self, layer: str) -> str:
        """The folder of a layer."""
        return f"{self.root}/vfs/dir/{layer}" if self.driver == "vfs" else f"{self.root}/overlay/{layer}"

    def files(self, layer: str) -> str:
        """The folder of a layer's own files; for vfs it has those of the layers below as well."""
        return self.folder(layer) if self.driver == "vfs" else f"{self.folder(layer)}/diff"

    def tar_split(self, layer: str) -> str:
        """The file from which the layer's archive is made again."""
        return f"{self.layers}/{layer}.tar-split.gz"

    def big_data(self, image: str, key: str) -> str:
        """A file that belongs to an image."""
        return f"{self.images}/{image}/{big_data_name(key)}"

    def read_layers(self) -> list[Record]:
        """All layers, those of containers too."""
        return [*load(f"{self.layers}/layers.json"), *load(f"{self.layers}/volatile-layers.json")]

    def read_images(self) -> list[Record]:
        """All images."""
        return load(f"{self.images}/images.json")


def load(path: str) -> list[Record]:
    """A list of objects with ids; empty where there is no file. Raises :class:`FormatError`."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TransportError(f"{path}: {error.strerror}", hint="is it the store of another user?") from error
    try:
        found = json.loads(raw) if raw else []
    except ValueError as error:
        raise FormatError(f"{path}: not JSON: {error}", hint="the store is damaged") from None
    if len(raw) > _LIMIT or not isinstance(found, list) or not all(_is_record(each) for each in found):
        raise FormatError(f"{path}: not a list of objects with ids", hint="the store is damaged")
    return found


def _is_record(value: object) -> bool:
    # An id becomes part of paths.
    return isinstance(value, dict) and isinstance(value.get("id"), str) and bool(re.fullmatch(r"[\w-]+", value["id"]))


def save(path: str, records: Iterable[Record], half: str) -> None:
    """Put a list in place, whole and synced; ``half`` is the path of a file for the meantime. Raises ``OSError``."""
    write(path, json.dumps(list(records), separators=(",", ":")).encode(), half)
    sync_folder(os.path.dirname(path))


def write(path: str, data: bytes, half: str) -> None:
    """Put a small file in place. Raises ``OSError``."""
    fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.rename(half, path)


def big_data_name(key: str) -> str:
    """The name of the file for an item: the key itself where it is harmless, else an encoded one."""
    return key if re.fullmatch(r"[.0-9a-z]+", key) else "=" + base64.b64encode(key.encode()).decode()


def layer_ids(diff_ids: Iterable[Digest]) -> list[str]:
    """The ids that layers get when they are stacked, base first (containers/image, storage_dest.go)."""
    found: list[str] = []
    for diff_id in diff_ids:
        found.append(Digest.of(f"{found[-1]}+{diff_id.hex}".encode()).hex if found else diff_id.hex)
    return found


def is_incomplete(record: Record) -> bool:
    """Whether the layer was never finished."""
    return (record.get("flags") or {}).get(INCOMPLETE) is True


def now() -> str:
    """The time in the form of these lists."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
