"""registries.conf: which hosts are asked for a name, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildlib.errors import FormatError, TransportError
from buildlib.oci import Reference
from buildlib.registry.configuration import Configuration, is_qualified
from buildlib.registry.files import configuration_files

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "a" * 64


def load(tmp_path: Path, *texts: str) -> Configuration:
    files = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.conf"
        path.write_text(text)
        files.append(str(path))
    return Configuration.load([*files, str(tmp_path / "absent.conf")])


def places(configuration: Configuration, name: str) -> list[tuple[str, str]]:
    found = configuration.endpoints(Reference.parse(name))
    return [(each.host, f"{each.reference.registry}/{each.reference.repository}") for each in found]


def test_without_a_file_docker_hub_is_asked_at_its_api_host() -> None:
    assert places(Configuration(), "debian") == [("registry-1.docker.io", "docker.io/library/debian")]
    assert places(Configuration(), "quay.io/a/b:1") == [("quay.io", "quay.io/a/b")]


def test_mirrors_come_before_the_place_itself(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        """
        [[registry]]
        prefix = "docker.io"
        [[registry.mirror]]
        location = "mirror.example.com/hub"
        insecure = true
        [[registry.mirror]]
        location = "by-digest.example.com"
        pull-from-mirror = "digest-only"
        """,
    )
    assert places(configuration, "debian:12") == [
        ("mirror.example.com", "mirror.example.com/hub/library/debian"),
        ("registry-1.docker.io", "docker.io/library/debian"),
    ]
    by_digest = configuration.endpoints(Reference.parse(f"debian@{DIGEST}"))
    assert [each.host for each in by_digest] == ["mirror.example.com", "by-digest.example.com", "registry-1.docker.io"]
    assert [each.insecure for each in by_digest] == [True, False, False]


def test_the_longest_prefix_wins_and_its_location_replaces_it(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        '[[registry]]\nprefix="example.com"\nlocation="a.example.com"\n',
        '[[registry]]\nprefix="example.com/team"\nlocation="b.example.com/ours"\n',
    )
    assert places(configuration, "example.com/x/y") == [("a.example.com", "a.example.com/x/y")]
    assert places(configuration, "example.com/team/y") == [("b.example.com", "b.example.com/ours/y")]
    assert places(configuration, "example.com/teams/y") == [("a.example.com", "a.example.com/teams/y")]


def test_a_wildcard_matches_subdomains_only(tmp_path: Path) -> None:
    configuration = load(tmp_path, '[[registry]]\nprefix="*.example.com"\nlocation="one.example.org"\n')
    assert places(configuration, "a.b.example.com/x") == [("one.example.org", "one.example.org/x")]
    assert places(configuration, "example.com/x") == [("example.com", "example.com/x")]


def test_a_blocked_registry_is_an_error_that_names_it(tmp_path: Path) -> None:
    configuration = load(tmp_path, '[[registry]]\nlocation="bad.example.com"\nblocked=true\n')
    with pytest.raises(TransportError, match=r"bad\.example\.com is blocked"):
        configuration.endpoints(Reference.parse("bad.example.com/x"))


def test_short_names_follow_aliases_then_the_search_list(tmp_path: Path) -> None:
    configuration = load(
        tmp_path,
        'unqualified-search-registries = ["one.example.com", "two.example.com"]\n'
        '[aliases]\n"fedora" = "quay.io/fedora/fedora"\n',
    )
    assert [str(each) for each in configuration.candidates("fedora:40")] == ["quay.io/fedora/fedora:40"]
    assert [each.registry for each in configuration.candidates("thing")] == ["one.example.com", "two.example.com"]
    assert [each.registry for each in configuration.candidates("localhost/thing")] == ["localhost"]
    assert [each.registry for each in Configuration().candidates("thing")] == ["docker.io"]


def test_what_is_not_version_2_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"0\.conf: written in version 1"):
        load(tmp_path, "[registries.search]\nregistries = []\n")
    with pytest.raises(FormatError, match=r"0\.conf"):
        load(tmp_path, "not toml at all [")
    with pytest.raises(FormatError, match="neither prefix nor location"):
        load(tmp_path, "[[registry]]\ninsecure=true\n")


def test_a_name_is_qualified_by_a_host_in_front() -> None:
    assert [name for name in ("a/b", "a.b/c", "a:1/b", "localhost/b", "a", "a:1") if is_qualified(name)] == [
        "a.b/c",
        "a:1/b",
        "localhost/b",
    ]


def test_a_file_named_by_the_environment_is_the_only_one() -> None:
    assert configuration_files({"CONTAINERS_REGISTRIES_CONF": "/x"}, 0) == ("/x",)
    assert configuration_files({}, 0)[0] == "/etc/containers/registries.conf"
