"""Logins: the files that docker and the containers tools share."""

from __future__ import annotations

import base64
import json
import stat
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import FormatError, NotFound, TransportError
from buildlib.registry.auth import Credential
from buildlib.registry.credentials import login, logout, lookup
from buildlib.registry.files import auth_files

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, **auths: str) -> str:
    entries = {key: {"auth": base64.b64encode(value.encode()).decode()} for key, value in auths.items()}
    path.write_text(json.dumps({"auths": entries}))
    return str(path)


def helper(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a real credential helper, a shell script that keeps one login in a file."""
    kept = folder / f"{name}.kept"
    program = folder / f"docker-credential-{name}"
    program.write_text(
        f'#!/bin/sh\ncase $1 in store) cat > {kept} ;; erase) rm -f {kept} ;; get) read key; grep -q "$key" {kept} '
        f'2>/dev/null && cat {kept} || {{ echo "credentials not found in native keychain"; exit 1; }} ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return kept


def test_the_most_specific_entry_wins(tmp_path: Path) -> None:
    logins = {"example.com": "a:1", "example.com/team": "b:2", "example.com/team/x": "c:3"}
    file = write(tmp_path / "auth.json", **logins)
    assert lookup([file], "example.com", "team/x") == Credential("c", "3")
    assert lookup([file], "example.com", "team/y") == Credential("b", "2")
    assert lookup([file], "example.com", "other") == Credential("a", "1")
    assert lookup([file], "example.org", "team") is None


def test_the_first_file_that_knows_wins_and_absent_files_do_not_matter(tmp_path: Path) -> None:
    first = write(tmp_path / "1.json", **{"example.com": "first:p"})
    second = write(tmp_path / "2.json", **{"example.com": "second:p", "example.org": "org:p"})
    files = [str(tmp_path / "none.json"), first, second]
    assert lookup(files, "example.com") == Credential("first", "p")
    assert lookup(files, "example.org") == Credential("org", "p")


def test_docker_hub_is_found_under_the_key_that_docker_writes(tmp_path: Path) -> None:
    file = write(tmp_path / "config.json", **{"https://index.docker.io/v1/": "ann:p:with:colons"})
    assert lookup([file], "docker.io", "library/debian") == Credential("ann", "p:with:colons")
    assert lookup([file], "registry-1.docker.io") == Credential("ann", "p:with:colons")


def test_login_then_logout_leaves_what_others_wrote(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "auth.json"
    login(str(path), "example.com", Credential("ann", "pass"))
    document = json.loads(path.read_text())
    document["somebody"] = {"else": 1}
    path.write_text(json.dumps(document))
    login(str(path), "example.org", Credential("bob", "word", "identity"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lookup([str(path)], "example.com") == Credential("ann", "pass")
    assert lookup([str(path)], "example.org") == Credential("bob", "word", "identity")
    logout(str(path), "example.com")
    assert lookup([str(path)], "example.com") is None
    assert json.loads(path.read_text())["somebody"] == {"else": 1}
    with pytest.raises(NotFound, match=r"not logged in to example\.com"):
        logout(str(path), "example.com")


def test_a_helper_is_asked_stored_to_and_erased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = helper(tmp_path, "test", monkeypatch)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credHelpers": {"example.com": "test"}}))
    assert lookup([str(config)], "example.com") is None
    login(str(config), "example.com", Credential("ann", "p"))
    assert json.loads(kept.read_text()) == {"ServerURL": "example.com", "Username": "ann", "Secret": "p"}
    assert lookup([str(config)], "example.com", "a/b") == Credential("ann", "p")
    assert "auths" not in json.loads(config.read_text())
    logout(str(config), "example.com")
    assert lookup([str(config)], "example.com") is None


def test_a_missing_helper_is_an_error_that_names_it(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"credsStore": "nowhere"}))
    with pytest.raises(TransportError, match="docker-credential-nowhere is not installed"):
        lookup([str(config)], "example.com")


@pytest.mark.parametrize("text", ["not json", "[]", '{"auths": {"example.com": {"auth": "%%%"}}}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"auth\.json"):
        lookup([str(path)], "example.com")


def test_the_files_follow_the_environment() -> None:
    assert auth_files({"REGISTRY_AUTH_FILE": "/a"}, 1000) == ("/a",)
    assert auth_files({"HOME": "/h", "XDG_RUNTIME_DIR": "/r"}, 1000) == (
        "/r/containers/auth.json",
        "/h/.config/containers/auth.json",
        "/h/.docker/config.json",
    )
    assert auth_files({"HOME": "/root"}, 0)[0] == "/run/containers/0/auth.json"
