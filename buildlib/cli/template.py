"""Go's ``text/template`` for ``--format``: fields, variables, pipelines, if, range, with, template, and functions.

What the language has beyond that (methods but for those of times, complex numbers) is refused by name, never printed
wrongly. Parsing is :mod:`buildlib.cli.template_parser`, the functions are :mod:`buildlib.cli.template_functions`.
"""

from __future__ import annotations

from buildlib.cli.template_parser import parse
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from buildlib.cli.template_parser import Node


class Struct(dict[str, "Any"]):
    """A value with fixed fields, as a Go struct has them; a plain dict is a map, whose keys are data.

    ``optional`` names the fields that its JSON leaves out when they are empty.
    """

    def __init__(self, fields: dict[str, Any], optional: Iterable[str] = ()) -> None:
        super().__init__(fields)
        self.optional = frozenset(optional)

    def field(self, name: str) -> Any:
        """The value of the Go field ``name``: JSON's ``diff_ids`` is ``DiffIDs`` there. KeyError if there is none."""
        if name in self:
            return self[name]
        wanted = _plain(name)
        for key, value in self.items():
            if _plain(key) == wanted:
                return value
        raise KeyError(name)


class Time(str):
    """An RFC 3339 time, which a template prints as Go prints times."""

    __slots__ = ()


class _Loop(Exception):
    """``{{break}}`` or ``{{continue}}``."""


