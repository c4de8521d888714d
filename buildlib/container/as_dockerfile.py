"""What was done to a working container by hand, as a Dockerfile that builds the same files and config. Pure.

What a Dockerfile has no words for is an error that says which call it is; a Python script can say it all.
"""

from __future__ import annotations

import json
import os
import shlex

from buildlib.container.calls import bytes_of, refuse
from buildlib.container.config import pairs, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

_HINT = "to_python() can say it"
_SIMPLE = {"user": "USER", "workdir": "WORKDIR", "stop_signal": "STOPSIGNAL"}
_SETS = {"ports": "EXPOSE", "volumes": "VOLUME"}


def dockerfile(base: str, user: str, calls: Sequence[dict[str, Any]], context: str) -> str:
    """The text. ``user`` is that of the base; host paths become those of the build context ``context``.

    After a run as somebody else the user is named again, so that root by default becomes root by name.

    Raises :class:`UsageError` for a call that has no equal there.
    """
    lines, writer = [f"FROM {base}"], _Writer(user or "0", os.path.abspath(context))
    for call in calls:
        lines += getattr(writer, call["verb"])(dict(call["given"]))
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, user: str, context: str) -> None:
        self.user = user
        self.context = context

    # --- RUN ----------------------------------------------------------------------------------------------------------

    def run(self, given: dict[str, Any]) -> Iterator[str]:
        command = given.pop("command")
        if isinstance(command, dict):
            raise refuse(command["repr"], "Dockerfile")
        flags = [_mount(mount) for mount in given.pop("mounts", ())]
        network = given.pop("network", None)
        if network not in (None, "host", "default"):
            flags.append(f"--network={network}")
        if given.pop("security", "sandbox") == "insecure":
            flags.append("--security=insecure")
        flags += [f"--device={name}" for name in given.pop("devices", ())]
        user = given.pop("user", None)
        before = _before(given.pop("env", None), given.pop("workdir", None))
        _nothing_left("run", given)
        if isinstance(command, list):
            if before:
                raise refuse("run() of a list with env or workdir", "Dockerfile", "give the command as one string")
            text = json.dumps([str(word) for word in command], ensure_ascii=False)
        else:
            text = _shell(before + command)
        if user is not None and user != self.user:
            yield f"USER {user}"
        yield " ".join(("RUN", *flags, text))
        if user is not None and user != self.user:
            yield f"USER {self.user}"

    def mkdir(self, given: dict[str, Any]) -> Iterator[str]:
        path, mode, owner = shlex.quote(given["path"]), given.get("mode", 0o755), given.get("owner", "0:0")
        own = "" if owner == "0:0" else f" && chown {shlex.quote(owner)} {path}"
        yield f"RUN mkdir -p -m {mode:o} {path}{own}"

    # --- COPY and ADD -------------------------------------------------------------------------------------------------

    def copy(self, given: dict[str, Any], verb: str = "COPY") -> Iterator[str]:
        paths, dest, contents = given.pop("paths", []), given.pop("dest", None), given.pop("contents", None)
        if dest is None:
            *paths, dest = paths
        if isinstance(given.get("chmod"), int):
            given["chmod"] = f"{given['chmod']:o}"
        flags = [f"--{name}={given.pop(name)}" for name in ("chown", "chmod", "checksum") if given.get(name)]
        flags += [f"--{name}" for name in ("link", "parents") if given.pop(name, False)]
        flags += [f"--exclude={pattern}" for pattern in given.pop("exclude", ())]
        flags += [
            f"--keep-git-dir={str(kept).lower()}" for kept in [given.pop("keep_git_dir", None)] if kept is not None
        ]
        origin, context = given.pop("from_", None), given.pop("context", None)
        if origin is not None:
            flags.append(f"--from={_image(origin)}")
        elif context is not None and os.path.abspath(context) != self.context:
            raise refuse(f"{verb.lower()}() from the context {context}", "Dockerfile", f"the context is {self.context}")
        elif context is None:
            paths = [self._within(path, verb) for path in paths]
        _nothing_left(verb.lower(), given)
        if paths:
            yield " ".join((verb, *flags, json.dumps([*paths, dest], ensure_ascii=False)))
        if contents is not None:
            yield from _contents(verb, flags, contents["items"], dest)

    def add(self, given: dict[str, Any]) -> Iterator[str]:
        unpack = given.pop("unpack", None)
        given = {name: value for name, value in given.items() if name != "authorization"}
        for line in self.copy(given, "ADD"):
            yield line if unpack is None else line.replace("ADD ", f"ADD --unpack={str(unpack).lower()} ", 1)

    def _within(self, path: str, verb: str) -> str:
        """A path of the host as one of the build context."""
        if "://" in path or path.startswith("git@"):
            return path
        full = os.path.abspath(path)
        inside = os.path.relpath(full, self.context)
        if inside == ".." or inside.startswith("../"):
            hint = f"it is not in the build context {self.context}: give a larger one"
            raise refuse(f"{verb.lower()}() of {path}", "Dockerfile", hint)
        return inside

    # --- config -------------------------------------------------------------------------------------------------------

    def config(self, given: dict[str, Any]) -> Iterator[str]:
        for name, value in given.items():
            plain = _plain(value)
            if name in _SIMPLE and plain:
                self.user = plain if name == "user" else self.user
                yield f"{_SIMPLE[name]} {plain}"
            elif name in ("env", "labels"):
                yield from _pairs("ENV" if name == "env" else "LABEL", plain)
            elif name in _SETS:
                yield " ".join((_SETS[name], *_words(name, plain)))
            elif name in ("cmd", "shell") and plain:
                yield f"{name.upper()} {json.dumps(list(words(plain)), ensure_ascii=False)}"
            elif name == "entrypoint" and plain:
                yield f"ENTRYPOINT {plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)}"
            elif name == "on_build" and plain:
                yield from (f"ONBUILD {line}" for line in ([plain] if isinstance(plain, str) else plain))
            else:
                raise refuse(f"config({name}={plain!r})", "Dockerfile", _HINT)


