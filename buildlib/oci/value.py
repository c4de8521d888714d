"""Frozen values as ``attrs.frozen`` makes them, for those that every build needs: without its import and its cost.

attrs costs a process 25 ms and half a millisecond a class, a third of a rebuild that is all cached. What is made here
does the same for what these classes use of it, and ``attrs.evolve``, ``attrs.fields`` and ``attrs.asdict`` take it for
their own. Type checkers are shown the real one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from attrs import NOTHING, evolve, field, fields, frozen

    __all__ = ["NOTHING", "NamedTuple", "evolve", "field", "fields", "frozen"]
else:
    NOTHING = object()
    """The default of a field that has none."""

    class Attribute:
        """A field of a value: what attrs calls an attribute, as far as its functions look at it."""

        __slots__ = ("alias", "default", "eq", "factory", "hash", "init", "name", "repr")

        def __init__(self, name, alias, default, factory, init, eq, hash, repr) -> None:
            self.name, self.alias, self.default, self.factory = name, alias, default, factory
            self.init, self.eq, self.hash, self.repr = init, eq, hash, repr

        def named(self, name: str) -> Attribute:
            """The same under its name; as an argument it has no leading underscores."""
            rest = (self.default, self.factory, self.init, self.eq, self.hash, self.repr)
            return Attribute(name, name.lstrip("_"), *rest)

    def field(
        *,
        default: Any = NOTHING,
        factory: Any = None,
        init: bool = True,
        eq: bool = True,
        hash: bool | None = None,
        repr: bool = True,
    ) -> Attribute:
        """What ``attrs.field`` says of a field."""
        return Attribute("", "", default, factory, init, eq, eq if hash is None else hash, repr)

    def frozen(cls: type) -> type:
        """What ``attrs.frozen`` does to a class without bases: its annotated names become the fields of a value."""
        fields = []
        for name, annotation in vars(cls).get("__annotations__", {}).items():
            if annotation.startswith("ClassVar"):
                continue
            given = vars(cls).get(name, NOTHING)
            if isinstance(given, Attribute):
                delattr(cls, name)
            else:
                given = field(default=given)
            fields.append(given.named(name))
        cls.__attrs_attrs__ = tuple(fields)
        cls.__match_args__ = tuple(each.name for each in fields if each.init)
        cls._names = {each.alias: each.name for each in fields if each.init}
        cls._plain = frozenset(alias for alias, name in cls._names.items() if alias == name)
        cls._defaults = {each.name: each.default for each in fields if each.default is not NOTHING}
        cls._factories = tuple((each.name, each.factory) for each in fields if each.factory is not None)
        cls._inner = {each.name: each.default for each in fields if not each.init}
        cls._checks = "__attrs_post_init__" in vars(cls)
        for method in (_init, _refuse_to_set, _refuse_to_delete, _equal, _hash, _show):
            if method.__name__ not in vars(cls):
                setattr(cls, method.__name__, method)
        return cls

    def evolve(value: Any, **changes: Any) -> Any:
        """The value with some fields replaced."""
        cls = type(value)
        if not changes.keys() <= cls._plain:
            given = {alias: getattr(value, name) for alias, name in cls._names.items()}
            return cls(**{**given, **changes})
        changed = object.__new__(cls)
        changed.__dict__.update(vars(value), **changes, **cls._inner)
        if cls._checks:
            changed.__attrs_post_init__()
        return changed

    def fields(cls: type) -> tuple[Attribute, ...]:
        """The fields of a class of values, in order."""
        return cls.__attrs_attrs__

    def _init(self: Any, *args: Any, **given: Any) -> None:
        cls, values = type(self), self.__dict__
        values.update(cls._defaults)
        if args:
            if len(args) > len(cls.__match_args__) or not given.keys().isdisjoint(cls.__match_args__[: len(args)]):
                raise TypeError(f"{cls.__name__} takes {len(cls.__match_args__)} fields, each of them once")
            values.update(zip(cls.__match_args__, args, strict=False))
        if given.keys() <= cls._plain:
            values.update(given)
        else:
            for alias, value in given.items():
                if alias not in cls._names:
                    raise TypeError(f"{cls.__name__} has no field {alias!r}")
                values[cls._names[alias]] = value
        for name, factory in cls._factories:
            if name not in values:
                values[name] = factory()
        if len(values) < len(cls.__attrs_attrs__):
            missing = next(each.name for each in cls.__attrs_attrs__ if each.name not in values)
            raise TypeError(f"{cls.__name__} needs {missing!r}")
        if cls._checks:
            self.__attrs_post_init__()

    def _refuse_to_set(self: Any, name: str, _: Any = None) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} can't be changed")

    def _refuse_to_delete(self: Any, name: str) -> None:
        _refuse_to_set(self, name)

    def _equal(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, each.name) == getattr(other, each.name) for each in self.__attrs_attrs__ if each.eq)

    def _hash(self: Any) -> int:
        return hash((type(self), *(getattr(self, each.name) for each in self.__attrs_attrs__ if each.hash)))

    def _show(self: Any) -> str:
        shown = (f"{each.name}={getattr(self, each.name)!r}" for each in self.__attrs_attrs__ if each.repr)
        return f"{type(self).__name__}({', '.join(shown)})"

    _init.__name__, _refuse_to_set.__name__, _refuse_to_delete.__name__ = "__init__", "__setattr__", "__delattr__"
    _equal.__name__, _hash.__name__, _show.__name__ = "__eq__", "__hash__", "__repr__"

    class _Named(type):
        def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            from collections import namedtuple

            names = tuple(namespace.get("__annotations__", ()))
            defaults = [namespace.pop(each) for each in names if each in namespace]
            base = namedtuple(name, names, defaults=defaults, module=namespace["__module__"])
            namespace["__slots__"] = ()
            return type(name, (base,), namespace)

    class NamedTuple(metaclass=_Named):
        """A named tuple with annotated fields, as that of ``typing``, whose import alone costs 3 ms."""
