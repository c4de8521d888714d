"""Constraints on versions, by the examples of Masterminds/semver's own documentation."""

from __future__ import annotations

import pytest

from buildlib.errors import UsageError
from buildlib.versions import Constraint, Version


@pytest.mark.parametrize(
    ("constraint", "yes", "no"),
    [
        (">= 1.2, < 3.0.0", "1.2 1.2.0 2.9.9", "1.1.9 3.0.0 3.0"),
        (">= 1.2 < 3.0.0 || >= 4.2.3", "1.2.0 4.2.3 9.0", "3.0.0 4.2.2"),
        ("1.2 - 1.4.5", "1.2.0 1.4.5", "1.1.9 1.4.6"),
        ("2.3.4 - 4.5", "2.3.4 4.5.9", "2.3.3 4.6.0"),
        ("1.2.x", "1.2.0 1.2.9", "1.3.0 1.1.9"),
        (">= 1.2.x", "1.2.0 2.0", "1.1.9"),
        ("<= 2.x", "2.9.9 1.0", "3.0.0"),
        ("*", "0.0.1 9.9.9", "1.0.0-rc.1 latest"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1", "1.0.0 1.9.9", "2.0.0 0.9"),
        ("~2.3", "2.3.0 2.3.9", "2.4.0"),
        ("~1.2.x", "1.2.0 1.2.9", "1.3.0"),
        ("^1.2.3", "1.2.3 1.9.9", "1.2.2 2.0.0"),
        ("^1.2.x", "1.2.0 1.9", "2.0.0"),
        ("^2.3", "2.3.0 2.9", "3.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        ("1.2.3", "1.2.3 v1.2.3 1.2.3+build", "1.2.4"),
        ("=1.2", "1.2.0 1.2.9", "1.3"),
        ("!=1.2.3", "1.2.4 1.2.2", "1.2.3"),
        ("> 1.2", "1.3.0", "1.2.9 1.2.0"),
        ("> 1.2.3", "1.2.4", "1.2.3"),
        (">=3.12.0", "3.12 3.12.1 v4", "3.11.9 latest edge 3.13.0_alpha"),
        (">1.2.3-beta.1", "1.2.3-beta.2 1.2.3-rc.1 1.2.3 2.0.0-alpha", "1.2.3-beta.1 1.2.3-alpha 1.2.2"),
        ("=1.0.0-rc.1", "1.0.0-rc.1", "1.0.0 1.0.0-rc.2"),
        ("<1.0.0-rc.10", "1.0.0-rc.9 1.0.0-beta 0.9", "1.0.0-rc.10 1.0.0"),
    ],
)
def test_constraints(constraint, yes, no):
    parsed = Constraint.parse(constraint)
    for text in yes.split():
        assert parsed.allows(Version.parse(text)), text
    for text in no.split():
        version = Version.parse(text)
        assert version is None or not parsed.allows(version), text


def test_versions_are_ordered_as_semver_says():
    ordered = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1"
    versions = [Version.parse(text) for text in ordered.split()]
    backwards = versions[::-1]
    assert sorted(backwards, key=lambda version: version.key) == versions


@pytest.mark.parametrize("text", ["latest", "", "1.2.3.4", "1..2", "1.2.3-", "1.2.3-a..b"])
def test_other_tags_are_no_versions(text):
    assert Version.parse(text) is None


@pytest.mark.parametrize("text", ["", "newest", ">= ", ">= latest", "1.2 || ", ">> 1", "1.2.3-?"])
def test_a_constraint_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        Constraint.parse(text)
