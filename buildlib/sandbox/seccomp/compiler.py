"""From ``linux.seccomp`` of a runtime spec to classic BPF (seccomp(2), linux/filter.h). Pure.

Rules for a system call are tried in order, the first that matches decides; ``defaultAction`` if none does. The program
first looks at the machine as which the call was made, then finds the number by halving: some ten comparisons.

Calls newer than the newest that a profile names are answered with ENOSYS, as if the kernel did not know them, unless
the default lets them through: programs then do without, while EPERM would end them.
"""

from __future__ import annotations

import struct
import sys

from buildlib.errors import SandboxError
from buildlib.linux.syscalls import AUDIT, FAMILY, X32_BIT, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Word = tuple[int, int | str, int | str, int]
    """Code, where to go on if true and if false (words to skip, or a label), operand."""
    Condition = tuple[int, str, int, int]
    """Index of the argument, operator, its value, the second value."""
    Rule = tuple[list[str], int, list[tuple[Condition, ...]]]
    """Names, what is returned, and alternatives of conditions that must hold together."""
    Leaf = tuple[tuple[tuple[tuple[Condition, ...], int], ...], int]
    """Rules with conditions and what they return; what is returned if none holds."""

_EPERM, _ENOSYS = 1, 38
_KILL_PROCESS, _KILL_THREAD, _TRAP, _ERRNO = 0x80000000, 0x0, 0x30000, 0x50000
_NOTIFY, _TRACE, _LOG, _ALLOW = 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000

_ACTIONS = {
    "SCMP_ACT_KILL": _KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": _KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_TRAP": _TRAP,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": _TRACE,
    "SCMP_ACT_ALLOW": _ALLOW,
    "SCMP_ACT_LOG": _LOG,
    "SCMP_ACT_NOTIFY": _NOTIFY,
}
_OPERATORS = frozenset(f"SCMP_CMP_{word}" for word in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))

# linux/bpf_common.h
_LOAD, _AND, _JUMP, _EQUAL, _GREATER, _AT_LEAST, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_LONGEST = 4096  # BPF_MAXINSNS
_FAR = 255  # how far a conditional jump goes
_64_BITS = 0x80000000  # __AUDIT_ARCH_64BIT


def compile_filter(seccomp: Mapping[str, Any], native: str) -> tuple[bytes, bool]:
    """The program for a machine ``native``, and whether it notifies a listener. Raises :class:`SandboxError`."""
    default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"), "linux.seccomp.defaultAction")
    rules = [_rule(rule) for rule in seccomp.get("syscalls") or ()]
    sections: dict[int, dict[int, Leaf]] = {}
    for arch in _machines(seccomp.get("architectures") or (), native):
        section = _section(rules, arch, default)
        sections.setdefault(AUDIT[arch], {}).update(section)
    words: list[Word] = [(_LOAD, 0, 0, _MACHINE_AT)]
    for machine, section in sections.items():
        if machine == AUDIT["x86_64"] and X32_BIT not in section:
            section[X32_BIT] = ((), _KILL_PROCESS)
        search = _Search(sorted(section.items()), wide=bool(machine & _64_BITS))
        body = [(_LOAD, 0, 0, _NUMBER_AT), *search.words()]
        words += [(_EQUAL, 1, 0, machine), (_JUMP, 0, 0, len(body)), *body]
    words.append((_RETURN, 0, 0, _KILL_PROCESS))
    if len(words) > _LONGEST:
        raise SandboxError(f"linux.seccomp: it needs {len(words)} instructions, the kernel takes {_LONGEST}")
    actions = {default, *(result for _, result, _ in rules)}
    return b"".join(struct.pack("=HBBI", *word) for word in words), _NOTIFY in actions


