"""The grammar of each keyword: from a statement to a typed instruction, its flags and arguments checked."""

from __future__ import annotations

import re

from bud.arrays import NotStrings, parse_array
from bud.errors import did_you_mean
from bud.flags import BOOL, MANY, ONE, FlagError, Flags, split_flags
from bud.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bud.lines import BLANKS, join_heredoc_signs, parse_heredoc, split_keyword
from bud.words import WordError, expand, is_space, split, trim

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bud.errors import DockerfileError
    from bud.instructions import Instruction
    from bud.lines import Heredoc
    from bud.parser import Statement

_STAGE_NAME = r"[a-z][a-z0-9\-_.]*\Z"
_ONBUILD = r"(?i)\s*ONBUILD\s*"
_BLANKS = f"[{BLANKS}]+"


def parse_instruction(at: Statement) -> Instruction:
    """The typed value of a statement. Raises :class:`bud.errors.DockerfileError`."""
    parse = _PARSERS.get(at.keyword)
    if parse is None:
        hint = did_you_mean(at.keyword, _PARSERS)
        raise at.error(f"unknown instruction {at.written[:60]}", 0, expected="an instruction", hint=hint)
    try:
        return parse(at)
    except FlagError as error:
        raise at.error(error.message, error.offset, expected=error.expected, hint=error.hint) from None
    except NotStrings as error:
        message = f"a JSON array of arguments must hold strings only: {error}"
        raise at.error(message, expected='["string", …]') from None


def _from(at: Statement) -> From:
    words = _blank_separated(at.args)
    flags = Flags(list(at.flags), {"platform": ONE}, at.keyword)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        raise at.error(f"FROM takes one or three arguments, not {len(words)}", expected="FROM image [AS name]")
    name = words[2].lower() if len(words) == 3 else ""
    if name and not re.match(_STAGE_NAME, name):
        expected = "a letter, then letters, digits, '-', '_' or '.'"
        offset = at.args_offset + at.args.rfind(words[2])
        raise at.error(f"invalid name for a stage: {words[2]}", offset, expected=expected)
    return From(at, words[0], name, flags.one("platform"))


def _arg(at: Statement) -> Arg:
    # docker does not look at the flags of ARG: they vanish.
    pairs: list[tuple[str, str | None]] = []
    for word, offset in split(at.args, at.line.source.escape):
        key, equals, value = word.partition("=")
        if not key:
            raise at.error("the name of an ARG is empty", at.args_offset + offset, expected="ARG name[=default]")
        pairs.append((key, value if equals else None))
    if not pairs:
        raise _too_few(at)
    return Arg(at, tuple(pairs))


def _pairs(at: Statement) -> tuple[tuple[tuple[str, str], ...], bool]:
    Flags(list(at.flags), {}, at.keyword)
    words = split(at.args, at.line.source.escape)
    if not words:
        raise _too_few(at, f"{at.keyword} key=value")
    if "=" not in words[0][0]:
        # The old form: one key, and all the rest is its value.
        parts = re.split(_BLANKS, at.args, maxsplit=1)
        if len(parts) < 2:
            raise at.error(f"{at.keyword} must have two arguments", expected=f"{at.keyword} key=value")
        return ((parts[0], parts[1]),), True
    pairs: list[tuple[str, str]] = []
    for word, offset in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            problem = f"there is no = in {word[:60]}" if not equals else "a name is empty"
            hint = "quote a value that holds blanks" if pairs and not equals else None
            raise at.error(problem, at.args_offset + offset, expected="key=value", hint=hint)
        pairs.append((key, value))
    return tuple(pairs), False


def _env(at: Statement) -> Env:
    return Env(at, *_pairs(at))


def _label(at: Statement) -> Label:
    return Label(at, *_pairs(at))


def _command(text: str) -> tuple[tuple[str, ...], bool]:
    """Arguments in either form, and whether they are for the shell."""
    array = parse_array(text)
    if array is not None:
        return array, False
    return ((text,) if text else ()), True


