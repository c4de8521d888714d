"""Verbs of other packages are found through their metadata, without importlib.metadata."""

import sys
from importlib.metadata import entry_points

import pytest

from buildlib.cli import main
from buildlib.cli.plugins import find, global_words, installed_version, names

TEXT = """\
[console_scripts]
hello = hello:main

[buildlib.verbs]
# a comment
hello = hello_verb:main
greet = hello_verb.greet:run [extra]
"""


@pytest.fixture
def site(tmp_path):
    """A folder on the module path with one installed package that brings two verbs."""
    metadata = tmp_path / "hello-1.2.post1.dist-info"
    metadata.mkdir()
    (metadata / "entry_points.txt").write_text(TEXT)
    (tmp_path / "hello_verb.py").write_text("def main(argv):\n    print('hello', *argv)\n    return 7\n")
    (tmp_path / "other-3.dist-info").mkdir()
    return tmp_path


def test_a_verb_is_found_in_its_group_only(site):
    assert find("hello", ["/nowhere", str(site)]) == "hello_verb:main"
    assert find("greet", [str(site)]) == "hello_verb.greet:run"
    assert find("other", [str(site)]) is None
    assert names([str(site)]) == ["greet", "hello"]


def test_the_installed_verbs_are_those_that_importlib_finds():
    assert set(names(sys.path)) == {point.name for point in entry_points(group="buildlib.verbs")}


def test_the_version_is_that_of_the_metadata_folder(site):
    assert installed_version("hello", [str(site)]) == "1.2.post1"
    assert installed_version("none", [str(site)]) is None


def test_a_plugin_gets_the_global_flags_and_its_words_and_gives_the_exit_code(site, monkeypatch, capsys):
    monkeypatch.syspath_prepend(site)
    assert main(["--root", "/r", "hello", "-t", "x", "."]) == 7
    assert capsys.readouterr().out == "hello --root=/r -t x .\n"


def test_global_flags_are_written_as_they_were():
    assert global_words({"log_level": "debug", "root": "/x y"}) == ["--log-level=debug", "--root=/x y"]
