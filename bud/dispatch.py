"""What each instruction does: how it changes the scope, and which step of the plan it becomes."""

from __future__ import annotations

import posixpath
import re
from contextlib import suppress

from bud import instructions
from bud.golang import print_duration, print_list, quote_list
from bud.lines import parse_heredoc
from bud.scope import DEFAULT_SHELL, Scope, as_json
from bud.steps import ConfigStep, CopyStep, RunStep, WorkdirStep
from bud.words import WordError, expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bud.instructions import Instruction
    from bud.parser import Statement
    from bud.steps import Origin, RunMount, Step

_OCTAL = r"[0-7]+\Z"
_SYMBOLIC = r"[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*\Z"
_PIPES = "/dev/pipes/"


class Context:
    """What the instructions of one stage are planned with."""

    def __init__(
        self,
        scope: Scope,
        build_args: Mapping[str, str],
        global_args: Mapping[str, str],
        origin_of: Callable[[instructions.Copy], Origin],
        mounts_of: Callable[[instructions.Run, Scope], tuple[RunMount, ...]],
    ) -> None:
        self.scope = scope
        self.build_args = build_args
        self.global_args = global_args
        self.origin_of = origin_of
        self.mounts_of = mounts_of


def dispatch(instruction: Instruction, context: Context) -> Step:
    """Plan one instruction. Raises :class:`bud.errors.DockerfileError`."""
    return _DISPATCH[type(instruction)](instruction, context)


def _config(at: Statement, created_by: str | None, *changes: tuple[str, object]) -> ConfigStep:
    return ConfigStep(at, changes, None if created_by is None else as_json(created_by))


def _arg(arg: instructions.Arg, context: Context) -> Step:
    shown = []
    for name, default in arg.pairs:
        value = default
        if name in context.build_args:
            value = context.build_args[name]
        elif default is not None:
            value = context.scope.expand(default, arg.at)
        else:
            value = context.global_args.get(name)
        context.scope.set_arg(name, value)
        shown.append(name if value is None else f"{name}={value}")
    return _config(arg.at, "ARG " + " ".join(shown))


def _pairs(instruction: instructions.Env | instructions.Label, scope: Scope) -> list[tuple[str, str]]:
    # All of them see the variables as they were before this instruction.
    pairs = []
    for written, text in instruction.pairs:
        name = scope.expand(written, instruction.at)
        if not name:
            raise instruction.at.error(f"the name {written[:60]} is empty once it is expanded")
        pairs.append((name, scope.expand(text, instruction.at)))
    return pairs


def _env(env: instructions.Env, context: Context) -> Step:
    pairs = _pairs(env, context.scope)
    for name, value in pairs:
        context.scope.set_env(name, value)
    safe = tuple((as_json(name), as_json(value)) for name, value in pairs)
    return _config(env.at, "ENV " + " ".join(f"{name}={value}" for name, value in pairs), ("env", safe))


def _label(label: instructions.Label, context: Context) -> Step:
    pairs = _pairs(label, context.scope)
    safe = tuple((as_json(name), as_json(value)) for name, value in pairs)
    return _config(label.at, "LABEL " + " ".join(f"{name}={value}" for name, value in pairs), ("labels", safe))


def _with_shell(args: tuple[str, ...], shell: bool, scope: Scope) -> tuple[str, ...]:
    return (*(scope.shell or DEFAULT_SHELL), " ".join(args)) if shell else args


def _cmd(cmd: instructions.Cmd, context: Context) -> Step:
    args = tuple(as_json(arg) for arg in _with_shell(cmd.args, cmd.shell, context.scope))
    context.scope.cmd_is_set = context.scope.args_escaped = True
    return _config(cmd.at, f"CMD {quote_list(args)}", ("cmd", args), ("args_escaped", True))


def _entrypoint(entrypoint: instructions.Entrypoint, context: Context) -> Step:
    args = tuple(as_json(arg) for arg in _with_shell(entrypoint.args, entrypoint.shell, context.scope))
    changes: list[tuple[str, object]] = [("entrypoint", args or None)]
    if not context.scope.cmd_is_set:
        changes.append(("cmd", None))
        if context.scope.args_escaped:  # it stays what it was
            changes.append(("args_escaped", True))
    return _config(entrypoint.at, f"ENTRYPOINT {quote_list(args)}", *changes)


def _expose(expose: instructions.Expose, context: Context) -> Step:
    from bud.ports import parse_ports

    ports: list[str] = []
    for text in expose.ports:
        for word in context.scope.expansion(text, expose.at).words:
            try:
                ports.extend(parse_ports(word))
            except ValueError as error:
                offset = max(expose.at.line.text.find(text, expose.at.args_offset), 0)
                problem = f"{word[:60]}: {error}"
                raise expose.at.error(problem, offset, expected="port[-last][/tcp|/udp|/sctp]") from None
    return _config(expose.at, f"EXPOSE {print_list(ports)}", ("exposed_ports", tuple(ports)))


