"""``--change`` and ``--config`` of ``commit``: a Dockerfile instruction, or a config as JSON, as fields of a config."""

from __future__ import annotations

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SHELL = ["/bin/sh", "-c"]

_JSON = {
    "Cmd": "cmd", "Domainname": "domainname", "Entrypoint": "entrypoint", "Env": "env", "ExposedPorts": "ports",
    "Hostname": "hostname", "Labels": "labels", "OnBuild": "on_build", "Shell": "shell", "StopSignal": "stop_signal",
    "User": "user", "Volumes": "volumes", "WorkingDir": "workdir",
}  # fmt: skip
"""Fields of the config object (image-spec, config.md), and what the library calls them."""


def from_file(path: str) -> dict[str, Any]:
    """The fields of a JSON file: an execution config, or an image config that has one. Empty ones say nothing."""
    import json

    try:
        with open(path, "rb") as file:
            document = json.load(file)
    except OSError as error:
        raise UsageError(f"reading {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    inner = document.get("config", document) if isinstance(document, dict) else None
    if not isinstance(inner, dict):
        raise UsageError(f"{path} holds no config object")
    fields = {name: inner[key] for key, name in _JSON.items() if inner.get(key)}
    for name in ("ports", "volumes"):
        if name in fields:
            fields[name] = list(fields[name])
    health = inner.get("Healthcheck")
    if health:
        times = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
        names = {"StartPeriod": "start_period", "StartInterval": "start_interval"}
        known = {names.get(time, time.lower()): health[time] for time in times if health.get(time)}
        fields["healthcheck"] = {"test": health.get("Test") or [], **known}
    return fields


def from_instruction(line: str) -> dict[str, Any]:
    """The fields that an instruction of a Dockerfile sets, like ``CMD ["a", "b"]`` or ``ENV A=1 B=2``."""
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    make = _INSTRUCTIONS.get(word.upper())
    if make is None:
        hint = f"it can be {', '.join(sorted(_INSTRUCTIONS))}"
        raise UsageError(f'unable to apply the change "{line}": {word.upper()} is not for this', hint=hint)
    if not rest:
        raise UsageError(f'unable to apply the change "{line}": {word.upper()} requires an argument')
    return make(rest)


def _command(name: str) -> Callable[[str], dict[str, Any]]:
    def make(rest: str) -> dict[str, Any]:
        from buildlib.cli.words import json_array

        words = json_array(rest)
        return {name: [*SHELL, rest] if words is None else words}

    return make


def _pairs(name: str) -> Callable[[str], dict[str, Any]]:
    def make(rest: str) -> dict[str, Any]:
        words = _words(rest)
        if "=" not in words[0]:  # the old form, of one pair
            key, _, value = rest.partition(" ")
            return {name: {key: value.strip()}}
        return {name: dict(word.partition("=")[::2] for word in words)}

    return make


def _list(name: str) -> Callable[[str], dict[str, Any]]:
    def make(rest: str) -> dict[str, Any]:
        from buildlib.cli.words import json_array

        return {name: json_array(rest) or _words(rest)}

    return make


def _text(name: str) -> Callable[[str], dict[str, Any]]:
    return lambda rest: {name: rest}


def _words(rest: str) -> list[str]:
    import shlex

    try:
        return shlex.split(rest)
    except ValueError as error:
        raise UsageError(f"{rest}: {error}") from None


def _shell(rest: str) -> dict[str, Any]:
    from buildlib.cli.words import json_array

    words = json_array(rest)
    if words is None:
        raise UsageError(f"SHELL requires its arguments in JSON form, not {rest}")
    return {"shell": words}


def _health(rest: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, _, value = flag[2:].partition("=")
        fields[f"healthcheck_{name.replace('-', '_')}"] = value
        rest = rest.strip()
    from buildlib.cli.words import json_array

    kind, _, command = rest.partition(" ")
    words = json_array(command.strip()) if kind.upper() == "CMD" else None
    fields["healthcheck"] = ["CMD", *words] if words else "NONE" if kind.upper() == "NONE" else command.strip()
    return fields


_INSTRUCTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "CMD": _command("cmd"),
    "ENTRYPOINT": _command("entrypoint"),
    "ENV": _pairs("env"),
    "EXPOSE": _list("ports"),
    "HEALTHCHECK": _health,
    "LABEL": _pairs("labels"),
    "MAINTAINER": _text("author"),
    "ONBUILD": _text("on_build"),
    "SHELL": _shell,
    "STOPSIGNAL": _text("stop_signal"),
    "USER": _text("user"),
    "VOLUME": _list("volumes"),
    "WORKDIR": _text("workdir"),
}
