"""Frozen values with named fields, as ``typing.NamedTuple`` makes them, at a tenth of the cost per class.

A build has some forty such classes, and the start of the program pays for each: a typed named tuple generates code.
Type checkers are shown the real one.
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Meta(type):
    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
        names = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in names if field in namespace}
        namespace.update({field: property(itemgetter(index)) for index, field in enumerate(names)})
        namespace.update(__slots__=(), _fields=names, _field_defaults=defaults, __match_args__=names)
        return super().__new__(mcs, name, bases, namespace)


class NamedTuple(tuple, metaclass=_Meta):  # type: ignore[type-arg]
    """The base of such values; subclasses are not subclassed further."""

    if TYPE_CHECKING:
        _fields: tuple[str, ...]
        _field_defaults: dict[str, Any]

    def __new__(cls, *args: Any, **fields: Any) -> NamedTuple:
        """Fields by position or by name."""
        names, defaults = cls._fields, cls._field_defaults
        if len(args) > len(names):
            raise TypeError(f"{cls.__name__} has {len(names)} fields, got {len(args)}")
        if len(args) < len(names):
            try:
                rest = [fields.pop(name) if name in fields else defaults[name] for name in names[len(args) :]]
            except KeyError as error:
                raise TypeError(f"{cls.__name__} needs {error}") from None
            args = (*args, *rest)
        if fields:
            raise TypeError(f"{cls.__name__} has no field {next(iter(fields))!r}, or has it twice")
        return tuple.__new__(cls, args)

    def _replace(self, **fields: Any) -> NamedTuple:
        values = self._asdict()
        if not fields.keys() <= values.keys():
            raise ValueError(f"{type(self).__name__} has no field {(fields.keys() - values.keys()).pop()!r}")
        return tuple.__new__(type(self), (values | fields).values())

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self)