def _volume(volume: instructions.Volume, context: Context) -> Step:
    paths = [context.scope.expand(path, volume.at) for path in volume.paths]
    if "" in paths:
        raise volume.at.error("the path of a VOLUME is empty", expected="VOLUME path")
    return _config(volume.at, f"VOLUME {print_list(paths)}", ("volumes", tuple(as_json(path) for path in paths)))


def _user(user: instructions.User, context: Context) -> Step:
    name = as_json(context.scope.expand(user.user, user.at))
    context.scope.user = name
    return _config(user.at, f"USER {name}", ("user", name))


def join_workdir(current: str, path: str) -> str:
    """The working directory after ``WORKDIR path``: absolute and clean."""
    return "/" + posixpath.normpath(posixpath.join("/", current, path)).lstrip("/")


def _workdir(workdir: instructions.Workdir, context: Context) -> Step:
    scope = context.scope
    path = as_json(join_workdir(scope.working_dir, scope.expand(workdir.path, workdir.at)))
    scope.working_dir = path
    if path == "/":
        return _config(workdir.at, "WORKDIR /", ("working_dir", "/"))
    return WorkdirStep(workdir.at, path, scope.user, f"WORKDIR {path}", title_of(workdir.at, scope))


def _shell(shell: instructions.Shell, context: Context) -> Step:
    context.scope.shell = shell.args
    return _config(shell.at, f"SHELL {print_list(shell.args)}", ("shell", shell.args))


def _stopsignal(stop: instructions.StopSignal, context: Context) -> Step:
    from bud.ports import is_signal

    name = context.scope.expand(stop.signal, stop.at)
    if not is_signal(name):
        raise stop.at.error(f"{name[:60]} is no signal", expected="a name such as SIGTERM, or a number")
    return _config(stop.at, f"STOPSIGNAL {name}", ("stop_signal", name))


def _healthcheck(check: instructions.Healthcheck, context: Context) -> Step:
    test = tuple(as_json(word) for word in check.test)
    times = [
        f"{name}:{print_duration(value)}"
        for name, value in (
            ("Interval", check.interval),
            ("Timeout", check.timeout),
            ("StartPeriod", check.start_period),
            ("StartInterval", check.start_interval),
        )
    ]
    shown = " ".join([f"Test:{print_list(test)}", *times, f"Retries:{check.retries}"])
    values = {name: value for name, value in check._asdict().items() if name != "at"}
    return _config(check.at, f"HEALTHCHECK {{{shown}}}", ("healthcheck", {**values, "test": test}))


def _onbuild(onbuild: instructions.Onbuild, context: Context) -> Step:
    return _config(onbuild.at, None, ("on_build", (as_json(onbuild.trigger),)))


def _maintainer(maintainer: instructions.Maintainer, context: Context) -> Step:
    name = as_json(maintainer.name)
    return _config(maintainer.at, f"MAINTAINER {name}", ("author", name))


def _run(run: instructions.Run, context: Context) -> Step:
    scope = context.scope
    if not run.shell and not run.args:
        raise run.at.error("RUN [] has no command", expected='RUN ["executable", …]')
    command: str | tuple[str, ...] = " ".join(run.args) if run.shell else run.args
    script = None
    if run.at.heredocs and isinstance(command, str):
        command, script = _run_heredocs(run, command)
    shell = (scope.shell or DEFAULT_SHELL) if run.shell else ()
    argv = (*shell, command) if isinstance(command, str) else command
    created_by = " ".join(["RUN", *scope.args_for_history(), *argv]) + " # buildkit"
    return RunStep(
        run.at,
        command,
        shell,
        scope.run_env(),
        context.mounts_of(run, scope),
        run.network,
        run.security,
        run.devices,
        script,
        as_json(created_by),
        title_of(run.at, scope),
    )


def _run_heredocs(run: instructions.Run, command: str) -> tuple[str, tuple[str, str] | None]:
    """The text for the shell, and the script if the only heredoc is one."""
    heredocs = run.at.heredocs
    if _is_bare_heredoc(command):
        text = heredocs[0].text()
        if text.startswith("#!"):
            path = _PIPES + posixpath.basename(heredocs[0].name)
            return path, (path, text)
        return text, None
    # The shell knows heredocs itself: it gets the line and the bodies as they stand in the file.
    return command + "".join(f"\n{heredoc.body}{heredoc.name}" for heredoc in heredocs), None


def _is_bare_heredoc(command: str) -> bool:
    try:
        return parse_heredoc(command) is not None
    except WordError:
        return False


