"""What ``WorkingContainer.config`` can set, as a pure function from one state to the next.

The fields are those of buildah-config(1). None clears a field, whatever it is.
"""

from __future__ import annotations

import posixpath

from buildlib.container.state import Entry
from buildlib.errors import UsageError
from buildlib.oci import Healthcheck
from buildlib.oci.value import evolve
from buildlib.patterns import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.state import State
    from buildlib.oci import ImageConfig

SHELL = ("/bin/sh", "-c")

_TOP = {
    "author": "author",
    "arch": "architecture",
    "architecture": "architecture",
    "os": "os",
    "variant": "variant",
    "os_version": "os_version",
}
_TEXT = ("user", "stop_signal", "hostname", "domainname")
_ALIASES = {"working_dir": "workdir", "exposed_ports": "ports", "image_comment": "comment"}
_STATE = {"history_created_by": "created_by", "history_comment": "history_comment"}
_HEALTH = ("interval", "timeout", "start_period", "start_interval", "retries")


def configure(
    container: WorkingContainer, fields: Mapping[str, Any], created_by: str | None = None, comment: str = ""
) -> None:
    """See :meth:`WorkingContainer.config`."""
    with container.lock:
        container.refresh()
        state = apply(container.state, fields)
        if created_by is not None:
            entry = Entry(created_by, comment, empty_layer=True)
            state = state.evolve(history=(*state.history, entry))
        if state != container.state:
            container.save(state)


def apply(state: State, fields: Mapping[str, Any]) -> State:
    """``state`` with ``fields`` set; raises :class:`UsageError` for a field that is not known or a bad value."""
    config = state.config
    changes: dict[str, Any] = {}
    for name, value in fields.items():
        name = _ALIASES.get(name, name)
        if name in _TOP:
            empty = None if name in ("variant", "os_version") else ""
            top: dict[str, Any] = {_TOP[name]: value or empty}
            config = evolve(config, **top)
        elif name in _TEXT:
            config = _inner(config, **{name: value or ""})
        elif name == "annotations":
            changes["annotations"] = change_map(state.annotations, value)
        elif name in _STATE:
            changes[_STATE[name]] = value or ""
        elif name in _SETTERS:
            config = _SETTERS[name](config, value)
        elif name not in _HEALTH_NAMES:
            raise UsageError(f"a config has no field {name!r}", hint=f"the fields are {', '.join(sorted(FIELDS))}")
    config = _health_times(config, fields)
    return state.evolve(config=config, **changes)


def _inner(config: ImageConfig, **changes: Any) -> ImageConfig:
    return evolve(config, config=evolve(config.config, **changes))


def words(value: str | Sequence[str]) -> tuple[str, ...]:
    """An exec form: a string is cut as a shell would cut it, a list is taken as it is."""
    if isinstance(value, str):
        import shlex

        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise UsageError(f"{value!r} can't be cut into words: {error}") from None
    return tuple(str(word) for word in value)


def pairs(value: Any) -> list[tuple[str, str | None]]:
    """Names and values of ``{"K": "V"}``, ``"K=V"``, or a list of such words or of pairs; a value of None removes.

    The word ``K-`` is K without a value, and ``-`` (or None instead of all) the empty name without one.
    """
    if value is None:
        return [("", None)]
    if isinstance(value, str):
        value = [value]
    found: list[tuple[str, str | None]] = []
    for word in value.items() if hasattr(value, "items") else value:
        if not isinstance(word, str):
            name, text = word
            found.append((str(name), None if text is None else str(text)))
            continue
        name, equals, text = word.partition("=")
        removed = not equals and name.endswith("-")
        found.append((name[:-1], None) if removed else (name, text))
    if any(not name and text is not None for name, text in found):
        raise UsageError("a name is empty", hint='write K=V, or "K-" to remove K')
    return found


def change_map(old: Mapping[str, str], value: Any) -> dict[str, str]:
    """``old`` with pairs set and removed; the empty name removes all."""
    result = dict(old)
    for name, text in pairs(value):
        if text is not None:
            result[name] = text
        elif name:
            result.pop(name, None)
        else:
            result.clear()
    return result


def change_env(old: Iterable[str], value: Any) -> tuple[str, ...]:
    """Variables set in place, new ones at the end, removed ones gone."""
    known = {word.partition("=")[0]: word.partition("=")[2] for word in old}
    return tuple(f"{name}={text}" for name, text in change_map(known, value).items())


def change_set(old: Iterable[str], value: Any, tidy: Callable[[str], str]) -> tuple[str, ...]:
    """Names added, ``NAME-`` removed; "-" or None removes all. Sorted, as the config has them.

    ``{NAME: {}}``, as the config has it too, adds any name, also one that ends in "-".
    """
    if hasattr(value, "items"):
        added = {tidy(name) for name, given in value.items() if given is not None}
        return tuple(sorted(({*old} | added) - {tidy(name) for name, given in value.items() if given is None}))
    result = set(old)
    for word in ["-" if value is None else value] if value is None or isinstance(value, str) else value:
        if word == "-":
            result.clear()
        elif word.endswith("-"):
            result.discard(tidy(word[:-1]))
        else:
            result.add(tidy(word))
    return tuple(sorted(result))


