"""``features``: what this runtime can do, as the JSON document of features.md (runtime-spec 1.2)."""

from __future__ import annotations

import json

from buildlib.errors import UsageError
from buildlib.linux import caps, namespaces
from buildlib.sandbox.runtime import hooks
from buildlib.sandbox.runtime.place import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS: dict[str, str] = {}
ACCEPTS = ""

_EITHER = ("ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime", "relatime", "norelatime",
           "strictatime", "nostrictatime", "nodiratime", "diratime", "nosymfollow", "symfollow",
           "private", "slave", "shared", "unbindable", "bind", "idmap")  # fmt: skip
MOUNT_OPTIONS = (*_EITHER, *(f"r{word}" for word in _EITHER), "tmpcopyup", "defaults")
"""Those that are no business of a file system; each of the first also recursive."""


SECCOMP_ACTIONS = tuple(
    f"SCMP_ACT_{word}"
    for word in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY")
)
SECCOMP_OPERATORS = tuple(f"SCMP_CMP_{word}" for word in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """It says what the runtime knows, not what this kernel has."""
    if positionals:
        raise UsageError("'features' takes no arguments")
    print(json.dumps(document(), indent=2))


def document() -> dict[str, Any]:
    """The document."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": list(hooks.NAMES),
        "mountOptions": sorted(MOUNT_OPTIONS),
        "linux": {
            "namespaces": sorted(namespaces.FLAGS),
            "capabilities": list(caps.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False, "rdma": True},
            "seccomp": {"enabled": True, "actions": list(SECCOMP_ACTIONS), "operators": list(SECCOMP_OPERATORS)},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {},
    }