def _run(at: Statement) -> Run:
    takes = {"mount": MANY, "network": ONE, "security": ONE, "device": MANY}
    flags = Flags(list(at.flags), takes, at.keyword)
    _one_of(at, flags, "network", ("default", "none", "host"))
    _one_of(at, flags, "security", ("sandbox", "insecure"))
    args, shell = _command(at.args)
    network, security = flags.one("network") or "default", flags.one("security") or "sandbox"
    return Run(at, args, shell, flags.many("mount"), network, security, flags.many("device"))


def _one_of(at: Statement, flags: Flags, name: str, values: tuple[str, ...]) -> None:
    value = flags.one(name)
    if name in flags.values and value not in values:
        hint = did_you_mean(value, values)
        message = f"--{name}={value[:60]} is not known"
        raise at.error(message, flags.offset(name), expected=" or ".join(values), hint=hint)


def _cmd(at: Statement) -> Cmd:
    Flags(list(at.flags), {}, at.keyword)
    return Cmd(at, *_command(at.args))


def _entrypoint(at: Statement) -> Entrypoint:
    Flags(list(at.flags), {}, at.keyword)
    return Entrypoint(at, *_command(at.args))


_COPY_TAKES = {"from": ONE, "chown": ONE, "chmod": ONE, "link": BOOL, "parents": BOOL, "exclude": MANY}
_ADD_TAKES = {
    "chown": ONE, "chmod": ONE, "link": BOOL, "exclude": MANY, "checksum": ONE, "keep-git-dir": BOOL, "unpack": BOOL,
}  # fmt: skip


def _copy(at: Statement) -> Copy:
    is_add = at.keyword == "ADD"
    array = parse_array(at.args)
    words = list(array) if array is not None else _blank_separated(at.args)
    if at.heredocs and array is None:
        words = join_heredoc_signs(tuple(words))
    if len(words) < 2:
        problem = f"{at.keyword} needs a source and a destination"
        raise at.error(problem, expected=f"{at.keyword} source … destination")
    flags = Flags(list(at.flags), _ADD_TAKES if is_add else _COPY_TAKES, at.keyword)
    from_ = flags.one("from")
    if from_ and _changes(from_):
        hint = "name a stage with FROM … AS, and use ARGs there"
        raise at.error("--from can't hold variables or quotes", flags.offset("from"), hint=hint)
    dest = words.pop()
    if array is None and _heredoc(dest) is not None:
        raise at.error("a heredoc can't be the destination", at.args_offset + at.args.rfind("<<"))
    bodies = {heredoc.name: heredoc for heredoc in at.heredocs}
    sources: list[str] = []
    heredocs: list[Heredoc] = []
    for word in words:
        announced = _heredoc(word) if array is None else None
        if announced is None:
            sources.append(word)
        else:
            heredocs.append(bodies.get(announced.name, announced))
    return Copy(
        at,
        is_add,
        tuple(sources),
        tuple(heredocs),
        dest,
        from_,
        flags.one("chown"),
        flags.one("chmod"),
        flags.on("link"),
        flags.on("parents"),
        flags.many("exclude"),
        flags.one("checksum"),
        flags.given("keep-git-dir"),
        flags.given("unpack"),
    )


def _heredoc(word: str) -> Heredoc | None:
    if "<<" not in word:
        return None
    try:
        return parse_heredoc(word)
    except WordError:
        return None


def _changes(text: str) -> bool:
    try:
        return expand(text, {}).text != text
    except WordError:
        return True


def _expose(at: Statement) -> Expose:
    Flags(list(at.flags), {}, at.keyword)
    if not at.args:
        raise _too_few(at, "EXPOSE port[/protocol]")
    return Expose(at, tuple(sorted(_blank_separated(at.args))))


def _volume(at: Statement) -> Volume:
    Flags(list(at.flags), {}, at.keyword)
    array = parse_array(at.args)
    words = list(array) if array is not None else _blank_separated(at.args)
    if not words:
        raise _too_few(at, "VOLUME path")
    paths = tuple(trim(word) for word in words)
    if "" in paths:
        raise at.error("the path of a VOLUME is empty", expected="VOLUME path")
    return Volume(at, paths)


def _one(at: Statement) -> str:
    Flags(list(at.flags), {}, at.keyword)
    if not at.args:
        raise at.error(f"{at.keyword} takes exactly one argument", expected=f"{at.keyword} value")
    return at.args