def _nothing_left(verb: str, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name == "check" or value not in (None, [], False):
            raise refuse(f"{verb}() with {name}", "Dockerfile", _HINT)


def _before(env: Any, workdir: str | None) -> str:
    """What a shell does before the command to be where and as it was asked for."""
    exports = [f"export {name}={shlex.quote(str(value))}; " for name, value in (env or {"items": []})["items"]]
    return "".join([*exports, f"cd {shlex.quote(workdir)} && " if workdir else ""])


def _shell(command: str) -> str:
    """A line for the shell as what follows RUN; a here-document where a line would be read in another way."""
    odd = command.startswith(("[", "-", "<", "#", " ")) or "<<" in command or command.endswith(("\\", " "))
    if not odd and "\n" not in command:
        return command
    mark = "EOF"
    while mark in command.split("\n"):
        mark += "_"
    return f"<<'{mark}'\n{command}\n{mark}"


def _contents(verb: str, flags: Sequence[str], items: Sequence[Any], dest: str) -> Iterator[str]:
    """Files that are given, as here-documents that are called like them."""
    for name, data in items:
        try:
            text = _given(name, data).decode()
        except UnicodeDecodeError:
            raise refuse(f"the bytes of {name}", "Dockerfile", _HINT) from None
        if not text.endswith("\n") or name in text.split("\n") or "\r" in text or not name.replace(".", "").isalnum():
            raise refuse(f"the contents of {name}", "Dockerfile", "a here-document holds whole lines; " + _HINT)
        yield " ".join((verb, *flags, f'<<"{name}"', json.dumps(dest)[1:-1])) + f"\n{text}{name}"


def _given(name: str, data: Any) -> bytes:
    if isinstance(data, dict) and data["$"] == "unknown":
        raise refuse(f"the contents of {name} ({data['repr']})", "Dockerfile")
    return bytes_of(data)


def _image(origin: Any) -> str:
    if isinstance(origin, str):
        return origin
    if origin["$"] == "image":
        return str(origin["name"])
    raise refuse(f"the container {origin.get('name')}", "Dockerfile", "commit it, and use the image")


def _plain(value: Any) -> Any:
    """A value of the config as it was given."""
    if isinstance(value, dict) and value["$"] == "dict":
        return {name: _plain(each) for name, each in value["items"]}
    return value


def _pairs(instruction: str, value: Any) -> Iterator[str]:
    found = pairs(value)
    if any(text is None for _, text in found):
        raise refuse(f"taking away what {instruction} sets", "Dockerfile", _HINT)
    if found:
        yield " ".join((instruction, *(f"{name}={_quoted(str(text))}" for name, text in found)))


def _quoted(text: str) -> str:
    if "\n" in text:
        raise refuse("a value of several lines", "Dockerfile", _HINT)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'


def _words(name: str, value: Any) -> list[str]:
    given = [value] if isinstance(value, str) else list(value or ["-"])
    if any(word.endswith("-") for word in given):
        raise refuse(f"taking {name} away", "Dockerfile", _HINT)
    return given


def _mount(mount: dict[str, Any]) -> str:
    fields = dict(mount["fields"])
    kind = mount["$"].lower()
    origin, ro = fields.pop("from_", None), fields.pop("ro", False)
    if kind == "bind" and origin is None:
        raise refuse(f"a bind of the host's {fields['source']}", "Dockerfile", _HINT)
    if kind not in ("bind", "cache", "tmpfs", "secret", "ssh") or fields.keys() & {
        "variable",
        "value",
        "keep",
        "agent",
    }:
        raise refuse(f"a mount of type {mount['$']}", "Dockerfile", _HINT)
    if kind in ("secret", "ssh"):
        fields.pop("source", None)  # that is said when it is built: --secret id=…,src=…
        fields.pop("keys", None)
    parts = [f"type={kind}", *([f"from={_image(origin)}"] if origin is not None else [])]
    for name, value in fields.items():
        parts.append(f"{name}={value:o}" if name == "mode" else f"{name}={str(value).lower()}" if value is True else
                     f"{name}={value}")  # fmt: skip
    return f"--mount={','.join([*parts, *(['ro'] if ro else [])])}"
