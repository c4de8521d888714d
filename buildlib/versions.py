"""Semantic versions and constraints on them as ``skopeo sync`` takes them: ``>= 3.12, < 4``, ``^1.2``, ``~1.2.3``.

Versions follow semver.org 2.0, with a leading ``v`` and missing parts allowed; constraints follow Go's
Masterminds/semver. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import field, frozen

from buildlib.errors import UsageError

if TYPE_CHECKING:
    from typing import Any

_VERSION = re.compile(
    r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_TERM = re.compile(r"\s*(=|!=|>=|=>|<=|=<|>|<|~>|~|\^)?\s*(v?[0-9xX*][0-9A-Za-z.*+-]*)\s*")
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
_WILD = frozenset("xX*")


@frozen
class Version:
    """A version; greater ones are newer. What stands behind a plus has no part in it."""

    numbers: tuple[int, int, int]
    prerelease: tuple[tuple[int, Any], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """From ``1.2.3``, ``v1.2``, ``1.0.0-rc.1`` …; None for what is no version."""
        found = _VERSION.fullmatch(text)
        if found is None:
            return None
        major, minor, patch = (int(part or 0) for part in found.groups()[:3])
        # Numbers come before words, and are compared as numbers (semver.org 11.4).
        parts = tuple((0, int(p)) if p.isdigit() else (1, p) for p in (found[4] or "").split(".") if p)
        return cls((major, minor, patch), parts)

    @property
    def key(self) -> tuple[Any, ...]:
        """What versions are compared by: a release is newer than its prereleases."""
        return (self.numbers, not self.prerelease, self.prerelease)


@frozen
class Range:
    """From ``low`` on, below ``high``; None is no limit. ``outside`` turns it round."""

    low: Version | None
    high: Version | None
    outside: bool = False

    def has(self, version: Version) -> bool:
        """Whether the version lies in it."""
        inside = (self.low is None or self.low.key <= version.key) and (
            self.high is None or version.key < self.high.key
        )
        return inside != self.outside


@frozen
class Constraint:
    """Alternatives, each of which is several ranges that a version must all lie in."""

    alternatives: tuple[tuple[Range, ...], ...]
    prereleases: bool = field(default=False)
    """Whether a version to compare with is a prerelease: only then are prereleases considered at all."""

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """From text. Raises :class:`UsageError`."""
        alternatives = tuple(_alternative(part, text) for part in text.split("||"))
        return cls(alternatives, "-" in re.sub(r"\s-\s", " ", text))

    def allows(self, version: Version) -> bool:
        """Whether a version fulfils it."""
        if version.prerelease and not self.prereleases:
            return False
        return any(all(each.has(version) for each in ranges) for ranges in self.alternatives)


def _alternative(text: str, whole: str) -> tuple[Range, ...]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen:
        low, high = _parts(hyphen[1], whole), _parts(hyphen[2], whole)
        return (Range(_floor(low), None), Range(None, _above(high)))
    ranges, position = [], 0
    text = text.replace(",", " ").rstrip()
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise UsageError(f"not a constraint on versions: {whole!r}", hint="write it as >= 1.2, < 2 or ^1.2")
        ranges.append(_range(found[1] or "", _parts(found[2], whole)))
        position = found.end()
    if not ranges:
        raise UsageError(f"not a constraint on versions: {whole!r}", hint="write it as >= 1.2, < 2 or ^1.2")
    return tuple(ranges)


Parts = tuple[tuple[int, ...], tuple[tuple[int, "Any"], ...]]
"""The numbers that are given, up to the first that is missing or a wildcard, and the prerelease."""


def _parts(text: str, whole: str) -> Parts:
    numbers: list[int] = []
    head, _, rest = text.removeprefix("v").partition("-")
    for part in head.partition("+")[0].split("."):
        if part in _WILD or len(numbers) == 3:
            break
        if not part.isdigit():
            raise UsageError(f"not a version: {text!r} in {whole!r}")
        numbers.append(int(part))
    version = Version.parse(text) if rest else None
    if rest and version is None:
        raise UsageError(f"not a version: {text!r} in {whole!r}")
    return tuple(numbers), version.prerelease if version else ()


def _floor(parts: Parts) -> Version:
    """The lowest version that the parts mean."""
    numbers, prerelease = parts
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return Version((major, minor, patch), prerelease)


def _above(parts: Parts, keep: int | None = None) -> Version | None:
    """The lowest version above all that share the first ``keep`` numbers (by default all given); None for no limit."""
    numbers = parts[0][: len(parts[0]) if keep is None else keep]
    if not numbers:
        return None
    major, minor, patch = (*numbers[:-1], numbers[-1] + 1, 0, 0)[:3]
    # Prereleases of what is above are above, too.
    return Version((major, minor, patch), ((0, -1),))


def _range(operator: str, parts: Parts) -> Range:
    floor, exact = _floor(parts), len(parts[0]) == 3
    just_above = Version(floor.numbers, (*floor.prerelease, (2, ""))) if exact and floor.prerelease else _above(parts)
    if operator in ("", "="):
        return Range(floor if parts[0] else None, just_above)
    if operator == "!=":
        return Range(floor, just_above, outside=True)
    if operator == ">":
        return Range(just_above, None)
    if operator in (">=", "=>"):
        return Range(floor, None)
    if operator == "<":
        return Range(None, floor)
    if operator in ("<=", "=<"):
        return Range(None, just_above)
    if operator in ("~", "~>"):
        return Range(floor, _above(parts, min(2, len(parts[0]))))
    # ^: up to the next change of the first number that is not zero
    significant = next((i for i, number in enumerate(parts[0]) if number), len(parts[0]) - 1)
    return Range(floor, _above(parts, significant + 1))
