"""A store that has only rows, for verbs that read nothing else; and the command line as a function and as a process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import frozen

from buildlib.cli import main
from buildlib.database import Database


@frozen
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd, monkeypatch, tmp_path):
    """``call("images", "-q")`` runs the command line in this process, on the store of this test."""
    for name in ("BUILDLIB_ROOT", "BUILDAH_HISTORY", "BUILDAH_FORMAT", "SOURCE_DATE_EPOCH", "STORAGE_DRIVER"):
        monkeypatch.delenv(name, raising=False)

    def run(*words):
        code = main(["--root", str(tmp_path / "store"), *words])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def start(*words, **options):
    """The command line as a process of its own."""
    program = "import sys; from buildlib.cli import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", program, *words], **options)


class Rows:
    """Writes images and containers as rows, with the config blob that ``--filter label`` reads."""

    def __init__(self, root: Path) -> None:
        (root / "blobs" / "sha256").mkdir(parents=True)
        self.root = root
        self.db = Database(str(root / "db.sqlite"))

    def image(self, id, *names, created=1.0, size=2_000_000, labels=None):
        id = id.ljust(64, "0")
        config = {"config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []}}
        (self.root / "blobs" / "sha256" / id).write_text(json.dumps(config))
        row = (id, f"sha256:{'d' * 64}", created, size, "linux", "amd64", None)
        with self.db.transaction() as conn:
            conn.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            for name in names:
                conn.execute("INSERT INTO names (name, image, since) VALUES (?, ?, 0)", (name, id))
        return id

    def container(self, id, name, image=None, image_name="scratch", created=1.0):
        id = id.ljust(64, "0")
        with self.db.transaction() as conn:
            sql = "INSERT INTO containers (id, name, image, image_name, created, state) VALUES (?, ?, ?, ?, ?, '{}')"
            conn.execute(sql, (id, name, image, image_name, created))
        return id


@pytest.fixture
def rows(tmp_path):
    made = Rows(tmp_path / "store")
    yield made
    made.db.close()
