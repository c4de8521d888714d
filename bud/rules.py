"""The rules of ``docker build --check`` as data: a name, what it is about, what to do, and a function that finds.

Each function gets a :class:`View` and yields (logical line, message, physical line or 0 for all of the instruction).
"""

from __future__ import annotations

import posixpath
import re

from bud.instructions import Arg, Cmd, Copy, Entrypoint, Env, Expose, Healthcheck, Label, Maintainer, Shell, Workdir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import NamedTuple

    from bud.lines import LogicalLine
    from bud.lint import StageView, Target
    from bud.parser import Statement
    from bud.stages import Stage

    Found = Iterator[tuple[LogicalLine, str, int]]
else:
    from bud.value import NamedTuple

_SENSITIVE = "(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)"
_PUBLIC = "(?:_|^)public(?:_|$)"
_RESERVED = ("context", "scratch")
_NOT_VARIABLES = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")


class View(NamedTuple):
    """What a rule sees."""

    target: Target
    values: Mapping[str, str]
    """The ARGs that FROM lines know."""
    defaults: Mapping[str, str]
    """The same without any build argument."""
    declared: frozenset[str]
    stages: tuple[StageView, ...]

    def statements(self) -> Iterator[Statement]:
        """Each FROM and all that follows it."""
        for view in self.stages:
            yield view.stage.start.at
            for instruction in view.stage.instructions:
                yield instruction.at


class Rule(NamedTuple):
    """One rule; its name is docker's."""

    name: str
    description: str
    advice: str
    check: Callable[[View], Found]
    experimental: bool = False
    """It applies only where the ``check`` directive asks for it."""


# --- how it is written ------------------------------------------------------------------------------------------------


def _from_words(stage: Stage) -> list[str]:
    """``image``, ``AS``, ``name`` as written; the last two only where there is a name."""
    return stage.start.at.args.split()


def _stage_name_casing(view: View) -> Found:
    for one in view.stages:
        words = _from_words(one.stage)
        if len(words) == 3 and words[2] != words[2].lower():
            yield one.stage.start.at.line, f"Stage name '{words[2]}' should be lowercase", 0


def _from_as_casing(view: View) -> Found:
    for one in view.stages:
        words, keyword = _from_words(one.stage), one.stage.start.at.written
        if len(words) == 3 and _one_case(keyword):
            wanted = words[1].lower() if keyword.islower() else words[1].upper()
            if words[1] != wanted:
                message = f"'{words[1]}' and '{keyword}' keywords' casing do not match"
                yield one.stage.start.at.line, message, 0


def _no_empty_continuation(view: View) -> Found:
    for line in view.target.dockerfile.source.lines:
        if line.blank_lines:
            yield line, "Empty continuation line", line.blank_lines[0]


def _consistent_instruction_casing(view: View) -> Found:
    words = [statement.written for statement in view.statements()]
    lower = sum(word.islower() for word in words) > sum(word.isupper() for word in words)
    for statement in view.statements():
        word = statement.written
        if word != (word.lower() if lower else word.upper()):
            case = "lowercase" if lower else "uppercase"
            message = f"Command '{word}' should match the case of the command majority ({case})"
            yield statement.line, message, 0


def _one_case(word: str) -> bool:
    return word in (word.lower(), word.upper())


def _legacy_key_value_format(view: View) -> Found:
    for one in view.stages:
        for instruction in one.stage.instructions:
            if isinstance(instruction, Env | Label) and instruction.legacy:
                keyword = instruction.at.keyword
                message = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
                yield instruction.at.line, message, 0


def _maintainer_deprecated(view: View) -> Found:
    for one in view.stages:
        for instruction in one.stage.instructions:
            if isinstance(instruction, Maintainer):
                yield instruction.at.line, "Maintainer instruction is deprecated in favor of using label", 0


def _invalid_definition_description(view: View) -> Found:
    for arg in view.target.dockerfile.args:
        yield from _described(arg.at, [name for name, _ in arg.pairs])
    for one in view.stages:
        if one.stage.start.name:
            yield from _described(one.stage.start.at, [one.stage.start.name])
        for instruction in one.stage.instructions:
            if isinstance(instruction, Arg):
                yield from _described(instruction.at, [name for name, _ in instruction.pairs])


def _described(at: Statement, names: list[str]) -> Found:
    comments = [comment for comment in at.line.comments if not re.match(r"(?i)check\s*=", comment)]
    if comments and comments[-1].partition(" ")[0] not in names:
        example = names[0] if len(names) == 1 else "<arg_key>"
        yield at.line, f"Comment for {at.keyword} should follow the format: `# {example} <description>`", 0


# --- stages and their bases -------------------------------------------------------------------------------------------


def _duplicate_stage_name(view: View) -> Found:
    seen: set[str] = set()
    for one in view.stages:
        name = one.stage.start.name
        if name and name in seen:
            yield one.stage.start.at.line, f"Duplicate stage name '{name}', stage names should be unique", 0
        seen.add(name)


