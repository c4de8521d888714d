"""The verb ``cache``, and how much ``prune`` keeps."""

import json

import pytest

from buildlib.cli.prune import parse_size, parse_time
from buildlib.errors import UsageError

pytestmark = pytest.mark.root


@pytest.fixture
def mounted(call, tmp_path, busybox_tar):
    """A store with the cache mount ``npm``."""
    ctr = call("from", "--name", "c", f"tarball:{busybox_tar}").out.strip()
    assert call("run", "--mount", "type=cache,target=/c,id=npm", ctr, "sh", "-c", "echo hi > /c/f").code == 0
    return ctr


def test_cache_mounts_are_listed_carried_over_and_removed(call, mounted, tmp_path):
    assert [line.split()[0] for line in call("cache", "ls").out.splitlines()] == ["ID", "npm"]
    assert json.loads(call("cache", "--json", "ls").out)[0]["id"] == "npm"
    assert call("cache", "export", "npm", str(tmp_path / "npm.tar")).code == 0
    assert call("cache", "rm", "npm").out == "npm\n"
    assert call("cache", "ls").out.splitlines() == ["ID   SIZE   CHANGED"]
    assert call("cache", "import", "other", str(tmp_path / "npm.tar")).code == 0
    ran = call("run", "--mount", "type=cache,target=/c,id=other", mounted, "cat", "/c/f")
    assert ran.out == "hi\n"


def test_wrong_words_are_usage_errors_and_leave_nothing(call, mounted, tmp_path):
    for words in (("cache",), ("cache", "burn"), ("cache", "export", "npm"), ("cache", "ls", "x"), ("cache", "rm")):
        assert call(*words).code == 125
    assert call("cache", "rm", "npm", "nothing").code == 125
    assert call("cache", "export", "nothing", str(tmp_path / "f")).code == 125
    assert [path for path in tmp_path.iterdir() if path.name.startswith("f")] == []


def test_prune_keeps_young_records_and_as_much_as_it_may(call, store, busybox_tar):
    base = store.pull(f"tarball:{busybox_tar}")
    with store.from_image(base, cache=True) as container:
        for number in range(3):
            container.run(f"head -c 100000 /dev/zero > /f{number}")
        for layer in container.layers:
            store.layers.measured(layer)

    def records():
        return len(store.db.rows("SELECT 1 FROM cache"))

    assert call("prune", "--filter", "until=1h").code == 0
    assert records() == 3
    with store.db.transaction() as conn:
        oldest = "SELECT key FROM cache ORDER BY created LIMIT 1"
        conn.execute(f"UPDATE cache SET used = used - 7200 WHERE key IN ({oldest})")
    assert call("prune", "--filter", "until=1h").code == 0
    assert records() == 2
    assert call("prune", "--keep-storage", "150kB").code == 0
    assert records() == 1
    assert call("prune", "--keep-storage", "much").code == 125
    assert call("prune", "--filter", "until=then").code == 125


def test_sizes_and_times():
    assert [parse_size(text) for text in ("7", "1.5k", "2 MB", "1GiB", "3b")] == [7, 1500, 2_000_000, 1 << 30, 3]
    assert parse_time("1h30m", 10_000.0) == 4600.0
    assert parse_time("12", 0) == 12.0
    assert parse_time("1970-01-02T00:00:00+00:00", 0) == 86400.0
    for text in ("", "x", "5GB!", "-1"):
        with pytest.raises(UsageError):
            parse_size(text)
