"""What containers.conf says is heeded, and read as TOML only where it says something."""

from __future__ import annotations

import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.cli.configuration import _USUAL, _plainly, settings
from buildlib.sandbox.defaults import CAPABILITIES

if TYPE_CHECKING:
    from pathlib import Path

USUAL = ",\n".join(f'  "{name}"' for name in sorted(_USUAL))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("[containers]\n#dns_servers = []\n", {}),
        (f'[containers]\ndefault_capabilities = [\n{USUAL}\n]\ndefault_sysctls = ["a=0 0"]\n', {}),
        ("[containers]\ndefault_capabilities = ['KILL']\n", {"default_capabilities": ["KILL"]}),
        ("[containers]\nno_hosts = true\n[engine]\nx = 1\n", {"no_hosts": True}),
    ],
)
def test_what_a_file_says(text: str, found: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "containers.conf").write_text(text)
    monkeypatch.setenv("CONTAINERS_CONF", str(tmp_path / "containers.conf"))
    monkeypatch.delitem(sys.modules, "tomllib", raising=False)
    assert settings() == found
    assert ("tomllib" in sys.modules) is ("'" in text)  # no JSON


PIECES = (
    '[containers]', '[engine]', '[a.b]', '[[containers]]', 'a = 1', 'b="q"', 'c=[1,2]', 'd = [ "x" , "y" ]', 'e = 01',
    'f = -1', 'g = +1', 'h=true', '# c', '', 'i = "a#b"', 'j = 1979-05-27', 'k = ["a",]', 'l = [', ']',
    'm = 0x10', 'n = 1_000', 'o = -0', 'p = []', 'r = 1e3', 's = ["a" "b"]', 't = "é"', 'u = "\x7f"',
    'v = "\t"', 'w = 1 # c', 'x = null',
    'y={"a": 1}', 'z = "\\n"', "a1 = 'x'", 'a.b = 1', '"a" = 1', 'a2 = NaN', 'a3 = """x', '\x0cb1 = 1', 'b2 = "\r"',
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=6).map(lambda lines: "\n".join(["[containers]", *lines])))
def test_what_is_read_without_tomllib_is_what_tomllib_reads(text: str) -> None:
    found = _plainly(text)
    if found is not None:
        assert repr(found) == repr(tomllib.loads(text)["containers"])


def test_the_usual_capabilities_are_the_sandboxes() -> None:
    assert {f"CAP_{name}" for name in _USUAL} == set(CAPABILITIES)
