"""Which image a new container starts from: one that is here, one that is fetched, or none, and what is said then."""

from __future__ import annotations

import subprocess
import sys

import pytest

import buildlib
from buildlib.bases import base_image, has_transport
from buildlib.errors import NotFound, UsageError
from buildlib.oci import Platform
from buildlib.registry.access import Access
from buildlib.testing import tiny_image

NOWHERE = "127.0.0.1:1/nothing"
"""A registry that nobody serves."""


def test_scratch_is_no_image(store):
    assert base_image(store, "scratch") == base_image(store, "") == (None, "scratch")


def test_an_image_that_is_here_is_taken(store, by_hand):
    image = by_hand.image("a", names=["site", "docker.io/library/debian:12"])
    assert base_image(store, image) == (image, image.name)
    called = {"site": "localhost/site:latest", "debian:12": "docker.io/library/debian:12", image.id[:12]: image.name}
    for name, full in called.items():
        for policy in ("missing", "never"):
            assert base_image(store, name, policy) == (image, full)


def test_an_image_without_a_name_is_called_by_its_id(store, by_hand):
    image = by_hand.image("a")
    assert base_image(store, image.id) == (image, image.id)


@pytest.mark.parametrize(("name", "policy"), [("sote", "never"), ("localhost/sote", "missing")])
def test_what_is_not_here_and_not_to_be_pulled_is_not_found(store, by_hand, name, policy):
    by_hand.image("a", names=["site"])
    with pytest.raises(NotFound, match=f"no image is called '{name}'") as caught:
        base_image(store, name, policy)
    assert caught.value.hint == "did you mean localhost/site:latest?"


@pytest.mark.parametrize("policy", ["missing", "always", "newer"])
def test_when_pulling_fails_the_hint_says_why(store, policy):
    with pytest.raises(NotFound, match="no image is called") as caught:
        base_image(store, NOWHERE, policy, access=Access(retries=0))
    assert "there are no images yet" in caught.value.hint
    assert "Connection refused" in caught.value.hint


def test_newer_falls_back_to_what_is_here(store, by_hand):
    image = by_hand.image("a", names=[NOWHERE])
    assert base_image(store, NOWHERE, "newer", access=Access(retries=0)) == (image, image.name)
    with pytest.raises(NotFound):
        base_image(store, NOWHERE, "always", access=Access(retries=0))


def test_an_image_for_another_machine_is_not_taken(store, by_hand):
    by_hand.image("a", names=["site"])
    with pytest.raises(NotFound, match="is here for linux/amd64, not for linux/s390x"):
        base_image(store, "site", "never", Platform.parse("linux/s390x"))
    assert base_image(store, "site", "never", Platform.parse("linux/amd64"))[0] is not None


def test_an_unknown_policy_is_refused(store):
    with pytest.raises(UsageError, match="sometimes"):
        base_image(store, "x", "sometimes")


def test_a_name_with_a_tag_may_look_like_a_transport():
    assert has_transport("docker://debian")
    assert not has_transport("docker:dind")
    assert has_transport("oci:folder")
    assert not has_transport("debian:12")


# --- the public names -----------------------------------------------------------------------------------------------


def test_every_public_name_is_there_and_importing_the_package_imports_none_of_them():
    assert all(hasattr(buildlib, name) for name in buildlib.__all__)
    assert set(buildlib.__all__) <= set(dir(buildlib))
    code = "import sys, buildlib; print(*(name for name in sys.modules if name.startswith('buildlib')))"
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert ran.stdout.split() == ["buildlib"]


@pytest.mark.root
def test_a_tiny_image_is_the_same_wherever_it_is_made(store, tmp_path):
    files = {"hello.txt": b"hello\n", "/bin/tool": b"#!/bin/sh\n", "deep/er/file": b"x"}
    image = tiny_image(store, "tiny:1", files, cmd=["/bin/tool"], env={"A": "b"})
    assert image.names == ("localhost/tiny:1",)
    assert image.config.config.cmd == ("/bin/tool",)
    with buildlib.open_store(str(tmp_path / "other")) as other:
        again = tiny_image(other, "tiny:1", files, cmd=["/bin/tool"], env={"A": "b"})
    assert (again.id, again.digest) == (image.id, image.digest)
    found = {change.path: oct(change.mode & 0o777) for change in image.diff()}
    assert found["/bin/tool"] == "0o755"
    assert found["/hello.txt"] == "0o644"
    assert "/deep/er/file" in found
    assert store.check(diff_ids=True) == []


@pytest.mark.root
def test_images_are_compared_by_what_they_changed_above_what_they_share(store):
    base = tiny_image(store, "base", {"same": b"1", "old": b"1", "gone": b"1"})
    with store.from_image(base) as container:
        container.copy(dest="/", contents={"old": b"changed", "new": b"1"})
        above = container.commit("above")
    kinds = {change.path: change.kind for change in above.diff(base)}
    assert kinds == {"/new": "added", "/old": "changed"}
    assert {change.path: change.kind for change in base.diff(above)} == {"/new": "deleted", "/old": "changed"}
    assert base.diff(base) == above.diff(above) == []
    assert {"/same", "/old", "/gone", "/new"} <= {change.path for change in above.diff()}