def _user(at: Statement) -> User:
    return User(at, _one(at))


def _workdir(at: Statement) -> Workdir:
    return Workdir(at, _one(at))


def _maintainer(at: Statement) -> Maintainer:
    return Maintainer(at, _one(at))


def _stopsignal(at: Statement) -> StopSignal:
    # Like ARG, it drops flags unseen.
    return StopSignal(at, _one(at._replace(flags=())))


def _shell(at: Statement) -> Shell:
    Flags(list(at.flags), {}, at.keyword)
    array = parse_array(at.args)
    if not array:
        problem = "SHELL takes the JSON form only" if at.args and array is None else "SHELL has no argument"
        raise at.error(problem, expected='SHELL ["executable", "argument", …]')
    return Shell(at, array)


def _healthcheck(at: Statement) -> Healthcheck:
    end = 0
    while end < len(at.args) and not is_space(at.args[end]):
        end += 1
    kind, rest = at.args[:end].upper(), trim(at.args[end:])
    if not kind:
        raise _too_few(at, "HEALTHCHECK CMD command, or HEALTHCHECK NONE")
    command, shell = _command(rest)
    if kind == "NONE":
        if command:
            raise at.error("HEALTHCHECK NONE takes no arguments", at.args_offset + end)
        return Healthcheck(at, ("NONE",), 0, 0, 0, 0, 0)
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    flags = Flags(list(at.flags), dict.fromkeys(names, ONE), at.keyword)
    if kind != "CMD":
        hint = did_you_mean(kind, ("CMD", "NONE"))
        raise at.error(f"unknown kind of HEALTHCHECK: {kind[:60]}", expected="CMD or NONE", hint=hint)
    if not command:
        raise at.error("HEALTHCHECK CMD has no command", expected="HEALTHCHECK CMD command")
    interval, timeout, start_period, start_interval = (_duration(at, flags, name) for name in names[:4])
    test = ("CMD-SHELL" if shell else "CMD", *command)
    return Healthcheck(at, test, interval, timeout, start_period, start_interval, _retries(at, flags))


def _duration(at: Statement, flags: Flags, name: str) -> int:
    from bud.golang import parse_duration

    text = flags.one(name)
    if not text:
        return 0
    try:
        value = parse_duration(text)
    except ValueError:
        value = -1
    if value < 0 or 0 < value < 1_000_000:
        problem = f"--{name}={text[:60]} is no duration of at least 1ms"
        raise at.error(problem, flags.offset(name), expected="a duration such as 30s or 1m30s")
    return value


def _retries(at: Statement, flags: Flags) -> int:
    text = flags.one("retries")
    if not text:
        return 0
    if not re.fullmatch(r"\+?[0-9]{1,10}", text) or int(text) >= 1 << 31:
        raise at.error(f"--retries={text[:60]} is no count", flags.offset("retries"), expected="a number, 0 or more")
    return int(text)


def _onbuild(at: Statement) -> Onbuild:
    if not at.args:
        raise _too_few(at, "ONBUILD instruction")
    Flags(list(at.flags), {}, at.keyword)
    keyword = re.split(_BLANKS, at.args, maxsplit=1)[0].upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise at.error(f"{keyword} can't be a trigger", expected="ONBUILD and another instruction")
    if keyword in ("ADD", "COPY", "RUN", "CMD", "ENTRYPOINT", "VOLUME", "SHELL"):
        parse_array(_after_flags(at.args))  # docker refuses arrays of other things than strings already here
    trigger = re.sub(_ONBUILD, "", at.line.text, count=1)
    for heredoc in at.heredocs:
        trigger += f"\n{heredoc.body}{heredoc.name}"
    return Onbuild(at, trigger)


def _after_flags(text: str) -> str:
    _flags, start = split_flags(text, split_keyword(text)[1])
    return text[start:]


def _blank_separated(text: str) -> list[str]:
    return re.split(_BLANKS, text) if text else []


def _too_few(at: Statement, expected: str | None = None) -> DockerfileError:
    return at.error(f"{at.keyword} needs at least one argument", expected=expected)


_PARSERS: Mapping[str, Callable[[Statement], Instruction]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
