"""A build that is all cached is mostly the start of a program: it brings in nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.store import Store

CODE = """
import sys, buildlib
with buildlib.Store.open({root!r}) as store:
    with store.from_image("localhost/busybox:latest", cache=True) as container:
        container.config(env={{"A": "b"}}, created_by="ENV A=b")
        container.only_cached = {cached}
        container.copy("f", dest="/f", context={context!r})
        container.run("echo $A > /a", mounts=[buildlib.Cache("/cache")])
        container.commit("cached")
print(*sys.modules)
"""


@pytest.mark.root
@pytest.mark.usefixtures("busybox_image")
def test_a_cached_build_needs_neither_attrs_nor_transports_nor_a_worker(store: Store, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    store.close()
    loaded: set[str] = set()
    for cached in (False, True):
        code = CODE.format(root=store.root, cached=cached, context=str(tmp_path))
        done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.splitlines()[-1].split())
    assert "buildlib.container.commit" in loaded
    heavy = {
        "attr",
        "attrs",
        "typing",
        "inspect",
        "logging",
        "datetime",
        "selectors",
        "socket",
        "subprocess",
        "tempfile",
    }
    ours = {"buildlib.transfer", "buildlib.transports", "buildlib.events", "buildlib.worker.birth", "buildlib.registry"}
    assert not loaded & (heavy | ours)


@pytest.mark.root
@pytest.mark.usefixtures("busybox_image")
def test_a_command_run_by_a_fresh_process_needs_no_costly_imports_there_or_in_its_worker(store: Store) -> None:
    container = store.from_image("localhost/busybox:latest")
    store.close()

    def imported(*words: str) -> set[str]:
        done = subprocess.run([sys.executable, "-I", "-X", "importtime", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}

    program = "from buildlib.cli import program; program()"
    loaded = imported("-c", program, "--root", store.root, "run", container.name, "true") - imported("-c", "pass")
    assert "buildlib.worker.operations.run" in loaded
    assert not loaded & {"attr", "attrs", "typing", "shutil", "socket", "subprocess", "logging", "tempfile", "datetime"}
