"""Typed instructions: one frozen value per statement, nothing expanded yet."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from bud.lines import Heredoc
    from bud.parser import Statement
else:
    from bud.value import NamedTuple


class From(NamedTuple):
    """``FROM [--platform=p] base [AS name]``."""

    at: Statement
    base: str
    name: str
    platform: str


class Arg(NamedTuple):
    """``ARG name[=default] …``; a name without a default has None."""

    at: Statement
    pairs: tuple[tuple[str, str | None], ...]


class Env(NamedTuple):
    """``ENV k=v …`` or, legacy, ``ENV k v``."""

    at: Statement
    pairs: tuple[tuple[str, str], ...]
    legacy: bool


class Label(NamedTuple):
    """``LABEL k=v …`` or, legacy, ``LABEL k v``."""

    at: Statement
    pairs: tuple[tuple[str, str], ...]
    legacy: bool


class Run(NamedTuple):
    """``RUN command``: ``args`` is the exec form, or one text for the shell."""

    at: Statement
    args: tuple[str, ...]
    shell: bool
    mounts: tuple[str, ...]
    network: str
    security: str
    devices: tuple[str, ...]


class Cmd(NamedTuple):
    """``CMD``."""

    at: Statement
    args: tuple[str, ...]
    shell: bool


class Entrypoint(NamedTuple):
    """``ENTRYPOINT``."""

    at: Statement
    args: tuple[str, ...]
    shell: bool


class Copy(NamedTuple):
    """``COPY`` and ``ADD``; what only one of them takes is empty in the other."""

    at: Statement
    is_add: bool
    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    """Files whose content stands in the Dockerfile."""
    dest: str
    from_: str
    chown: str
    chmod: str
    link: bool
    parents: bool
    exclude: tuple[str, ...]
    checksum: str
    keep_git_dir: bool | None
    unpack: bool | None


class Expose(NamedTuple):
    """``EXPOSE``; sorted as written, as docker does it before it expands them."""

    at: Statement
    ports: tuple[str, ...]


class Volume(NamedTuple):
    """``VOLUME``."""

    at: Statement
    paths: tuple[str, ...]


class User(NamedTuple):
    """``USER name[:group]``."""

    at: Statement
    user: str


class Workdir(NamedTuple):
    """``WORKDIR path``."""

    at: Statement
    path: str


class Shell(NamedTuple):
    """``SHELL ["…"]``."""

    at: Statement
    args: tuple[str, ...]


class StopSignal(NamedTuple):
    """``STOPSIGNAL name``."""

    at: Statement
    signal: str


class Healthcheck(NamedTuple):
    """``HEALTHCHECK``; durations in nanoseconds, 0 = not set."""

    at: Statement
    test: tuple[str, ...]
    interval: int
    timeout: int
    start_period: int
    start_interval: int
    retries: int


class Onbuild(NamedTuple):
    """``ONBUILD instruction``: the text that is kept in the image."""

    at: Statement
    trigger: str


class Maintainer(NamedTuple):
    """``MAINTAINER``."""

    at: Statement
    name: str


Instruction = (
    From | Arg | Env | Label | Run | Cmd | Entrypoint | Copy | Expose | Volume | User | Workdir | Shell | StopSignal
    | Healthcheck | Onbuild | Maintainer
)  # fmt: skip
