"""The image config: what a container runs by default, the DiffIDs of the layers, and the history.

Docker's extension fields (Healthcheck, Shell, OnBuild, …) are part of it in both formats.
"""

from __future__ import annotations

import re

from buildlib.errors import FormatError
from buildlib.oci import document, mediatype
from buildlib.oci.descriptor import DIGESTS, Descriptor
from buildlib.oci.digest import Digest
from buildlib.oci.document import ALWAYS, BOOLEAN, INTEGER, NAMES, NULLABLE, TEXT, TEXT_MAP, TEXTS, Field, Kind
from buildlib.oci.platform import Platform
from buildlib.oci.value import evolve, field, frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@frozen
class Healthcheck:
    """How a container's health is tested. Times are nanoseconds, 0 means the engine's default."""

    test: tuple[str, ...] = ()
    """``("CMD", …)``, ``("CMD-SHELL", line)``, or ``("NONE",)`` to switch an inherited one off."""
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("Test", "test", TEXTS),
        Field("Interval", "interval", INTEGER),
        Field("Timeout", "timeout", INTEGER),
        Field("StartPeriod", "start_period", INTEGER),
        Field("StartInterval", "start_interval", INTEGER),
        Field("Retries", "retries", INTEGER),
    )


@frozen
class ContainerConfig:
    """The execution parameters (image-spec, config.md, "config"; Docker's ``container.Config``).

    ``entrypoint`` and ``cmd`` tell None (not set) from () (set to nothing).
    """

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    """``port/protocol``, like ``80/tcp``."""
    env: tuple[str, ...] = ()
    """``NAME=value`` each."""
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: dict[str, str] = field(factory=dict, hash=False)
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Healthcheck | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    stop_timeout: int | None = None
    """Seconds."""
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    # The order of BuildKit's DockerOCIImageConfig, with Docker's own two names in front as in container.Config.
    FIELDS = (
        Field("Hostname", "hostname", TEXT),
        Field("Domainname", "domainname", TEXT),
        Field("User", "user", TEXT),
        Field("ExposedPorts", "exposed_ports", NAMES),
        Field("Env", "env", TEXTS),
        Field("Entrypoint", "entrypoint", TEXTS, NULLABLE),
        Field("Cmd", "cmd", TEXTS, NULLABLE),
        Field("Volumes", "volumes", NAMES),
        Field("WorkingDir", "working_dir", TEXT),
        Field("Labels", "labels", TEXT_MAP),
        Field("StopSignal", "stop_signal", TEXT),
        Field("ArgsEscaped", "args_escaped", BOOLEAN),
        Field("Healthcheck", "healthcheck", document.one(Healthcheck)),
        Field("OnBuild", "on_build", TEXTS),
        Field("StopTimeout", "stop_timeout", INTEGER, NULLABLE),
        Field("Shell", "shell", TEXTS),
    )

    @classmethod
    def from_dict(cls, value: object, where: str = "config") -> ContainerConfig:
        """From the JSON object; raises :class:`FormatError` that names the wrong field."""
        return document.read(cls, value, where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object, in the order in which BuildKit writes it."""
        return document.write(self)


@frozen
class History:
    """One step that made the image. ``created`` is RFC 3339; ``empty_layer`` means the step made no layer."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)

    FIELDS = (
        Field("created", "created", TEXT),
        Field("created_by", "created_by", TEXT),
        Field("author", "author", TEXT),
        Field("comment", "comment", TEXT),
        Field("empty_layer", "empty_layer", BOOLEAN),
    )

    @classmethod
    def from_dict(cls, value: object, where: str = "history") -> History:
        """From one JSON object of the list."""
        return document.read(cls, value, where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return document.write(self)


def _read_rootfs(value: object, where: str) -> tuple[Digest, ...]:
    fields = document.mapping(value, where)
    if fields.get("type", "layers") != "layers":
        raise FormatError(f"{where}.type: only 'layers' is known, found {fields['type']!r}")
    digests: tuple[Digest, ...] = DIGESTS.read(fields.get("diff_ids") or [], f"{where}.diff_ids")
    return digests


def _write_rootfs(diff_ids: tuple[Digest, ...]) -> dict[str, Any]:
    return {"type": "layers", "diff_ids": DIGESTS.write(diff_ids)}


@frozen
class ImageConfig:
    """The config of an image (image-spec, config.md); its digest is the image id.

    What :meth:`parse` made encodes to the bytes it was parsed from. A changed value (``attrs.evolve``) is encoded anew.
    """

    architecture: str = ""
    os: str = ""
    config: ContainerConfig = field(factory=ContainerConfig)
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    created: str | None = None
    author: str = ""
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()
    extra: dict[str, Any] = field(factory=dict, hash=False, repr=False)
    _raw: bytes | None = field(init=False, default=None, eq=False, repr=False)

    FIELDS = (
        Field("architecture", "architecture", TEXT, ALWAYS),
        Field("author", "author", TEXT),
        Field("config", "config", document.one(ContainerConfig), ALWAYS),
        Field("created", "created", TEXT),
        Field("history", "history", document.many(History)),
        Field("os", "os", TEXT, ALWAYS),
        Field("os.features", "os_features", TEXTS),
        Field("os.version", "os_version", TEXT),
        Field("rootfs", "diff_ids", Kind(_read_rootfs, _write_rootfs), ALWAYS),
        Field("variant", "variant", TEXT),
    )

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """From bytes; raises :class:`FormatError` that names the wrong field."""
        config = document.read(cls, document.load(raw, "image config"), "image config")
        object.__setattr__(config, "_raw", raw)
        return config

    def encode(self) -> bytes:
        """The bytes of the document. The outermost keys are sorted, as docker and BuildKit write them."""
        if self._raw is None:
            fields = document.write(self)
            object.__setattr__(self, "_raw", document.encode({name: fields[name] for name in sorted(fields)}))
        assert self._raw is not None
        return self._raw

    def evolve(self, **changes: Any) -> ImageConfig:
        """This config with some fields replaced; itself, bytes and all, when nothing is different."""
        changed = evolve(self, **changes)
        return self if changed == self else changed

    @property
    def digest(self) -> Digest:
        """The digest of the bytes, which is the image id."""
        return Digest.of(self.encode())

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(self.os, self.architecture, self.variant, self.os_version, self.os_features)

    def descriptor(self, media_type: str = mediatype.OCI_CONFIG) -> Descriptor:
        """Media type, digest and size of this document."""
        return Descriptor(media_type, self.digest, len(self.encode()))


def format_time(when: Any) -> str:
    """RFC 3339 in UTC, as Go writes it (no trailing zeros), from seconds since 1970 or an aware ``datetime``."""
    import time

    seconds = when if isinstance(when, (int, float)) else when.timestamp()
    micro = round(seconds * 1_000_000)
    whole, part = divmod(micro, 1_000_000)
    t = time.gmtime(whole)
    text = f"{t.tm_year:04}-{t.tm_mon:02}-{t.tm_mday:02}T{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return text + (f".{part:06}".rstrip("0") if part else "") + "Z"


def parse_time(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; raises :class:`FormatError`."""
    match = re.fullmatch(_UTC, text)
    if match is not None and 1 <= int(match[3]) <= _DAYS[int(match[2])]:
        return _seconds(*map(int, match.groups("")[:6])) + float(f"0{match[7] or '.0'}")
    from datetime import datetime

    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise FormatError(f"not an RFC 3339 time: {text[:60]!r}") from None
    if when.tzinfo is None:
        raise FormatError(f"a time without a zone: {text[:60]!r}")
    return when.timestamp()


_UTC = r"(\d{4})-(0\d|1[0-2])-(\d\d)T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(\.\d+)?Z"
"""The form in which Go and we write times: it needs no ``datetime``, which costs a process 1.5 ms."""


_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Of a time in UTC, by the Gregorian calendar: years that begin with March end with the leap day."""
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1 - 719468
    return ((days * 24 + hour) * 60 + minute) * 60 + second
