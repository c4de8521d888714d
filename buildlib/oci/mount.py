"""Mounts: the currency for trees. A description of what could be mounted; nothing here mounts."""

from __future__ import annotations

from buildlib.oci import document
from buildlib.oci.document import ALWAYS, TEXT, TEXTS, Field
from buildlib.oci.value import field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@frozen
class Mount:
    """A mount as containerd's snapshotters return it and the runtime spec lists it (there ``target`` is "destination").

    ``options`` are those of mount(8), like ``ro``, ``rbind``, ``lowerdir=…``.
    """

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("destination", "target", TEXT, ALWAYS),
        Field("type", "type", TEXT),
        Field("source", "source", TEXT),
        Field("options", "options", TEXTS),
    )

    @classmethod
    def from_dict(cls, value: object, where: str = "mount") -> Mount:
        """From the JSON object of a runtime spec; a missing type is "bind" if an option says so, as runc has it."""
        fields = document.mapping(value, where)
        options = TEXTS.read(fields.get("options") or [], f"{where}.options")
        kind = "bind" if "bind" in options or "rbind" in options else "none"
        return document.read(cls, {"type": kind, "source": "", **fields}, where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of a runtime spec."""
        return document.write(self)