def _reserved_stage_name(view: View) -> Found:
    for one in view.stages:
        if one.stage.start.name in _RESERVED:
            message = f"Stage name should not use the same name as reserved stage '{one.stage.start.name}'"
            yield one.stage.start.at.line, message, 0


def _undefined_arg_in_from(view: View) -> Found:
    for one in view.stages:
        for name in sorted(one.base.missing | one.platform.missing):
            if name not in view.declared:
                message = f"FROM argument '{name}' is not declared{_near(name, view.declared)}"
                yield one.stage.start.at.line, message, 0


def _invalid_default_arg_in_from(view: View) -> Found:
    from bud.words import WordError, expand
    from buildlib import Reference
    from buildlib.errors import InvalidReference

    for one in view.stages:
        start = one.stage.start
        try:
            Reference.parse(expand(start.base, view.defaults, escape=start.at.line.source.escape).text)
        except InvalidReference:
            message = f"Default value for ARG {start.base} results in empty or invalid base image name"
            yield start.at.line, message, 0
        except WordError:
            continue


def _redundant_target_platform(view: View) -> Found:
    for one in view.stages:
        platform = one.platform
        alone = platform.used == {"TARGETPLATFORM"} and not platform.missing
        if alone and platform.text == view.values.get("TARGETPLATFORM"):
            text = one.stage.start.platform
            message = f"Setting platform to predefined {text} in FROM is redundant as this is the default behavior"
            yield one.stage.start.at.line, message, 0


def _from_platform_flag_const_disallowed(view: View) -> Found:
    for one in view.stages:
        platform, start = one.platform, one.stage.start
        if not platform.text or platform.used or platform.missing:
            continue
        parts = platform.text.split("/")
        if not any(part and part in start.name for part in parts[:2]):
            message = f'FROM --platform flag should not use constant value "{platform.text}"'
            yield start.at.line, message, 0


def _invalid_base_image_platform(view: View) -> Found:
    for one in view.stages:
        if one.parent is not None or one.image is None or not one.image.platform:
            continue
        expected = one.platform.text or view.values.get("TARGETPLATFORM", "")
        actual = one.image.platform
        if expected and expected.split("/")[:2] != actual.split("/")[:2]:
            name = one.base.text
            message = f'Base image {name} was pulled with platform "{actual}", expected "{expected}" for current build'
            yield one.stage.start.at.line, message, 0


# --- what instructions do ---------------------------------------------------------------------------------------------


def _json_args_recommended(view: View) -> Found:
    shells: list[bool] = []
    for one in view.stages:
        # Who sets a SHELL has thought about it.
        has_shell = shells[one.parent] if one.parent is not None else bool(one.image and one.image.shell)
        for instruction in one.stage.instructions:
            if isinstance(instruction, Shell):
                has_shell = True
            elif isinstance(instruction, Cmd | Entrypoint) and instruction.shell and instruction.args and not has_shell:
                why = "to prevent unintended behavior related to OS signals"
                yield instruction.at.line, f"JSON arguments recommended for {instruction.at.keyword} {why}", 0
        shells.append(has_shell)


def _multiple_instructions_disallowed(view: View) -> Found:
    for one in view.stages:
        last: dict[str, Statement] = {}
        for instruction in one.stage.instructions:
            if isinstance(instruction, Cmd | Entrypoint | Healthcheck):
                keyword = instruction.at.keyword
                if keyword in last:
                    why = "because only the last one will be used"
                    message = f"Multiple {keyword} instructions should not be used in the same stage {why}"
                    yield last[keyword].line, message, 0
                last[keyword] = instruction.at


def _undefined_var(view: View) -> Found:
    for one in view.stages:
        if one.image is None:
            # What the base sets is not known, so neither is what is undefined.
            continue
        for step in one.steps:
            missing = {name for expansion in step.texts for name in expansion.missing}
            for name in sorted(missing - step.declared - set(_NOT_VARIABLES)):
                message = f"Usage of undefined variable '${name}'{_near(name, step.known, '$')}"
                yield step.instruction.at.line, message, 0


def _near(name: str, known: Iterable[str], sign: str = "") -> str:
    import difflib

    near = difflib.get_close_matches(name, sorted(known), 1, 0.7)
    return f" (did you mean {sign}{near[0]}?)" if near and near[0] != name else ""


def _workdir_relative_path(view: View) -> Found:
    settled: list[bool] = []
    for one in view.stages:
        known = settled[one.parent] if one.parent is not None else False
        for step in one.steps:
            if not isinstance(step.instruction, Workdir):
                continue
            path = step.texts[0].text if step.texts else step.instruction.path
            if not known and not path.startswith("/"):
                message = f'Relative workdir "{path}" can have unexpected results if the base image changes'
                yield step.instruction.at.line, message, 0
            # Whoever mends the first has mended those that follow.
            known = True
        settled.append(known)


