"""Lines of magics as the arguments of functions."""

from __future__ import annotations

import pytest

from buildlib.errors import UsageError
from buildlib.jupyter.inside import Marked
from buildlib.jupyter.words import build_flags, cut


def test_the_flags_of_a_build_become_keywords() -> None:
    words = cut("-t a -t 'b c' --secret id=t,env=T --pull --jobs 2 --into image src", "%%dockerfile")
    flags = {"tag": ["a", "b c"], "secret": ["id=t,env=T"], "pull": True, "jobs": "2"}
    assert build_flags(words) == ("src", "image", flags)
    assert build_flags([]) == (".", None, {})


@pytest.mark.parametrize("line", ["--no-such-flag", "a b", "-t", "'open"])
def test_what_cannot_be_meant_is_said(line: str) -> None:
    with pytest.raises(UsageError, match="%%dockerfile"):
        build_flags(cut(line, "%%dockerfile"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_what_comes_behind_the_mark_is_kept_and_all_else_passed_on(size: int) -> None:
    class Out:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

        def flush(self) -> None:
            pass

    out = Out()
    stream = Marked(out, "<<mark>>")
    whole = 'one <<mar two <<<mark>>{"a": 1}<<mark>>'
    for start in range(0, len(whole), size):
        stream.write(whole[start : start + size])
    stream.finish()
    assert (out.text, stream.rest) == ("one <<mar two <", '{"a": 1}<<mark>>')
    plain = Marked(out, "<<mark>>")
    plain.write(" end <<")
    plain.finish()
    assert out.text.endswith(" end <<")
    assert plain.rest is None
