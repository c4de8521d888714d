"""Layers whose archives need those below them."""

# Names that are bytes, descriptors and folders given as str are what is tested here.
# ruff: noqa: PTH113, PTH115, PTH116, PTH123

import os
import stat

import pytest

from buildlib.errors import LayerError
from buildlib.layer.apply import apply
from buildlib.layer.complete import complete
from tests.trees import ZEROS, describe, directory, entry, header, pax

from .conftest import whiteout

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path, stream):
    """Unpack archives as layers, base first, completing each from those below; their folders."""

    def make(*archives):
        folders = []
        for number, archive in enumerate(archives):
            folder = str(tmp_path / f"layer{number}")
            result = apply(stream(archive + ZEROS), folder)
            complete(folder, result.missing_parents, result.pending_links, folders)
            folders.append(folder)
        return folders

    return make


def test_a_directory_without_an_entry_takes_the_metadata_of_the_one_below(layers):
    base = pax([(b"SCHILY.xattr.user.x", b"1")]) + directory(b"a/", mode=0o2711, uid=3, gid=4, mtime=5)
    *_, top = layers(base + directory(b"a/b/", mode=0o700, mtime=6), entry(b"f", b""), entry(b"a/b/c/g", b""))
    found = describe(top)
    assert (found["a"]["mode"], found["a"]["owner"], found["a"]["mtime"]) == ("0o2711", (3, 4), 5)
    assert found["a"]["xattrs"] == {"user.x": b"1"}
    assert (found["a/b"]["mode"], found["a/b"]["mtime"]) == ("0o700", 6)
    assert (found["a/b/c"]["mode"], found["a/b/c"]["mtime"]) == ("0o755", 0)


def test_the_topmost_layer_below_decides(layers):
    *_, top = layers(directory(b"d/", mode=0o700), directory(b"d/", mode=0o711), entry(b"d/f", b""))
    assert stat.S_IMODE(os.stat(f"{top}/d").st_mode) == 0o711


@pytest.mark.parametrize(
    "hiding", [entry(b".wh.d"), entry(b"d", b"file"), header(b"d", b"2", link=b"e"), entry(b".wh..wh..opq")]
)
def test_what_is_hidden_below_gives_nothing(layers, hiding):
    *_, top = layers(directory(b"d/", mode=0o700) + directory(b"e/", mode=0o711), hiding, entry(b"d/f", b""))
    assert stat.S_IMODE(os.stat(f"{top}/d").st_mode) == 0o755


def test_below_an_opaque_directory_of_its_own_nothing_is_taken(layers):
    base = directory(b"a/", mode=0o711) + directory(b"a/b/", mode=0o700)
    *_, top = layers(base, directory(b"a/", mode=0o750) + entry(b"a/.wh..wh..opq") + entry(b"a/b/f", b""))
    assert stat.S_IMODE(os.stat(f"{top}/a/b").st_mode) == 0o755


def test_a_link_into_a_lower_layer_becomes_a_copy(layers):
    records = pax([(b"SCHILY.xattr.user.x", b"1")])
    base = directory(b"bin/") + records + entry(b"bin/tool", b"program", mode=0o4755, uid=1, gid=2, mtime=3)
    *_, top = layers(base, entry(b"f", b""), header(b"usr/tool", b"1", link=b"bin/tool"))
    found = describe(top)["usr/tool"]
    assert (found["mode"], found["owner"], found["mtime"], found["xattrs"]) == ("0o4755", (1, 2), 3, {"user.x": b"1"})
    with open(f"{top}/usr/tool", "rb") as file:
        assert file.read() == b"program"


def test_a_link_to_a_symbolic_link_below_is_that_link(layers):
    *_, top = layers(header(b"l", b"2", link=b"/etc/shadow", uid=7, mtime=8), header(b"m", b"1", link=b"l"))
    assert os.readlink(f"{top}/m") == "/etc/shadow"
    assert (os.lstat(f"{top}/m").st_uid, os.lstat(f"{top}/m").st_mtime) == (7, 8)


def test_a_pending_link_replaces_what_an_earlier_entry_left(layers):
    *_, top = layers(entry(b"below", b"new"), entry(b"f", b"old") + header(b"f", b"1", link=b"below"))
    with open(f"{top}/f", "rb") as file:
        assert file.read() == b"new"


@pytest.mark.parametrize(
    "base",
    [
        b"",
        entry(b"target", b"") + entry(b".wh.other"),
        directory(b"bin/"),
        directory(b"bin/") + directory(b"bin/tool/"),
        header(b"bin", b"2", link=b"/bin") + entry(b"tool", b""),
    ],
)
def test_a_link_to_what_is_nowhere_or_no_file_is_an_error(layers, base):
    with pytest.raises(LayerError, match="hard link to 'bin/tool'") as caught:
        layers(base, header(b"evil", b"1", link=b"bin/tool"))
    assert caught.value.entry == "evil"


def test_links_of_the_lower_layers_lead_nowhere(layers, tmp_path):
    (tmp_path / "secret").write_text("secret")
    outside = os.fsencode(tmp_path)
    with pytest.raises(LayerError):
        layers(header(b"d", b"2", link=outside), header(b"evil", b"1", link=b"d/secret"))


def test_an_opaque_root_hides_each_thing_below_by_itself(layers):
    base = directory(b"both/") + directory(b"only/") + entry(b"both/old", b"") + entry(b"f", b"old")
    *_, top = layers(base, entry(b".wh..wh..opq") + directory(b"both/") + entry(b"f", b"new"))
    info = os.lstat(f"{top}/only")
    assert stat.S_ISCHR(info.st_mode)
    assert info.st_rdev == 0
    assert os.getxattr(f"{top}/both", "trusted.overlay.opaque") == b"y"
    assert os.path.isfile(f"{top}/f")
    assert "trusted.overlay.opaque" not in os.listxattr(top)


def test_whiteouts_by_attribute_are_heeded(tmp_path):
    base, middle, top = (tmp_path / name for name in ("base", "middle", "top"))
    (base / "d/e").mkdir(parents=True)
    (base / "d/e").chmod(0o711)
    (middle / "d").mkdir(parents=True)
    os.setxattr(middle / "d", "trusted.overlay.opaque", b"x")
    (middle / "d/e").write_text("")
    os.setxattr(middle / "d/e", "trusted.overlay.whiteout", b"")
    (top / "d/e").mkdir(parents=True)
    (top / "d/e").chmod(0o755)
    complete(str(top), ["d/e"], [], [str(base), str(middle)])
    assert stat.S_IMODE((top / "d/e").stat().st_mode) == 0o755
    whiteout(middle / "d/f")