class Template:
    """A parsed template. ``blank`` stands for each blank of the literal text: buildah's listings make columns of them.

    Raises :class:`UsageError` for what is no template.
    """

    def __init__(self, text: str, blank: str = " ") -> None:
        self.text = text
        self.defined: dict[str, list[Node]] = {}
        self.nodes = parse(text, blank, self.defined)

    def render(self, value: Any) -> str:
        """The text for ``value``. Raises :class:`UsageError` for a field that it does not have."""
        return "".join(self._all(self.nodes, value, [{"$": value}]))

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _all(self, nodes: list[Node], dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, str):
                yield node
            else:
                yield from getattr(self, f"_{node[0]}")(node, dot, scopes)

    def _show(self, node: Any, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        value = self._pipeline(node[1], dot, scopes)
        if not node[1][0]:
            yield go_text(value)

    def _if(self, node: Any, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        _, pipeline, body, other = node
        scopes.append({})
        chosen = body if true(self._pipeline(pipeline, dot, scopes)) else other
        yield from self._all(chosen, dot, scopes)
        scopes.pop()

    def _with(self, node: Any, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        _, pipeline, body, other = node
        scopes.append({})
        value = self._pipeline(pipeline, dot, scopes)
        yield from self._all(body, value, scopes) if true(value) else self._all(other, dot, scopes)
        scopes.pop()

    def _range(self, node: Any, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        _, (names, assigns, commands), body, other = node
        items = _items(self._pipeline(((), False, commands), dot, scopes), self.text)
        depth = len(scopes)
        for key, value in items:
            bound = (key, value) if len(names) > 1 else (value,)
            scopes.append({})
            for name, each in zip(names, bound, strict=False):
                self._bind(name, each, scopes, assigns)
            try:
                yield from self._all(body, value, scopes)
            except _Loop as end:
                if end.args[0] == "break":
                    break
            finally:
                del scopes[depth:]
        if not items:
            yield from self._all(other, dot, scopes)

    def _loop(self, node: Any, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        raise _Loop(node[1])
        yield ""

    def _template(self, node: Any, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        _, name, pipeline = node
        if name not in self.defined:
            raise self._error(f'there is no template "{name}"')
        value = self._pipeline(pipeline, dot, scopes) if pipeline is not None else None
        if len(scopes) > 100:
            raise self._error(f'the template "{name}" uses itself without end')
        yield from self._all(self.defined[name], value, [{"$": value}, *({} for _ in scopes)])

    # --- expressions --------------------------------------------------------------------------------------------------

    def _pipeline(self, pipeline: Any, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        names, assigns, commands = pipeline
        value: Any = None
        for number, command in enumerate(commands):
            value = self._command(command, dot, scopes, [value] if number else [])
        for name in names:
            self._bind(name, value, scopes, assigns)
        return value

    def _bind(self, name: str, value: Any, scopes: list[dict[str, Any]], assigns: bool) -> None:
        if not assigns:
            scopes[-1][name] = value
            return
        for scope in reversed(scopes):
            if name in scope:
                scope[name] = value
                return
        raise self._error(f"the variable {name} is not declared")

    def _command(self, operands: list[Any], dot: Any, scopes: list[dict[str, Any]], last: list[Any]) -> Any:
        first, *rest = operands
        if first[0] == "name" and not first[2]:
            return self._call(first[1], [*rest], dot, scopes, last)
        if first[0] in ("field", "variable") and (rest or last):
            arguments = [*(self._operand(each, dot, scopes) for each in rest), *last]
            return self._method(first, arguments, dot, scopes)
        if rest or last:
            raise self._error("only a function takes arguments")
        return self._operand(first, dot, scopes)

    def _call(self, name: str, operands: list[Any], dot: Any, scopes: list[dict[str, Any]], last: list[Any]) -> Any:
        from buildlib.cli.template_functions import FUNCTIONS, Wrong

        if name in ("and", "or"):  # they evaluate no more than they need
            value: Any = None
            for each in (*operands, *(("value", one, []) for one in last)):
                value = self._operand(each, dot, scopes)
                if true(value) == (name == "or"):
                    break
            return value
        function = FUNCTIONS.get(name)
        if function is None:
            hint = f"there are {', '.join(sorted((*FUNCTIONS, 'and', 'or')))}"
            raise UsageError(f'template {self.text!r}: the function "{name}" is not known', hint=hint)
        arguments = [*(self._operand(each, dot, scopes) for each in operands), *last]
        try:
            return function(*arguments)
        except Wrong as error:
            raise self._error(f"{name}: {error}") from None
        except (TypeError, ValueError, AttributeError):
            raise self._error(f"the function {name} does not take that") from None

    def _operand(self, operand: Any, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        kind, what, path = operand
        if kind == "value":
            value = what
        elif kind == "field":
            value = dot
        elif kind == "variable":
            value = self._variable(what, scopes)
        elif kind == "pipeline":
            value = self._pipeline(what, dot, scopes)
        else:
            value = self._call(what, [], dot, scopes, [])
        for name in path:
            value = self._field(value, name)
        return value

    def _variable(self, name: str, scopes: list[dict[str, Any]]) -> Any:
        for scope in reversed(scopes):
            if name in scope:
                return scope[name]
        raise self._error(f"the variable {name} is not declared")

    def _field(self, value: Any, name: str) -> Any:
        if isinstance(value, Struct):
            try:
                return value.field(name)
            except KeyError:
                known = ", ".join(f".{field}" for field in value)
                raise self._error(f"there is no field .{name}", f"the fields are {known}") from None
        if isinstance(value, dict):
            return value.get(name, NO_VALUE)
        if isinstance(value, Time):
            from buildlib.cli.template_functions import time_method

            return time_method(value, name, []) if name != "Format" else self._wrong_field(name)
        return self._wrong_field(name)

    def _wrong_field(self, name: str) -> Any:
        raise self._error(f"there is no field .{name}")

    def _method(self, operand: Any, arguments: list[Any], dot: Any, scopes: list[dict[str, Any]]) -> Any:
        kind, what, path = operand
        value = self._operand((kind, what, path[:-1]), dot, scopes)
        if path and isinstance(value, Time):
            from buildlib.cli.template_functions import time_method

            return time_method(value, path[-1], arguments)
        raise self._error(f".{'.'.join(path)} is no function, and takes no arguments")

    def _error(self, message: str, hint: str | None = None) -> UsageError:
        return UsageError(f"template {self.text!r}: {message}", hint=hint)


NO_VALUE = "<no value>"


def true(value: Any) -> bool:
    """What ``if`` makes of a value: false are the zero values and what is not there; a struct is always true."""
    return value is not NO_VALUE and (isinstance(value, Struct) or bool(value))


def _items(value: Any, text: str) -> list[tuple[Any, Any]]:
    if value is None or value is NO_VALUE:
        return []
    if isinstance(value, dict) and not isinstance(value, Struct):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(value)]
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    raise UsageError(f"template {text!r}: range goes over lists and maps, not over {go_text(value)[:60]}")


def go_text(value: Any) -> str:
    """``value`` as Go's ``%v`` prints it."""
    if isinstance(value, Time):
        return _go_time(value)
    if isinstance(value, str):
        return value
    if value is None:
        return "[]"  # in our documents only slices and maps can be nil
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Struct):
        return "{" + " ".join(go_text(item) for item in value.values()) + "}"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    return str(value)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(".", "")


def _go_time(text: str) -> str:
    if not text:
        return "0001-01-01 00:00:00 +0000 UTC"
    day, _, rest = text.partition("T")
    return f"{day} {rest[:-1]} +0000 UTC" if rest.endswith("Z") else text
