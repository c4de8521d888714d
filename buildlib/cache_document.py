"""Cache records as a document that leaves the store, and what is believed of one that comes in. Pure: no I/O.

A record is only taken when its key is the key of its own parts, so a document can't say that a step is another one.
That its layer is what the step makes can't be verified: whoever imports a cache trusts its author with that.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from buildlib import cache
from buildlib.errors import FormatError
from buildlib.oci import document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEDIA_TYPE = "application/vnd.buildlib.cache.config.v1+json"
"""Of the config blob of a cache's manifest; its layers are ordinary layers."""

MAX_BYTES = 64 << 20
"""A document with the parts of many steps is larger than any manifest, but not larger than this."""

MAX_RECORDS = 100_000
MAX_NAMES = 1000
"""Records of steps that read more files go without the list of them: it only serves explanations."""

_KEY = re.compile(r"[0-9a-f]{64}\Z")
_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Exported(NamedTuple):
    """A record without the store that it came from."""

    key: str
    parent: str
    result: str
    layer: int
    """Which of the layers that come with the document."""
    parts: dict[str, Any]
    created: float


class Document(NamedTuple):
    """All records of a cache, and the DiffIDs of the layers that they speak of."""

    records: tuple[Exported, ...]
    diff_ids: tuple[str, ...]


def to_dict(records: Iterable[Exported], diff_ids: Iterable[str] | None = None) -> dict[str, Any]:
    """Plain data; without ``diff_ids`` for an image, whose config has them already."""
    fields: dict[str, Any] = {"version": cache.VERSION, "records": [_brief(record)._asdict() for record in records]}
    return fields if diff_ids is None else {**fields, "diff_ids": list(diff_ids)}


def encode(records: Iterable[Exported], diff_ids: Iterable[str]) -> bytes:
    """The bytes of a document: equal ones for equal records."""
    return json.dumps(to_dict(records, diff_ids), sort_keys=True, separators=(",", ":")).encode()


def _brief(record: Exported) -> Exported:
    parts = {name: value for name, value in record.parts.items() if name != "checked"}
    return record._replace(parts={**parts, "names": {}} if len(parts["names"]) > MAX_NAMES else parts)


def decode(raw: bytes, where: str, now: float) -> Document:
    """The inverse of :func:`encode`. Raises :class:`FormatError`; ``where`` names the cache in it."""
    if len(raw) > MAX_BYTES:
        raise FormatError(f"{where}: {len(raw)} bytes are more than the {MAX_BYTES} allowed")
    try:
        fields = json.loads(raw)
    except RecursionError:
        raise FormatError(f"{where}: nested too deeply") from None
    except ValueError as error:
        raise FormatError(f"{where}: not JSON: {error}") from None
    diff_ids = document.array(document.mapping(fields, where).get("diff_ids"), f"{where}.diff_ids")
    return from_dict(fields, tuple(_text(each, f"{where}.diff_ids", _DIFF_ID) for each in diff_ids), where, now)


def from_dict(value: object, diff_ids: tuple[str, ...], where: str, now: float) -> Document:
    """The document in plain data that came from elsewhere; one of another version has no records.

    Times that lie after ``now`` (seconds since 1970) become ``now``. Raises :class:`FormatError`.
    """
    fields = document.mapping(value, where)
    if fields.get("version") != cache.VERSION:
        return Document((), diff_ids)
    records = document.array(fields.get("records"), f"{where}.records")
    if len(records) > MAX_RECORDS:
        raise FormatError(f"{where}: {len(records)} records are more than the {MAX_RECORDS} allowed")
    try:
        read = [_record(each, len(diff_ids), f"{where}.records[{i}]", now) for i, each in enumerate(records)]
    except RecursionError:
        raise FormatError(f"{where}: nested too deeply") from None
    return Document(tuple(read), diff_ids)


def _record(value: object, layers: int, where: str, now: float) -> Exported:
    fields = document.mapping(value, where)
    layer: Any = fields.get("layer")
    created: Any = fields.get("created")
    if type(layer) is not int or not 0 <= layer < layers:
        raise FormatError(f"{where}.layer: expected the number of one of {layers} layers")
    if type(created) not in (int, float) or not math.isfinite(created) or created < 0:
        raise FormatError(f"{where}.created: expected seconds since 1970")
    parent = fields.get("parent")
    if parent != cache.SCRATCH and not (isinstance(parent, str) and _DIFF_ID.match(parent)):
        parent = _text(parent, f"{where}.parent", _KEY)
    key, result = (_text(fields.get(name), f"{where}.{name}", _KEY) for name in ("key", "result"))
    parts = _parts(fields.get("parts"), f"{where}.parts")
    if cache.key(parent, step_of(parts)) != key:
        raise FormatError(f"{where}.key: is not the key of its parts")
    return Exported(key, parent, result, layer, parts, min(float(created), now))


def step_of(parts: Mapping[str, Any]) -> cache.Step:
    """The step whose parts were recorded."""
    return cache.Step(parts["kind"], parts["step"], tuple(parts["inputs"]), parts["names"])


def _parts(value: object, where: str) -> dict[str, Any]:
    fields = document.mapping(value, where)
    inputs = document.array(fields.get("inputs"), f"{where}.inputs")
    names = document.mapping(fields.get("names"), f"{where}.names")
    parts = {
        "kind": _text(fields.get("kind"), f"{where}.kind"),
        "step": document.mapping(fields.get("step"), f"{where}.step"),
        "inputs": [_text(each, f"{where}.inputs") for each in inputs],
        "names": {name: _text(each, f"{where}.names") for name, each in names.items()},
    }
    printed = fields.get("printed")
    if printed is not None:
        texts = [_text(each, f"{where}.printed") for each in document.array(printed, f"{where}.printed")]
        if len(texts) != 3:
            raise FormatError(f"{where}.printed: expected three texts")
        parts["printed"] = texts
    return parts


def _text(value: object, where: str, form: re.Pattern[str] | None = None) -> str:
    if not isinstance(value, str) or (form is not None and not form.match(value)):
        raise FormatError(f"{where}: expected " + ("a string" if form is None else f"what matches {form.pattern}"))
    return value
