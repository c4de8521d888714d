"""The documents and names of the OCI and Docker formats as frozen values; no I/O happens here.

Names are imported on first use (PEP 562), because attrs alone costs more than a read-only command may take to start.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib.oci.config import ContainerConfig, Healthcheck, History, ImageConfig, format_time, parse_time
    from buildlib.oci.descriptor import Descriptor
    from buildlib.oci.digest import Digest, chain_id
    from buildlib.oci.index import Index
    from buildlib.oci.manifest import Manifest
    from buildlib.oci.mount import Mount
    from buildlib.oci.platform import Platform
    from buildlib.oci.reference import Reference
    from buildlib.oci.runtime import RuntimeSpec

__all__ = [
    "ContainerConfig",
    "Descriptor",
    "Digest",
    "Healthcheck",
    "History",
    "ImageConfig",
    "Index",
    "Manifest",
    "Mount",
    "Platform",
    "Reference",
    "RuntimeSpec",
    "chain_id",
    "format_time",
    "parse_time",
]

_HOMES = {
    "ContainerConfig": "config",
    "Descriptor": "descriptor",
    "Digest": "digest",
    "Healthcheck": "config",
    "History": "config",
    "ImageConfig": "config",
    "Index": "index",
    "Manifest": "manifest",
    "Mount": "mount",
    "Platform": "platform",
    "Reference": "reference",
    "RuntimeSpec": "runtime",
    "chain_id": "digest",
    "format_time": "config",
    "parse_time": "config",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{home}"
    __import__(module)
    value = getattr(sys.modules[module], name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
