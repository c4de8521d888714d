"""The state of a stage while it is planned: variables, ARGs, and the few config fields that later steps depend on."""

from __future__ import annotations

from bud.words import WordError, expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from bud.lines import Heredoc
    from bud.parser import Statement
    from bud.steps import BaseConfig
    from bud.words import Expansion

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
_NOT_ENV = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")


class Scope:
    """What a stage knows at one of its lines.

    Who wrote last wins: an ARG with a value that comes after an ENV wins for expansion and for RUN, while the image
    keeps the value of the ENV; an ENV after that wins back.
    """

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}
        """For expansion and for the environment of RUN."""
        self.image_env: dict[str, str] = {}
        """As the config has it."""
        self.args: dict[str, str | None] = {}
        """The ARGs that were declared, in the order of their first declaration."""
        self.working_dir = ""
        self.user = ""
        self.shell: tuple[str, ...] = ()
        self.args_escaped = False
        self.cmd_is_set = False
        """Whether this stage itself has a CMD."""

    @classmethod
    def of_image(cls, config: BaseConfig) -> Scope:
        """The state at the start of a stage that is built on an image."""
        scope = cls()
        for item in config.env:
            name, _, value = item.partition("=")
            scope.set_env(name, value)
        scope.working_dir, scope.user, scope.shell = config.working_dir, config.user, config.shell
        scope.args_escaped = config.args_escaped
        return scope

    def child(self) -> Scope:
        """The state at the start of a stage that is built on this one's end."""
        scope = Scope()
        # The image's variables are set anew over the inherited ARGs.
        scope.variables = {**self.variables, **self.image_env}
        scope.image_env = dict(self.image_env)
        scope.args = dict(self.args)
        scope.working_dir, scope.user, scope.shell = self.working_dir, self.user, self.shell
        scope.args_escaped = self.args_escaped
        return scope

    def set_env(self, name: str, value: str) -> None:
        """An ENV, or a variable of the base image."""
        self.variables[name] = value
        self.image_env[name] = as_json(value)

    def set_arg(self, name: str, value: str | None) -> None:
        """An ARG; without a value it only is declared."""
        self.args[name] = value
        if value is not None and name not in _NOT_ENV:
            self.variables[name] = value

    def run_env(self) -> tuple[tuple[str, str], ...]:
        """What the environment of a RUN has beyond the image's."""
        return tuple((name, value) for name, value in self.variables.items() if self.image_env.get(name) != value)

    def args_for_history(self) -> list[str]:
        """``|2 a=1 b=2`` as a list: the ARGs in scope with the values they have now; [] when there are none."""
        if not self.args:
            return []
        shown = [f"{name}={self.variables.get(name, value or '')}" for name, value in self.args.items()]
        return [f"|{len(shown)}", *shown]

    def expand(self, text: str, at: Statement) -> str:
        """``text`` of the statement ``at``, expanded."""
        return self.expansion(text, at).text

    def expansion(self, text: str, at: Statement) -> Expansion:
        """The same with all that is known about it. Raises :class:`bud.errors.DockerfileError`."""
        return expand_at(text, self.variables, at)

    def expand_body(self, heredoc: Heredoc, at: Statement) -> str:
        """A heredoc's text: quotes mean nothing in it and the escape character is the backslash."""
        text = heredoc.text()
        try:
            return expand(text, self.variables, quotes=False).text
        except WordError as error:
            line = heredoc.line + text.count("\n", 0, error.offset)
            raise at.line.source.error(f"in the heredoc {heredoc.name}: {error.message}", line) from None


def expand_at(text: str, variables: Mapping[str, str], at: Statement) -> Expansion:
    """Expand ``text``, which stands in ``at``; an error points to the place."""
    try:
        return expand(text, variables, escape=at.line.source.escape)
    except WordError as error:
        # A value was cut out of the line unchanged, so it is found again there.
        start = at.line.text.find(text, at.args_offset)
        start = start if start != -1 else at.line.text.find(text)
        raise at.error(error.message, start + error.offset if start != -1 else None) from None


def as_json(text: str) -> str:
    """``text`` as it can stand in a JSON document: each byte that is not UTF-8 becomes U+FFFD, as Go does it."""
    if text.isascii():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= char <= "\udfff" else char for char in text)
