"""What containers.conf says is heeded, and read as TOML only where it says something."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from buildlib.cli.configuration import _USUAL, settings
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
    assert ("tomllib" in sys.modules) is bool(found)


def test_the_usual_capabilities_are_the_sandboxes() -> None:
    assert {f"CAP_{name}" for name in _USUAL} == set(CAPABILITIES)