def _secrets_used_in_arg_or_env(view: View) -> Found:
    for one in view.stages:
        for instruction in one.stage.instructions:
            if isinstance(instruction, Arg | Env):
                for name, _value in instruction.pairs:
                    if re.search(_SENSITIVE, name, re.IGNORECASE) and not re.search(_PUBLIC, name, re.IGNORECASE):
                        keyword = instruction.at.keyword
                        message = f'Do not use ARG or ENV instructions for sensitive data ({keyword} "{name}")'
                        yield instruction.at.line, message, 0


def _copy_ignored_file(view: View) -> Found:
    ignore = view.target.ignore
    if not ignore or any(pattern.negated for pattern in ignore.patterns):
        return
    for one in view.stages:
        for step in one.steps:
            copy = step.instruction
            if not isinstance(copy, Copy) or copy.from_:
                continue
            for expansion in step.texts[: len(copy.sources)]:
                source = expansion.text
                if "://" in source or source.startswith("git@"):
                    continue
                pattern = ignore.why(posixpath.normpath("/" + source).lstrip("/"))
                if pattern is not None:
                    what = copy.at.keyword.capitalize()
                    yield copy.at.line, f'Attempting to {what} file "{source}" that is excluded by {pattern}', 0


def _ports(view: View) -> Iterator[tuple[LogicalLine, str]]:
    for one in view.stages:
        for step in one.steps:
            if isinstance(step.instruction, Expose):
                for expansion in step.texts:
                    for port in expansion.words:
                        yield step.instruction.at.line, port


def _expose_proto_casing(view: View) -> Found:
    for line, port in _ports(view):
        protocol = port.rpartition(":")[2].partition("/")[2]
        if protocol != protocol.lower():
            yield line, f"Defined protocol '{port}' in EXPOSE instruction should be lowercase", 0


def _expose_invalid_format(view: View) -> Found:
    for line, port in _ports(view):
        if ":" in port:
            message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            yield line, message, 0


RULES = (
    Rule(
        "StageNameCasing",
        "Stage names should be lowercase",
        "write the name in small letters; it is looked up in any case, which confuses readers",
        _stage_name_casing,
    ),
    Rule(
        "FromAsCasing",
        "The 'as' keyword should match the case of the 'from' keyword",
        "write FROM … AS, or from … as",
        _from_as_casing,
    ),
    Rule(
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
        "remove the empty line, or make it a comment",
        _no_empty_continuation,
    ),
    Rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        "write all keywords in capitals, or none",
        _consistent_instruction_casing,
    ),
    Rule(
        "DuplicateStageName",
        "Stage names should be unique",
        "give each stage a name of its own; a name that is used twice means the last",
        _duplicate_stage_name,
    ),
    Rule(
        "ReservedStageName",
        "Reserved words should not be used as stage names",
        "choose another name than scratch or context",
        _reserved_stage_name,
    ),
    Rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        'write ["program", "argument"]: in the shell form a shell gets the signals; or say SHELL if that is meant',
        _json_args_recommended,
    ),
    Rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        'write LABEL org.opencontainers.image.authors="…"',
        _maintainer_deprecated,
    ),
    Rule(
        "UndefinedArgInFrom",
        "FROM command must use declared ARGs",
        "declare the ARG above the first FROM",
        _undefined_arg_in_from,
    ),
    Rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the "
        "base image changes",
        "begin the path with a slash",
        _workdir_relative_path,
    ),
    Rule(
        "UndefinedVar",
        "Variables should be defined before their use",
        "declare it with ARG or ENV in this stage; write \\$name if no variable is meant",
        _undefined_var,
    ),
    Rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
        "remove all but the last; the others have no effect",
        _multiple_instructions_disallowed,
    ),
    Rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
        "write key=value, and quote a value that holds blanks",
        _legacy_key_value_format,
    ),
    Rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        "remove the --platform flag",
        _redundant_target_platform,
    ),
    Rule(
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
        "use RUN --mount=type=secret: values of ARG and ENV can be read from the image",
        _secrets_used_in_arg_or_env,
    ),
    Rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
        "give the ARG a default with which the name is complete",
        _invalid_default_arg_in_from,
    ),
    Rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
        "use $BUILDPLATFORM or $TARGETPLATFORM, or name the stage for the platform",
        _from_platform_flag_const_disallowed,
    ),
    Rule(
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
        "change the pattern, or copy something else: this source will not be found",
        _copy_ignored_file,
    ),
    Rule(
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`",
        "begin the comment with the name, or leave an empty line below it",
        _invalid_definition_description,
        experimental=True,
    ),
    Rule(
        "ExposeProtoCasing",
        "Protocol in EXPOSE instruction should be lowercase",
        "write the protocol in small letters",
        _expose_proto_casing,
    ),
    Rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction",
        "name the port of the container only; addresses and host ports are for whoever runs it",
        _expose_invalid_format,
    ),
    Rule(
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target build",
        "choose a base that exists for this platform, or another --platform",
        _invalid_base_image_platform,
    ),
)
"""In the order of docker's documentation."""
