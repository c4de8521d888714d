"""The document that ``inspect`` shows, in the shape of buildah's: an image's config in the OCI and the Docker form.

Pure: it turns parsed JSON into parsed JSON. What there is not here (CNI folders, labels of SELinux) is empty.
"""

from __future__ import annotations

from buildlib.cli.template import Struct, Time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_EXECUTION = {
    "User": "", "ExposedPorts": {}, "Env": [], "Entrypoint": [], "Cmd": [], "Volumes": {}, "WorkingDir": "",
    "Labels": {}, "StopSignal": "", "ArgsEscaped": False, "Healthcheck": {}, "Shell": [], "OnBuild": [],
}  # fmt: skip
"""The fields of the OCI config with the values that mean "not set"; the last three are Docker's, which we keep."""

_DOCKER_EXECUTION = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "ExposedPorts": {}, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
    "Healthcheck": {}, "ArgsEscaped": False, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "OnBuild": None, "Labels": None, "StopSignal": "", "Shell": [],
}  # fmt: skip
_DOCKER_OPTIONAL = frozenset(("ExposedPorts", "Healthcheck", "ArgsEscaped", "StopSignal", "Shell"))

_HISTORY = {"created": "", "created_by": "", "author": "", "comment": "", "empty_layer": False}

_IMAGE = {
    "created": "", "author": "", "architecture": "", "variant": "", "os": "", "os.version": "", "os.features": [],
}  # fmt: skip
_ALWAYS = frozenset(("architecture", "os"))
_PARTS = frozenset(("config", "rootfs", "history"))


def describe(
    *,
    config: dict[str, Any],
    raw_config: str = "",
    manifest: str = "",
    name: str = "",
    image_id: str = "",
    image_digest: str = "",
    container: str = "",
    container_id: str = "",
    mount_point: str = "",
    annotations: dict[str, str] | None = None,
    created_by: str = "",
    run: dict[str, Any] | None = None,
) -> Struct:
    """The whole document. ``config`` is an image config as JSON gives it, ``run`` how a container runs commands."""
    history = _history(config)
    return Struct(
        {
            "Type": "buildah 0.0.1",
            "FromImage": name,
            "FromImageID": image_id,
            "FromImageDigest": image_digest,
            "Config": raw_config,
            "Manifest": manifest,
            "Container": container,
            "ContainerID": container_id,
            "MountPoint": mount_point,
            "ProcessLabel": "",
            "MountLabel": "",
            "ImageAnnotations": annotations,
            "ImageCreatedBy": created_by,
            "OCIv1": _oci(config, history),
            "Docker": _docker(config, history),
            "DefaultMountsFilePath": "",
            **_confinement(run or {}),
            "History": history or None,
            "Devices": list((run or {}).get("devices", ())),
        }
    )


_NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "user", "uts")
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip


def _confinement(run: dict[str, Any]) -> dict[str, Any]:
    """How commands are kept apart, in buildah's words."""
    words = {"cgroup": "cgroupns", "network": "network", "user": "userns"}
    shared = {"network": True, "user": True}  # where nothing is said
    spaces = []
    for kind in _NAMESPACES:
        word = run.get(words.get(kind, kind), "")
        path = word.removeprefix("ns:") if word.startswith("ns:") else ""
        host = word == "host" or (not word and shared.get(kind, False))
        spaces.append(Struct({"Name": kind, "Host": host, "Path": path}))
    own = "user" in {kind for kind in _NAMESPACES if run.get(words.get(kind, kind)) == "private"} or bool(
        run.get("uid_map")
    )
    mappings = [_mapped(run.get(name, ())) for name in ("uid_map", "gid_map")]
    network = {"none": "NetworkDisabled", "private": "NetworkEnabled"}.get(run.get("network", ""), "NetworkDefault")
    return {
        "Isolation": run.get("isolation") or "oci",
        "NamespaceOptions": spaces,
        "Capabilities": _capabilities(run),
        "ConfigureNetwork": network,
        "CNIPluginPath": "",
        "CNIConfigDir": "",
        "IDMappingOptions": Struct(
            {"HostUIDMapping": not own, "HostGIDMapping": not own, "UIDMap": mappings[0], "GIDMap": mappings[1]}
        ),
    }


def _mapped(words: Iterable[str]) -> list[Struct]:
    rows = [[int(number) for number in word.split(":")] for word in words]
    return [Struct({"ContainerID": inside, "HostID": outside, "Size": count}) for inside, outside, count in rows]


def _capabilities(run: dict[str, Any]) -> list[str]:
    """Those that commands have; "all" stays as it is."""
    added, dropped = (
        {word.upper().removeprefix("CAP_") for word in run.get(key, ())} for key in ("cap_add", "cap_drop")
    )
    kept = (set(_CAPABILITIES) if "ALL" not in dropped else set()) - dropped
    return sorted(f"CAP_{name}" for name in kept | (added if "ALL" in dropped else added - dropped))


def plain(value: Any) -> Any:
    """``value`` as it is printed: a struct leaves out its optional fields where they are empty."""
    if isinstance(value, Struct):
        return {key: plain(item) for key, item in value.items() if item or key not in value.optional}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _filled(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The known fields in their order, then whatever else there is."""
    known = {key: default if given.get(key) is None else given[key] for key, default in defaults.items()}
    return known | {key: value for key, value in given.items() if key not in defaults}


def _execution(defaults: dict[str, Any], given: dict[str, Any], optional: Iterable[str]) -> Struct:
    fields = _filled(defaults, given)
    for name in ("ExposedPorts", "Volumes"):  # sets, which Go has as maps to an empty struct
        if fields[name]:
            fields[name] = {item: Struct({}) for item in fields[name]}
    return Struct(fields, optional)


def _oci(config: dict[str, Any], history: list[Struct]) -> Struct:
    fields = _filled(_IMAGE, {key: value for key, value in config.items() if key not in _PARTS})
    fields["created"] = Time(fields["created"])
    given = config.get("config") or {}
    fields["config"] = _execution(_EXECUTION, given, {*_EXECUTION, *given})
    fields["rootfs"] = _rootfs(config)
    fields["history"] = history
    return Struct(fields, (fields.keys() - _ALWAYS - {"config", "rootfs"}))


def _docker(config: dict[str, Any], history: list[Struct]) -> Struct:
    given = config.get("config") or {}
    execution = _execution(_DOCKER_EXECUTION, given, _DOCKER_OPTIONAL)
    fields: dict[str, Any] = {
        "created": Time(config.get("created") or ""),
        "container_config": execution,
        "author": config.get("author") or "",
        "config": execution,
        "architecture": config.get("architecture") or "",
        "variant": config.get("variant") or "",
        "os": config.get("os") or "",
        "rootfs": _rootfs(config),
        "history": history,
        "os.version": config.get("os.version") or "",
        "os.features": config.get("os.features") or [],
    }
    return Struct(fields, ("author", "variant", "history", "os.version", "os.features"))


def _rootfs(config: dict[str, Any]) -> Struct:
    return Struct({"type": "layers", "diff_ids": (config.get("rootfs") or {}).get("diff_ids") or None})


def _history(config: dict[str, Any]) -> list[Struct]:
    entries = []
    for given in config.get("history") or ():
        fields = _filled(_HISTORY, given)
        fields["created"] = Time(fields["created"])
        entries.append(Struct(fields, fields))
    return entries
