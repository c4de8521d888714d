"""What the overlay snapshotter describes, and what it leaves when it is interrupted. No mounts here."""

import pytest

from buildlib.errors import StoreError
from buildlib.snapshot.overlay import Overlay, renew


def options(mounts):
    (mount,) = mounts
    assert mount.type == "overlay"
    return mount.options


def lowers(mounts):
    return [option.removeprefix("lowerdir+=") for option in options(mounts) if option.startswith("lowerdir+=")]


def test_lower_directories_are_listed_topmost_first_and_an_empty_one_is_last():
    overlay = Overlay("/s")
    layers = ["/s/layers/b/fs", "/s/layers/a/fs"]
    assert lowers(overlay.mounts("k", ["a", "b"], ["/below"])) == [*layers, "/below", "/s/empty"]
    assert lowers(overlay.view(["a", "b"])) == [*layers, "/s/empty"]


def test_an_upper_is_made_so_that_it_can_become_a_layer():
    assert {"index=off", "metacopy=off", "redirect_dir=nofollow"} <= set(options(Overlay("/s").mounts("k", ["a"])))


def test_in_a_user_namespace_marks_are_user_attributes():
    assert "userxattr" in options(Overlay("/s", userxattr=True).view(["a"]))
    assert "userxattr" not in options(Overlay("/s").view(["a"]))


def test_of_a_layer_that_is_there_twice_the_upper_one_counts():
    assert lowers(Overlay("/s").view(["a", "b", "a"])) == ["/s/layers/a/fs", "/s/layers/b/fs", "/s/empty"]


def test_a_commit_that_was_interrupted_after_the_rename_is_completed_by_preparing_again(tmp_path):
    overlay = Overlay(str(tmp_path))
    overlay.prepare("k", ())
    (tmp_path / "layers/l").mkdir(parents=True)
    (tmp_path / "containers/k/upper").rename(tmp_path / "layers/l/fs")
    (tmp_path / "containers/k/upper.new").mkdir()
    overlay.prepare("k", ("l",))
    assert {path.name for path in (tmp_path / "containers/k").iterdir()} == {"upper", "work"}


def test_an_error_of_the_system_says_what_was_being_done(tmp_path):
    (tmp_path / "containers").write_text("in the way")
    with pytest.raises(StoreError, match=r"preparing .*containers/k"):
        Overlay(str(tmp_path)).prepare("k", ())


def test_renewing_takes_the_mark_of_the_last_mount_away(tmp_path):
    (tmp_path / "work/incompat/volatile/dirty").mkdir(parents=True)
    renew(str(tmp_path))
    renew(str(tmp_path))
    assert not any((tmp_path / "work").iterdir())
