"""``spec``: write a config.json to begin with: a shell in ``rootfs``, in namespaces of its own."""

from __future__ import annotations

import json
import os

from buildlib.errors import SandboxError, UsageError
from buildlib.oci.mount import Mount
from buildlib.oci.runtime import Capabilities, IDMapping, Linux, Namespace, Rlimit, RuntimeSpec
from buildlib.oci.value import evolve
from buildlib.sandbox.defaults import default_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.sandbox.runtime.place import Place

FLAGS = {"bundle": "text", "b": "=bundle", "rootless": "switch"}
ACCEPTS = "[--bundle DIR] [--rootless]"

_ENV = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm")
_GROUPS = Mount("cgroup", "cgroup", "/sys/fs/cgroup", ("nosuid", "noexec", "nodev", "relatime", "ro"))


def run(place: Place, given: dict[str, Any], positionals: list[str]) -> None:
    """Raises :class:`UsageError` if there is one already."""
    if positionals:
        raise UsageError("'spec' takes no arguments")
    path = os.path.join(given.get("bundle") or ".", "config.json")
    text = json.dumps(document(rootless=bool(given.get("rootless"))), indent="\t") + "\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise UsageError(f"File {path} exists. Remove it first") from None
    except OSError as error:
        raise SandboxError(f"{path}: {error.strerror}", errno=error.errno) from error
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def document(*, rootless: bool = False) -> dict[str, Any]:
    """The config; a rootless one maps root inside to who calls, and asks for nothing that root alone can give."""
    base = default_spec(
        ("sh",),
        env=_ENV,
        network="none",
        hostname="buildlib",
        no_new_privileges=True,
        readonly=True,
        rlimits=(Rlimit("RLIMIT_NOFILE", 1024, 1024),),
        mounts=(_GROUPS,),
    )
    assert base.process is not None
    linux = evolve(base.linux or Linux(), seccomp=_filter(base.process.capabilities or Capabilities()))
    spec = evolve(base, process=evolve(base.process, terminal=True), linux=linux)
    return (_rootless(spec) if rootless else spec).to_dict()


def _filter(sets: Capabilities) -> dict[str, Any]:
    """Our own profile in full, as every runtime understands it."""
    from buildlib.linux.libc import machine
    from buildlib.sandbox.seccomp.default import profile
    from buildlib.sandbox.seccomp.profile import resolve

    return resolve(profile(), sets.effective, machine())


def _rootless(spec: RuntimeSpec) -> RuntimeSpec:
    linux = spec.linux or Linux()
    # The network namespace of the host stays: only root could connect one to anything.
    kept = tuple(n for n in linux.namespaces if n.type != "network")
    mounts = []
    for mount in spec.mounts:
        if mount.type == "cgroup":
            continue
        words = tuple(word for word in mount.options if not word.startswith(("gid=", "uid=")))
        if mount.type == "sysfs":  # a new one belongs to the network namespace, which is not ours
            mount = Mount("none", "/sys", "/sys", ("rbind", "nosuid", "noexec", "nodev", "ro"))
        else:
            mount = evolve(mount, options=words)
        mounts.append(mount)
    linux = evolve(
        linux,
        namespaces=(*kept, Namespace("user")),
        uid_mappings=(IDMapping(0, os.geteuid(), 1),),
        gid_mappings=(IDMapping(0, os.getegid(), 1),),
        resources=None,
    )
    return evolve(spec, mounts=tuple(mounts), linux=linux)