def port(word: str) -> str:
    """``80`` is ``80/tcp``; raises :class:`UsageError` for what is no port, or no range of ports."""
    number, slash, protocol = word.partition("/")
    ends = number.split("-")
    numeric = len(ends) <= 2 and all(end.isascii() and end.isdigit() and int(end) <= 65535 for end in ends)
    if not numeric or (slash and protocol.lower() not in ("tcp", "udp", "sctp")):
        raise UsageError(f"{word!r} is not a port", hint="write it like 80, 53/udp or 8000-8010/tcp")
    return f"{number}/{protocol.lower() or 'tcp'}"


def _cmd(config: ImageConfig, value: str | Sequence[str] | None) -> ImageConfig:
    # None is no command at all, () an empty one: they are different things in the document.
    return _inner(config, cmd=words(value) if value is not None else None, args_escaped=False)


def _entrypoint(config: ImageConfig, value: str | Sequence[str] | None) -> ImageConfig:
    # buildah: a string is a line for the shell, a list is executed; the command stays as it is.
    if isinstance(value, str):
        return _inner(config, entrypoint=(*SHELL, value) if value else None)
    return _inner(config, entrypoint=tuple(value) if value else None)


def _workdir(config: ImageConfig, value: str | None) -> ImageConfig:
    if not value:
        return _inner(config, working_dir="")
    return _inner(config, working_dir=clean(posixpath.join("/", config.config.working_dir, value)))


def _on_build(config: ImageConfig, value: str | Sequence[str] | None) -> ImageConfig:
    if value is None:
        return _inner(config, on_build=())
    return _inner(config, on_build=(*config.config.on_build, *([value] if isinstance(value, str) else value)))


def _comment(config: ImageConfig, value: str | None) -> ImageConfig:
    extra = {name: text for name, text in config.extra.items() if name != "comment"}
    return evolve(config, extra={**extra, "comment": value} if value else extra)


def _healthcheck(config: ImageConfig, value: Any) -> ImageConfig:
    """None takes it away, ``"NONE"`` switches an inherited one off, a dict has the fields of :class:`Healthcheck`.

    A string is a line for the shell unless it begins with CMD or CMD-SHELL; a list is executed unless it does.
    """
    if value is None:
        return _inner(config, healthcheck=None)
    if hasattr(value, "items"):
        return _inner(config, healthcheck=Healthcheck(**{**value, "test": tuple(value.get("test", ()))}))
    test = _test(value) if isinstance(value, str) else tuple(value)
    if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        test = ("CMD", *test)
    old = config.config.healthcheck or Healthcheck()
    return _inner(config, healthcheck=Healthcheck(test) if test == ("NONE",) else evolve(old, test=test))


def _test(line: str) -> tuple[str, ...]:
    kind, _, rest = line.strip().partition(" ")
    if kind == "NONE" and not rest:
        return ("NONE",)
    if kind == "CMD" and rest:
        return ("CMD", *words(rest))
    return ("CMD-SHELL", rest.strip() if kind == "CMD-SHELL" and rest else line)


def _health_times(config: ImageConfig, fields: Mapping[str, Any]) -> ImageConfig:
    changes: dict[str, Any] = {
        name: int(value) if name == "retries" else duration(value)
        for name in _HEALTH
        if (value := fields.get(f"healthcheck_{name}")) is not None
    }
    if not changes:
        return config
    return _inner(config, healthcheck=evolve(config.config.healthcheck or Healthcheck(), **changes))


def duration(value: str | float) -> int:
    """Nanoseconds of a Go duration (``1m30s``, ``500ms``) or of a number of seconds; raises :class:`UsageError`."""
    import re

    if not isinstance(value, str):
        return round(value * 1_000_000_000)
    if value == "0":
        return 0
    units = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
    if not re.fullmatch(r"(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|s|m|h))+", value):
        raise UsageError(f"{value!r} is not a duration", hint="write it like 30s, 1m30s or 500ms")
    found = re.findall(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)", value)
    return round(sum(float(number) * units[unit] for number, unit in found))


def _same(word: str) -> str:
    return word


_SETTERS: dict[str, Callable[[ImageConfig, Any], ImageConfig]] = {
    "os_features": lambda config, value: evolve(config, os_features=change_set(config.os_features, value, _same)),
    "workdir": _workdir,
    "shell": lambda config, value: _inner(config, shell=words(value or ())),
    "env": lambda config, value: _inner(config, env=change_env(config.config.env, value)),
    "cmd": _cmd,
    "entrypoint": _entrypoint,
    "labels": lambda config, value: _inner(config, labels=change_map(config.config.labels, value)),
    "ports": lambda config, value: _inner(config, exposed_ports=change_set(config.config.exposed_ports, value, port)),
    "volumes": lambda config, value: _inner(config, volumes=change_set(config.config.volumes, value, _same)),
    "on_build": _on_build,
    "healthcheck": _healthcheck,
    "comment": _comment,
    "stop_timeout": lambda config, value: _inner(config, stop_timeout=None if value is None else int(value)),
    "args_escaped": lambda config, value: _inner(config, args_escaped=bool(value)),
}
_HEALTH_NAMES = tuple(f"healthcheck_{name}" for name in _HEALTH)

FIELDS = frozenset((*_TOP, *_TEXT, *_ALIASES, *_SETTERS, *_HEALTH_NAMES, *_STATE, "annotations"))
"""All names that :func:`apply` takes."""
