"""Each keyword's flags and arguments are read by its own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bud.errors import DockerfileError
from bud.grammar import parse_instruction
from bud.parser import parse

if TYPE_CHECKING:
    from bud.instructions import Instruction

S = 1_000_000_000


def read(text: str) -> Instruction:
    return parse_instruction(parse(text)[1][0])


def fields(text: str) -> dict[str, Any]:
    values = read(text)._asdict()
    del values["at"]
    return values


# (line, fields that are not empty)
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("FROM a", {"base": "a"}),
    ("FROM a AS B-1.x_", {"base": "a", "name": "b-1.x_"}),
    ("from --platform=$P a as b", {"base": "a", "name": "b", "platform": "$P"}),
    ("ARG a", {"pairs": (("a", None),)}),
    ("ARG a b=2 c='x y'", {"pairs": (("a", None), ("b", "2"), ("c", "'x y'"))}),
    ("ARG a=", {"pairs": (("a", ""),)}),
    ("ARG --x y", {"pairs": (("y", None),)}),
    ("ENV a=b", {"pairs": (("a", "b"),)}),
    ("ENV a=b c='d e' f=\"g h\" i=j\\ k", {"pairs": (("a", "b"), ("c", "'d e'"), ("f", '"g h"'), ("i", "j\\ k"))}),
    ("ENV a b c=d", {"pairs": (("a", "b c=d"),), "legacy": True}),
    ("ENV a   b  c", {"pairs": (("a", "b  c"),), "legacy": True}),
    ("ENV a=b=c", {"pairs": (("a", "b=c"),)}),
    ("LABEL com.x.y=z", {"pairs": (("com.x.y", "z"),)}),
    ("LABEL a b", {"pairs": (("a", "b"),), "legacy": True}),
    ("RUN a b", {"args": ("a b",), "shell": True, "network": "default", "security": "sandbox"}),
    ('RUN ["a", "b"]', {"args": ("a", "b"), "network": "default", "security": "sandbox"}),
    ("RUN ['a', 'b']", {"args": ("['a', 'b']",), "shell": True, "network": "default", "security": "sandbox"}),
    ('RUN ["a",]', {"args": ('["a",]',), "shell": True, "network": "default", "security": "sandbox"}),
    ("RUN [ -f x ]", {"args": ("[ -f x ]",), "shell": True, "network": "default", "security": "sandbox"}),
    ("RUN", {"shell": True, "network": "default", "security": "sandbox"}),
    (
        "RUN --mount=a --mount=b --network=none --security=insecure --device=d x",
        {
            "args": ("x",),
            "shell": True,
            "mounts": ("a", "b"),
            "network": "none",
            "security": "insecure",
            "devices": ("d",),
        },
    ),
    ("CMD a b", {"args": ("a b",), "shell": True}),
    ('CMD ["a"]', {"args": ("a",)}),
    ("CMD []", {}),
    ('ENTRYPOINT ["a", "\\u00e9"]', {"args": ("a", "é")}),
    ("COPY a b", {"sources": ("a",), "dest": "b"}),
    ('COPY ["a b", "c d"]', {"sources": ("a b",), "dest": "c d"}),
    (
        "COPY --from=x --chown=1:2 --chmod=u=rwX --link --parents=true --exclude=*.o --exclude=b a b /c/",
        {
            "sources": ("a", "b"),
            "dest": "/c/",
            "from_": "x",
            "chown": "1:2",
            "chmod": "u=rwX",
            "link": True,
            "parents": True,
            "exclude": ("*.o", "b"),
        },
    ),
    (
        "ADD --keep-git-dir=false --checksum=sha256:1 --unpack a b",
        {
            "is_add": True,
            "sources": ("a",),
            "dest": "b",
            "checksum": "sha256:1",
            "keep_git_dir": False,
            "unpack": True,
        },
    ),
    ("EXPOSE 80 443/tcp  $P", {"ports": ("$P", "443/tcp", "80")}),
    ("VOLUME /a /b", {"paths": ("/a", "/b")}),
    ('VOLUME ["/a b"]', {"paths": ("/a b",)}),
    ("USER a b", {"user": "a b"}),
    ("WORKDIR /a b", {"path": "/a b"}),
    ('SHELL ["/bin/bash", "-c"]', {"args": ("/bin/bash", "-c")}),
    ("STOPSIGNAL --x SIGTERM", {"signal": "SIGTERM"}),
    ("HEALTHCHECK NONE", {"test": ("NONE",)}),
    ("HEALTHCHECK cmd a b", {"test": ("CMD-SHELL", "a b")}),
    ('HEALTHCHECK CMD ["a", "b"]', {"test": ("CMD", "a", "b")}),
    (
        "HEALTHCHECK --interval=5m --timeout=1.5s --start-period=0 --start-interval=2ms --retries=3 CMD a",
        {
            "test": ("CMD-SHELL", "a"),
            "interval": 300 * S,
            "timeout": 3 * S // 2,
            "start_interval": 2_000_000,
            "retries": 3,
        },
    ),
    ("ONBUILD RUN a  b ", {"trigger": "RUN a  b "}),
    ("onbuild  copy . .", {"trigger": "copy . ."}),
    ("ONBUILD RUN <<E\na\nE\n", {"trigger": "RUN <<E\na\nE"}),
    ("MAINTAINER A <a@b>", {"name": "A <a@b>"}),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_an_instruction_is_read(text: str, expected: dict[str, Any]) -> None:
    assert {name: value for name, value in fields(text).items() if value not in ((), "", 0, False, None)} | {
        name: value for name, value in fields(text).items() if name in expected
    } == expected


# (line, message, column from 1, hint)
BAD = [
    ("FOO a", "unknown instruction FOO", 1, None),
    ("RNU a", "unknown instruction RNU", 1, "did you mean RUN?"),
    ("copyy a b", "unknown instruction copyy", 1, "did you mean COPY?"),
    ("FROM", "one or three arguments, not 0", 1, None),
    ("FROM a b", "one or three arguments, not 2", 6, None),
    ("FROM a IS b", "one or three arguments", 6, None),
    ("FROM a AS 1b", "invalid name for a stage: 1b", 11, None),
    ("FROM a AS b/c", "invalid name for a stage", 11, None),
    ("FROM --plattform=x a", "FROM has no flag --plattform", 6, "did you mean --platform?"),
    ("ARG", "at least one argument", 1, None),
    ("ARG a =b", "name of an ARG is empty", 7, None),
    ("ENV", "at least one argument", 1, None),
    ("ENV a", "must have two arguments", 5, None),
    ("ENV a=b c", "there is no = in c", 9, "quote a value that holds blanks"),
    ("ENV =b", "a name is empty", 5, None),
    ("LABEL --x a=b", "LABEL takes no flags, but got --x", 7, None),
    ('RUN ["a", 1]', "strings only: element 2 is not a string", 5, None),
    ('RUN [["a"]]', "strings only", 5, None),
    ("RUN --mount a", "--mount has no value", 5, None),
    ("RUN --network=hots a", "--network=hots is not known", 5, "did you mean host?"),
    ("RUN --network=none --network=host a", "--network is given twice", 20, None),
    ("RUN --from=x a", "RUN has no flag --from", 5, None),
    ("CMD --x a", "CMD takes no flags", 5, None),
    ("COPY a", "COPY needs a source and a destination", 6, None),
    ('COPY ["a"]', "COPY needs a source and a destination", 6, None),
    ("COPY --link=maybe a b", "--link=maybe is not a boolean", 6, None),
    ("COPY --from=$x a b", "--from can't hold variables", 6, "name a stage with FROM … AS, and use ARGs there"),
    ("COPY --checksum=x a b", "COPY has no flag --checksum", 6, None),
    ("ADD --from=x a b", "ADD has no flag --from", 5, None),
    ("COPY a <<E\nE", "a heredoc can't be the destination", 8, None),
    ("EXPOSE", "at least one argument", 1, None),
    ("VOLUME", "at least one argument", 1, None),
    ('VOLUME ["a", " "]', "the path of a VOLUME is empty", 8, None),
    ("USER", "exactly one argument", 1, None),
    ("WORKDIR", "exactly one argument", 1, None),
    ("SHELL /bin/sh -c", "SHELL takes the JSON form only", 7, None),
    ("SHELL []", "SHELL has no argument", 7, None),
    ("STOPSIGNAL", "exactly one argument", 1, None),
    ("HEALTHCHECK", "at least one argument", 1, None),
    ("HEALTHCHECK NONE a", "NONE takes no arguments", 17, None),
    ("HEALTHCHECK CMD", "has no command", 13, None),
    ("HEALTHCHECK CDM a", "unknown kind of HEALTHCHECK: CDM", 13, "did you mean CMD?"),
    ("HEALTHCHECK --interval=5 CMD a", "--interval=5 is no duration", 13, None),
    ("HEALTHCHECK --timeout=1us CMD a", "--timeout=1us is no duration", 13, None),
    ("HEALTHCHECK --retries=-1 CMD a", "--retries=-1 is no count", 13, None),
    ("ONBUILD", "at least one argument", 1, None),
    ("ONBUILD ONBUILD RUN a", "ONBUILD can't be a trigger", 9, None),
    ("ONBUILD FROM a", "FROM can't be a trigger", 9, None),
    ("ONBUILD maintainer a", "MAINTAINER can't be a trigger", 9, None),
    ("ONBUILD CMD [1]", "strings only", 9, None),
    ("MAINTAINER", "exactly one argument", 1, None),
    ("CMD " + "[" * 50_000 + "]" * 50_000, "strings only", 5, None),
]


@pytest.mark.parametrize(("text", "message", "column", "hint"), BAD, ids=[text[:40] for text, *_ in BAD])
def test_a_mistake_is_pointed_at(text: str, message: str, column: int, hint: str | None) -> None:
    with pytest.raises(DockerfileError) as caught:
        read(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("Dockerfile:1: ")
    assert (caught.value.line, caught.value.column, caught.value.hint) == (1, column, hint)


def test_heredocs_of_a_copy_come_with_their_bodies() -> None:
    copy = fields("COPY --chmod=600 a <<b <<-'c' /d/\n$x\nb\n\ty\nc\n")
    assert (copy["sources"], copy["dest"]) == (("a",), "/d/")
    assert [(h.name, h.expand, h.text()) for h in copy["heredocs"]] == [("b", True, "$x\n"), ("c", False, "y\n")]


def test_surrogates_in_json_become_replacement_characters() -> None:
    assert fields('CMD ["\\ud800a"]')["args"] == ("\N{REPLACEMENT CHARACTER}a",)


def test_nan_is_no_json_and_so_is_shell_text() -> None:
    assert fields("CMD [NaN]") == {"args": ("[NaN]",), "shell": True}
