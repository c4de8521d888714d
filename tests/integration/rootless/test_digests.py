"""An image is the same whoever built it: root, a user with subordinate ids, a user without."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .person import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .person import Person

pytestmark = pytest.mark.root

DOCKERFILES = {
    "files": """
        FROM base
        COPY --chown=app:video --chmod=640 file /home/app/file
        COPY --chown=4242:4243 folder /srv/
        COPY link /link
        ADD archive.tar /unpacked
        WORKDIR /srv/work
        RUN mkdir -p /a/b && echo x > /a/b/c && ln -s c /a/b/d && ln /a/b/c /a/e && rm -rf /srv/inner && touch /srv/new
        """,
    "scratch": """
        FROM scratch
        COPY --chown=7:8 file /
        """,
    "stages": """
        FROM base AS one
        RUN mkdir /out && echo one > /out/file && chmod 4755 /out/file
        FROM base
        COPY --from=one --chown=1:2 /out /out
        COPY --from=one /out/file /kept
        """,
}

GOLDEN = ("copy-rules", "heredocs", "volumes", "workdir-and-user")
"""Cases of tests/golden."""

OWNERS = """
    FROM base
    RUN mkdir /home/app && chown -R app /home/app && echo x > /x && chown app:video /x && chmod 2750 /x
    RUN ln -s x /l && chown -h 5:6 /l && chown 7:8 /var/tmp
    USER app
    RUN id > /home/app/id && mkdir /home/app/d
    """
"""What needs other ids while it runs."""

BUILD = """
import json, sys
from pathlib import Path
import buildlib
from bud.api import build
root, busybox, context, golden, *names = sys.argv[1:]
with buildlib.open_store(root) as store:
    with store.from_image(f"tarball:{busybox}") as container:
        image = container.commit("localhost/base:latest", timestamp=0)
        image.tag("localhost/busybox:latest")
    texts = {name: Path(context, f"{name}.dockerfile").read_text() for name in names}
    flags = {"timestamp": 0}
    found = {name: build(store, context, text, None, flags).digest for name, text in texts.items()}
    for case in filter(None, golden.split(",")):
        folder = Path("tests/golden/cases", case)
        found[case] = build(store, str(folder), None, None, flags).digest
    print(json.dumps(found))
"""


@pytest.fixture
def context(place: Path) -> Path:
    folder = place / "context"
    (folder / "folder/inner").mkdir(parents=True)
    (folder / "folder/inner/deep").write_text("deep")
    (folder / "folder/run").write_text("#!/bin/sh\n")
    (folder / "folder/run").chmod(0o755)
    (folder / "file").write_text("file")
    (folder / "link").symlink_to("file")
    make = ["tar", "-C", folder, "--owner=1234", "--group=99", "-cf", folder / "archive.tar", "folder", "link"]
    subprocess.run(make, check=True)
    for name, text in {**DOCKERFILES, "owners": OWNERS}.items():
        (folder / f"{name}.dockerfile").write_text("\n".join(map(str.strip, text.strip().splitlines())) + "\n")
    return folder


def built_by_root(place: Path, busybox: str, context: Path, golden: str, *names: str) -> dict[str, str]:
    argv = [sys.executable, "-c", BUILD, place / "store", busybox, context, golden, *names]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_root_and_a_user_build_the_same(person: Person, place: Path, busybox: str, context: Path) -> None:
    names = (*DOCKERFILES, "owners")
    golden = ",".join(GOLDEN)
    expected = built_by_root(place, busybox, context, golden, *names)
    assert person.python(BUILD, f"{person.home}/store", busybox, str(context), golden, *names) == expected


def test_one_id_is_enough_for_files(single: Person, place: Path, busybox: str, context: Path) -> None:
    golden = "copy-rules,heredocs"
    expected = built_by_root(place, busybox, context, golden, *DOCKERFILES)
    assert single.python(BUILD, f"{single.home}/store", busybox, str(context), golden, *DOCKERFILES) == expected
