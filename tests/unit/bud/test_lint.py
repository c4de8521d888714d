"""Each rule finds what it is about, at its line, and is silent about the same thing done well."""

from __future__ import annotations

import pytest

from bud.errors import DockerfileError
from bud.lint import CHECK_ARG, Base, Target, as_json, as_text, check, read_checks, summary, violation
from bud.plan import Options, platform_args
from bud.rules import RULES
from bud.stages import read_dockerfile
from buildlib import IgnorePatterns

IMAGES = {"known": Base(("PATH=/bin", "HOME=/root"), (), "linux/amd64"), "shelly": Base((), ("/bin/bash", "-c"), "")}


def found(text: str, *, ignore: str = "", **build_args: str) -> list[tuple[str, int]]:
    """(rule, line) of each finding."""
    return [(finding.rule.name, finding.line) for finding in check(target_of(text, ignore, build_args))]


def target_of(text: str, ignore: str = "", build_args: dict[str, str] | None = None) -> Target:
    arguments = platform_args(Options(), "")
    patterns = IgnorePatterns.parse(ignore)
    return Target(
        read_dockerfile(text), arguments, build_args or {}, patterns, lambda name, _platform: IMAGES.get(name)
    )


BOTH_WAYS = [
    # rule, line of the finding, Dockerfile with it, Dockerfile without it
    ("StageNameCasing", 1, "FROM known AS Base", "FROM known AS base"),
    ("FromAsCasing", 1, "FROM known as base", "FROM known AS base"),
    ("FromAsCasing", 1, "from known AS base", "from known as base"),
    ("NoEmptyContinuation", 3, "FROM known\nRUN a \\\n\n b", "FROM known\nRUN a \\\n # why\n b"),
    ("ConsistentInstructionCasing", 3, "FROM known\nRUN a\nrun b", "FROM known\nRUN a\nRUN b"),
    ("ConsistentInstructionCasing", 1, "From known\nrun a\nrun b", "from known\nrun a\nrun b"),
    ("DuplicateStageName", 2, "FROM known AS a\nFROM known AS a", "FROM known AS a\nFROM known AS b"),
    ("ReservedStageName", 1, "FROM known AS scratch", "FROM scratch"),
    ("ReservedStageName", 1, "FROM known AS context", "FROM known AS contexts"),
    ("JSONArgsRecommended", 2, "FROM known\nCMD a b", 'FROM known\nCMD ["a", "b"]'),
    ("JSONArgsRecommended", 2, "FROM known\nENTRYPOINT a", 'FROM known\nSHELL ["/bin/sh", "-c"]\nENTRYPOINT a'),
    ("JSONArgsRecommended", 2, "FROM known\nCMD a", "FROM shelly\nCMD a"),
    ("MaintainerDeprecated", 2, "FROM known\nMAINTAINER me", "FROM known\nLABEL author=me"),
    ("UndefinedArgInFrom", 1, "FROM known$TAG", "ARG TAG\nFROM known$TAG"),
    ("UndefinedArgInFrom", 1, "FROM --platform=$PLATFROM known", "FROM --platform=$BUILDPLATFORM known"),
    ("UndefinedVar", 2, "FROM known\nCOPY $what /", "FROM known\nARG what\nCOPY $what /"),
    ("UndefinedVar", 2, "FROM known\nENV A=1 B=$A", "FROM known\nENV A=1\nENV B=$A"),
    ("UndefinedVar", 4, "ARG V=1\nFROM known\n\nWORKDIR /$V", "ARG V=1\nFROM known\nARG V\nWORKDIR /$V"),
    ("UndefinedVar", 2, "FROM known\nUSER $HOM", "FROM known\nUSER $HOME"),
    ("UndefinedVar", 2, "FROM known\nEXPOSE $P", "FROM known\nRUN echo $P"),
    ("UndefinedVar", 2, "FROM scratch\nENV A=$HOME", "FROM unknown\nENV A=$HOME"),
    (
        "UndefinedVar",
        4,
        "FROM known AS a\nENV A=1\nFROM known\nLABEL b=$A",
        "FROM known AS a\nENV A=1\nFROM a\nLABEL b=$A",
    ),
    ("WorkdirRelativePath", 2, "FROM known\nWORKDIR a", "FROM known\nWORKDIR /a\nWORKDIR b"),
    ("WorkdirRelativePath", 3, "FROM known\nARG D=d\nWORKDIR $D", "FROM known\nARG D=/d\nWORKDIR $D"),
    (
        "MultipleInstructionsDisallowed",
        2,
        'FROM known\nCMD ["a"]\nCMD ["b"]',
        'FROM known\nCMD ["a"]\nENTRYPOINT ["b"]',
    ),
    (
        "MultipleInstructionsDisallowed",
        2,
        "FROM known\nHEALTHCHECK NONE\nHEALTHCHECK CMD a",
        'FROM known AS a\nCMD ["a"]\nFROM a\nCMD ["b"]',
    ),
    ("LegacyKeyValueFormat", 2, "FROM known\nENV a b", "FROM known\nENV a=b"),
    ("LegacyKeyValueFormat", 2, "FROM known\nLABEL a b c", 'FROM known\nLABEL a="b c"'),
    ("RedundantTargetPlatform", 1, "FROM --platform=$TARGETPLATFORM known", "FROM --platform=$BUILDPLATFORM known"),
    ("SecretsUsedInArgOrEnv", 2, "FROM known\nARG API_TOKEN", "FROM known\nARG TOKENIZER"),
    ("SecretsUsedInArgOrEnv", 2, "FROM known\nENV Password=x", "FROM known\nENV PUBLIC_KEY=x"),
    ("InvalidDefaultArgInFrom", 2, "ARG TAG\nFROM known:$TAG", "ARG TAG=1\nFROM known:$TAG"),
    (
        "FromPlatformFlagConstDisallowed",
        1,
        "FROM --platform=linux/amd64 known",
        "FROM --platform=linux/amd64 known AS x-amd64",
    ),
    ("ExposeProtoCasing", 2, "FROM known\nEXPOSE 80/TCP", "FROM known\nEXPOSE 80/tcp"),
    ("ExposeInvalidFormat", 2, "FROM known\nEXPOSE 127.0.0.1:80:80", "FROM known\nEXPOSE 80"),
    ("ExposeInvalidFormat", 3, "FROM known\nARG P=1:2\nEXPOSE $P", "FROM known\nARG P=1-2\nEXPOSE $P"),
    (
        "InvalidDefinitionDescription",
        4,
        "# check=experimental=all\n\n# what it is\nFROM known AS base",
        "# check=experimental=all\n\n# base is what it is\nFROM known AS base",
    ),
    (
        "InvalidDefinitionDescription",
        3,
        "# check=experimental=InvalidDefinitionDescription\n# a version\nARG V=1\nFROM known",
        "# a version\nARG V=1\nFROM known",
    ),
    (
        "InvalidBaseImagePlatform",
        1,
        "FROM --platform=linux/arm64 known AS arm64",
        "FROM --platform=linux/amd64 known AS amd64",
    ),
]