def action(word: object, number: int | None, field: str) -> int:
    """What the kernel is told for an action; ``number`` is the errno (or the tracer's message) where it has one."""
    found = _ACTIONS.get(str(word))
    if found is None:
        raise SandboxError(f"{field}: there is no {word!r}")
    if found not in (_ERRNO, _TRACE):
        return found
    value = _EPERM if number is None else int(number)
    if not 0 <= value <= (4095 if found == _ERRNO else 0xFFFF):
        raise SandboxError(f"{field}: {value} is no errno")
    return found | value


def _machines(names: Sequence[str], native: str) -> list[str]:
    """Those that the kernel of this machine can run at all; the machine itself always."""
    if native not in AUDIT:
        raise SandboxError(f"linux.seccomp: the system calls of {native} are not known here")
    plain = [name.removeprefix("SCMP_ARCH_").lower() for name in names]
    return list(dict.fromkeys([native, *(name for name in plain if name in FAMILY.get(native, ()))]))


def _rule(rule: Mapping[str, Any]) -> Rule:
    names = list(rule.get("names") or ())
    where = f"linux.seccomp.syscalls ({' '.join(names[:3])})"
    result = action(rule.get("action"), rule.get("errnoRet"), f"{where}.action")
    conditions: list[Condition] = []
    for given in rule.get("args") or ():
        index, operator = int(given.get("index") or 0), str(given.get("op"))
        if operator not in _OPERATORS or not 0 <= index <= 5:
            raise SandboxError(f"{where}.args: there is no {operator!r} of argument {index}")
        value, second = (int(given.get(name) or 0) & 0xFFFFFFFFFFFFFFFF for name in ("value", "valueTwo"))
        conditions.append((index, operator, value, second))
    if len({index for index, *_ in conditions}) < len(conditions):
        return names, result, [(condition,) for condition in conditions]  # as runc: alternatives of one argument
    return names, result, [tuple(conditions)]


def _section(rules: Sequence[Rule], arch: str, default: int) -> dict[int, Leaf]:
    """Number from which on → what is decided. Numbers follow each other without a gap."""
    table = numbers(arch)
    found: dict[int, list[tuple[tuple[Condition, ...], int]]] = {}
    for names, result, alternatives in rules:
        for name in names:
            number = table.get(name)
            if number is not None:  # a name of another machine, or of a newer kernel
                found.setdefault(number, []).extend((conditions, result) for conditions in alternatives)
    first = X32_BIT if arch == "x32" else 0
    last = max(found, default=max(table.values()))
    starts: dict[int, Leaf] = {first: ((), default)}
    for number, tried in found.items():
        starts[number] = _leaf(tried, default)
        if number + 1 not in found:
            starts[number + 1] = ((), default)
    if default not in (_ALLOW, _LOG) and default & 0xFFFF0000 not in (_TRACE, _NOTIFY):
        starts[last + 1] = ((), _ERRNO | _ENOSYS)
    return _joined(starts)


def _leaf(rules: Sequence[tuple[tuple[Condition, ...], int]], default: int) -> Leaf:
    conditional: list[tuple[tuple[Condition, ...], int]] = []
    for conditions, result in rules:
        if not conditions:
            return tuple(conditional), result
        conditional.append((conditions, result))
    return tuple(conditional), default


def _joined(starts: Mapping[int, Leaf]) -> dict[int, Leaf]:
    joined: dict[int, Leaf] = {}
    before = None
    for number, leaf in sorted(starts.items()):
        if leaf != before:
            joined[number] = before = leaf
    return joined


