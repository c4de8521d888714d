"""The calls that were made on a working container by hand, written down so that they can be made into a file."""

from __future__ import annotations

import base64
import sys

from buildlib.errors import UsageError
from buildlib.oci.value import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from buildlib.container import WorkingContainer

_PASSING = frozenset(
    ("self", "stdout", "stderr", "capture", "timeout", "proxy", "cache", "created_by", "comment", "add_history")
)
"""Arguments that say how a call is made or described, and nothing of what it makes."""


LONGEST = 1 << 16
"""Characters or bytes of one value; the state of a container is read and written with every call, so it stays small."""


def note(container: WorkingContainer, verb: str, given: Mapping[str, Any]) -> None:
    """Write down that the method ``verb`` was called with the arguments ``given``, as far as they are not the usual.

    A container that a build makes for itself keeps no calls.
    """
    state = container.state
    if state.calls is None:
        return
    usual = getattr(type(container), verb).__kwdefaults__ or {}
    kept = {
        name: encode(value)
        for name, value in given.items()
        if name not in _PASSING and not (name in usual and _same(value, usual[name]))
    }
    container.save(state.evolve(calls=(*state.calls, {"verb": verb, "given": kept, "cell": _cell()})))


def _same(value: Any, usual: Any) -> bool:
    """Whether it says what is usual; one empty collection is as good as another, or as none."""
    return value == usual or (value in ([], (), {}) and usual in (None, ()))


def _cell() -> int | None:
    """The number of the notebook cell that is running."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "execution_count", None)


def encode(value: Any) -> Any:
    """Plain data: what JSON has no word for becomes ``{"$": kind, …}``. Secrets and long values are left out."""
    from buildlib.container import WorkingContainer
    from buildlib.image import Image

    if isinstance(value, (str, bytes, bytearray, memoryview)) and len(value) > LONGEST:
        return {
            "$": "unknown",
            "repr": f"a value of {len(value)} {'characters' if isinstance(value, str) else 'bytes'}",
        }
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$": "bytes", "data": base64.b64encode(value).decode()}
    if isinstance(value, Image):
        return {"$": "image", "name": value.name or value.id}
    if isinstance(value, WorkingContainer):
        return {"$": "container", "name": value.name}
    if hasattr(value, "items"):
        return {"$": "dict", "items": [[encode(name), encode(each)] for name, each in value.items()]}
    if hasattr(type(value), "__attrs_attrs__") and type(value).__module__.startswith("buildlib."):
        return {"$": type(value).__name__, "fields": _fields(value)}
    if isinstance(value, (list, tuple, set, frozenset)) or hasattr(value, "__next__"):
        return [encode(each) for each in value]
    return {"$": "unknown", "repr": repr(value)}


def _fields(value: Any) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    found = {}
    for each in fields(type(value)):
        own = getattr(value, each.name)
        if own != each.default:
            found[each.name] = encode(own)
    if type(value).__name__ == "Secret" and "value" in found:
        found["value"] = {"$": "unknown", "repr": "the value of a secret"}
    return found


def bytes_of(data: Any) -> bytes:
    """The bytes of something encoded: text or bytes."""
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else base64.b64decode(data["data"])


def refuse(what: str, where: str, hint: str = "") -> UsageError:
    """The error for a call that a file can't say."""
    return UsageError(f"{what} can't be written as {where}", hint=hint or None)
