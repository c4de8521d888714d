"""What a bundle says, read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from buildlib.sandbox.runtime import bundle

if TYPE_CHECKING:
    from pathlib import Path


def test_relative_sources_of_binds_lie_in_the_bundle(tmp_path: Path) -> None:
    config = {
        "ociVersion": "1.2.0",
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/a", "type": "bind", "source": "data/a", "options": ["rbind"]},
            {"destination": "/b", "type": "bind", "source": "/host/b", "options": ["bind"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        ],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec, raw = bundle.read(str(tmp_path))
    assert [mount.source for mount in spec.mounts] == [f"{tmp_path}/data/a", "/host/b", "tmpfs"]
    assert json.loads(raw) == config