@pytest.mark.parametrize(("rule", "line", "bad", "good"), BOTH_WAYS)
def test_a_rule_finds_what_it_is_about_and_nothing_else(rule: str, line: int, bad: str, good: str) -> None:
    assert found(bad) == [(rule, line)]
    assert rule not in dict(found(good))


def test_a_source_that_is_ignored_is_found_unless_patterns_bring_things_back() -> None:
    text = "FROM known\nCOPY a.log b/c.txt /\nADD https://example.com/x.log /\nCOPY --from=other x.log /"
    assert found(text, ignore="*.log\nb\n") == [("CopyIgnoredFile", 2), ("CopyIgnoredFile", 2)]
    assert found(text, ignore="*.log\nb\n!a.log\n") == []
    assert found(text, ignore="*.txt\n") == []


def test_every_rule_is_tested_both_ways_and_has_advice() -> None:
    assert {rule.name for rule in RULES} == {row[0] for row in BOTH_WAYS} | {"CopyIgnoredFile"}
    assert len(RULES) == 22
    assert all(rule.description and rule.advice for rule in RULES)


def test_a_build_argument_counts() -> None:
    assert found("ARG TAG=1\nFROM known\nARG D\nWORKDIR $D", D="/d") == []
    assert found("ARG TAG=1\nFROM known\nARG D=/e\nWORKDIR $D", D="d") == [("WorkdirRelativePath", 4)]


def test_a_directive_skips_rules() -> None:
    bad = "FROM known as Base\nMAINTAINER me\n"
    assert found(bad) == [("StageNameCasing", 1), ("FromAsCasing", 1), ("MaintainerDeprecated", 2)]
    assert found("# check=skip=StageNameCasing, FromAsCasing\n" + bad) == [("MaintainerDeprecated", 3)]
    assert found("# check=skip=all\n" + bad) == []
    assert found("# check=skip=all\n" + bad, **{CHECK_ARG: "skip=StageNameCasing"})[0] == ("FromAsCasing", 2)


def test_a_comment_above_an_instruction_skips_rules_for_it_alone() -> None:
    text = "FROM known\n# check=skip=LegacyKeyValueFormat\nENV a b\nENV c d\n# check=skip=all\nENV e f"
    assert found(text) == [("LegacyKeyValueFormat", 4)]


def test_what_a_directive_can_say() -> None:
    checks = read_checks(" skip=A,B ; error=true;experimental=C")
    assert (checks.skip, checks.error, checks.experimental) == ({"A", "B"}, True, {"C"})
    assert read_checks("") == read_checks("error=false")
    for bad in ("skip", "error=perhaps", "what=1", ";"):
        with pytest.raises(ValueError, match="check option"):
            read_checks(bad)
    with pytest.raises(DockerfileError, match="invalid check option 'x'"):
        found("# check=x\nFROM known")


def test_a_near_name_is_proposed() -> None:
    (finding,) = check(target_of("FROM known\nARG VERSION=1\nWORKDIR /$VERSOIN"))
    assert finding.message == "Usage of undefined variable '$VERSOIN' (did you mean $VERSION?)"


def test_findings_are_shown_with_their_lines_and_advice() -> None:
    findings = check(target_of("FROM known\nENV a b\\\n c\x1b"))
    text = as_text(findings)
    assert "WARNING: LegacyKeyValueFormat: " in text
    assert "Dockerfile:2\n    2 | ENV a b\\\n    3 |  c\N{REPLACEMENT CHARACTER}\n  advice: write key=value" in text
    assert text.endswith("Check complete, 1 warning found.\n")
    assert as_text(()) == "Check complete, no warnings found.\n"
    assert summary(()) == ""
    assert summary(findings).splitlines()[1:] == [
        " 1 warning found (`bud check` says what to do):",
        ' - LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 2)',
    ]
    assert violation(findings).message == "Dockerfile:2: lint violation found for rules: LegacyKeyValueFormat"
    (warning,) = as_json(findings)["warnings"]
    assert warning["ruleName"] == "LegacyKeyValueFormat"
    assert warning["location"]["ranges"] == [{"start": {"line": 2}, "end": {"line": 3}}]


def test_of_a_long_instruction_some_lines_are_shown() -> None:
    (finding,) = check(target_of("FROM known\nENV a b" + "\\\n x" * 30))
    assert len(finding.excerpt().splitlines()) == 7
