"""A tree as one layer."""

import os

import pytest

from buildlib.errors import LayerError
from buildlib.layer.squash import squash
from tests.trees import describe

pytestmark = pytest.mark.root


def test_the_layer_is_equal_to_the_tree(tree, tmp_path):
    (tree / "d").mkdir()
    (tree / "d/f").write_bytes(os.urandom(1 << 20))
    os.link(tree / "d/f", tree / "g")
    (tree / "l").symlink_to("d")
    os.mkfifo(tree / "p", 0o600)
    os.setxattr(tree / "d", "user.x", b"1")
    tree.chmod(0o711)
    os.utime(tree, (5, 5))
    squash(str(tree), str(tmp_path / "layer"))
    assert describe(tmp_path / "layer") == describe(tree)


def test_times_can_be_replaced(tree, tmp_path):
    (tree / "f").write_text("")
    squash(str(tree), str(tmp_path / "layer"), timestamp=77)
    assert (tmp_path / "layer/f").stat().st_mtime == 77


def test_a_tree_that_no_layer_can_hold_is_the_error_and_not_its_short_archive(tree, tmp_path):
    for number in range(3):
        (tree / str(number)).write_bytes(os.urandom(1 << 20))
    (tree / "z").mkdir()
    (tree / "z/.wh.bad").write_text("")
    with pytest.raises(LayerError, match="means a deletion"):
        squash(str(tree), str(tmp_path / "layer"))