class _Search:
    """The words that find the part in which a number lies, written from the last one to the first.

    So what a jump goes to is there already, and a return may serve all jumps that reach it. Places are counted from the
    end.
    """

    def __init__(self, parts: Sequence[tuple[int, Leaf]], *, wide: bool) -> None:
        self.backwards: list[Word] = []
        self.returns: dict[int, int] = {}
        self.wide = wide
        start = self._add(parts)
        if start != len(self.backwards):
            self.backwards.append((_JUMP, 0, 0, len(self.backwards) - start))

    def words(self) -> list[Word]:
        """In the order of the program."""
        return self.backwards[::-1]

    def _add(self, parts: Sequence[tuple[int, Leaf]]) -> int:
        """The place at which the search among ``parts`` begins."""
        if len(parts) == 1:
            return self._decide(*parts[0])
        middle = len(parts) // 2
        high = self._add(parts[middle:])
        low = self._near(self._add(parts[:middle]))
        high = self._near(high)
        here = len(self.backwards)
        self.backwards.append((_AT_LEAST, here - high, here - low, parts[middle][0]))
        return len(self.backwards)

    def _near(self, place: int) -> int:
        """The place, or one from which it is reached: a conditional jump does not go far."""
        if len(self.backwards) - place >= _FAR - 2:  # two more words may come in between
            self.backwards.append((_JUMP, 0, 0, len(self.backwards) - place))
            return len(self.backwards)
        return place

    def _decide(self, number: int, leaf: Leaf) -> int:
        rules, otherwise = leaf
        if not rules:
            place = self.returns.get(otherwise)
            if place is None or len(self.backwards) - place > _FAR // 2:
                self.backwards.append((_RETURN, 0, 0, otherwise))
                place = self.returns[otherwise] = len(self.backwards)
            return place
        words: list[Word] = [(_RETURN, 0, 0, otherwise)]
        for conditions, result in reversed(rules):
            words = [*_test(conditions, result, wide=self.wide and not number & X32_BIT), *words]
        self.backwards += reversed(words)
        return len(self.backwards)


def _test(conditions: Sequence[Condition], result: int, *, wide: bool) -> list[Word]:
    """Return ``result`` if all hold, else go on behind."""
    words: list[Word] = []
    for condition in conditions:
        block = _compare(*condition, wide=wide)
        words += [_resolve(word, "holds", len(block) - place - 1) for place, word in enumerate(block)]
    words.append((_RETURN, 0, 0, result))
    return [_resolve(word, "fails", len(words) - place - 1) for place, word in enumerate(words)]


def _resolve(word: Word, label: str, distance: int) -> Word:
    code, yes, no, operand = word
    return code, distance if yes == label else yes, distance if no == label else no, operand


def _compare(index: int, operator: str, value: int, second: int, *, wide: bool) -> list[Word]:
    """Words that go to "fails" if the condition does not hold, and to "holds" or just on if it does."""
    at = _ARGUMENTS_AT + 8 * index
    low_at, high_at = (at, at + 4) if sys.byteorder == "little" else (at + 4, at)
    low, high = value & 0xFFFFFFFF, value >> 32
    load_low, load_high = (_LOAD, 0, 0, low_at), (_LOAD, 0, 0, high_at)
    word = operator.removeprefix("SCMP_CMP_")
    if word == "MASKED_EQ":
        low_words: list[Word] = [load_low, (_AND, 0, 0, low), (_EQUAL, 0, "fails", second & 0xFFFFFFFF)]
        high_words: list[Word] = [load_high, (_AND, 0, 0, high), (_EQUAL, 0, "fails", second >> 32)]
    elif word == "EQ":
        low_words = [load_low, (_EQUAL, 0, "fails", low)]
        high_words = [load_high, (_EQUAL, 0, "fails", high)]
    elif word == "NE":
        low_words = [load_low, (_EQUAL, "fails", 0, low)]
        high_words = [load_high, (_EQUAL, 0, "holds", high)]
    elif word in ("GT", "GE"):
        low_words = [load_low, (_GREATER if word == "GT" else _AT_LEAST, 0, "fails", low)]
        high_words = [load_high, (_GREATER, "holds", 0, high), (_EQUAL, 0, "fails", high)]
    else:  # LE is not GT, LT is not GE
        low_words = [load_low, (_GREATER if word == "LE" else _AT_LEAST, "fails", 0, low)]
        high_words = [load_high, (_GREATER, "fails", 0, high), (_EQUAL, 0, "holds", high)]
    return [*high_words, *low_words] if wide else low_words