def _copy(copy: instructions.Copy, context: Context) -> Step:
    scope = context.scope
    sources = tuple(scope.expand(source, copy.at) for source in copy.sources)
    dest = scope.expand(copy.dest, copy.at)
    chown, chmod = scope.expand(copy.chown, copy.at), scope.expand(copy.chmod, copy.at)
    checksum = scope.expand(copy.checksum, copy.at)
    _check_copy(copy, sources, chmod, checksum)
    _check_link(copy, chown)
    contents = tuple(
        (heredoc.name, scope.expand_body(heredoc, copy.at) if heredoc.expand else heredoc.text())
        for heredoc in copy.heredocs
    )
    words = [copy.at.keyword]
    words += ["--parents"] if copy.parents else []
    words += [f"--chown={chown}"] if chown else []
    words += [f"--chmod={chmod}"] if chmod else []
    words += [*sources, *(f"<<{heredoc.name}" for heredoc in copy.heredocs), dest]
    return CopyStep(
        copy.at,
        copy.is_add,
        sources,
        contents,
        absolute_dest(dest, scope.working_dir),
        context.origin_of(copy),
        chown,
        chmod,
        copy.link,
        copy.parents,
        copy.exclude,
        checksum,
        copy.keep_git_dir,
        copy.unpack,
        as_json(" ".join(words) + " # buildkit"),
        title_of(copy.at, scope),
    )


def _check_copy(copy: instructions.Copy, sources: tuple[str, ...], chmod: str, checksum: str) -> None:
    keyword = copy.at.keyword
    if chmod and not (re.match(_OCTAL, chmod) and int(chmod, 8) <= 0o7777) and not re.match(_SYMBOLIC, chmod):
        expected = "an octal mode up to 7777, or a symbolic one such as u=rwX,go=rX"
        raise copy.at.error(f"--chmod={chmod[:60]} is no mode", _flag(copy, "chmod"), expected=expected)
    for source in sources:
        if not copy.is_add and is_remote(source):
            hint = "ADD can fetch it"
            raise copy.at.error(f"{keyword} can't take the remote source {source[:200]}", hint=hint)
    if checksum and (len(sources) != 1 or copy.heredocs):
        raise copy.at.error("--checksum is for exactly one source", _flag(copy, "checksum"))
    if checksum and not is_remote(sources[0]):
        problem = "--checksum is for a remote source: a URL or a git repository"
        raise copy.at.error(problem, _flag(copy, "checksum"))


def _check_link(copy: instructions.Copy, chown: str) -> None:
    named = [part for part in chown.split(":", 1) if part and part != "root" and not part.isdigit()]
    if copy.link and named:
        problem = f"with --link nobody knows who {named[0][:60]} is: files are copied into an empty root"
        raise copy.at.error(problem, _flag(copy, "chown"), expected="a number", hint="use numbers, or no --link")


def _flag(copy: instructions.Copy, name: str) -> int:
    return next((flag.offset for flag in copy.at.flags if flag.text.startswith(f"--{name}=")), 0)


def is_remote(source: str) -> bool:
    """Whether a source of ADD is a URL or a git repository rather than a path."""
    return source.startswith(("http://", "https://", "git://", "ssh://", "git@"))


def absolute_dest(dest: str, working_dir: str) -> str:
    """A destination as an absolute, clean path that keeps what says "directory": a "/" or "/." at its end."""
    if dest in ("", "."):
        dest = "./"
    path = join_workdir(working_dir, dest)
    if dest.endswith("/"):
        return path if path == "/" else path + "/"
    if dest.endswith("/."):
        return path.rstrip("/") + "/."
    return path


def title_of(at: Statement, scope: Scope) -> str:
    """One line for people: the instruction with its variables put in where that is possible."""
    text = at.keyword + at.line.text[len(at.written) :]
    raw = at.keyword == "RUN"
    with suppress(WordError):
        escape = at.line.source.escape
        text = expand(text, scope.variables, escape=escape, raw_quotes=raw, raw_escapes=raw, keep_unset=True).text
    if at.heredocs:
        first, _, more = at.heredocs[0].body.strip().partition("\n")
        text += f" ({first.rstrip()}{'...' if more else ''})"
    return as_json(" ".join(text.splitlines())).strip()


_DISPATCH: dict[type, Callable[..., Step]] = {
    instructions.Arg: _arg,
    instructions.Cmd: _cmd,
    instructions.Copy: _copy,
    instructions.Entrypoint: _entrypoint,
    instructions.Env: _env,
    instructions.Expose: _expose,
    instructions.Healthcheck: _healthcheck,
    instructions.Label: _label,
    instructions.Maintainer: _maintainer,
    instructions.Onbuild: _onbuild,
    instructions.Run: _run,
    instructions.Shell: _shell,
    instructions.StopSignal: _stopsignal,
    instructions.User: _user,
    instructions.Volume: _volume,
    instructions.Workdir: _workdir,
}
