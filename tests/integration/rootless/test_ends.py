"""Without root, too, nothing is left when a client dies, a run takes too long, or a worker can't be born."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .person import COUNT

if TYPE_CHECKING:
    from .person import Person

pytestmark = pytest.mark.root


def processes_of(person: Person) -> list[str]:
    """Pids of those that run with an id of this user, its own or a subordinate one."""
    ids = {person.uid, *range(person.subordinate, person.subordinate + COUNT)}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = dict(line.partition(":")[::2] for line in (folder / "status").read_text().splitlines())
        except OSError:
            continue
        if int(fields["Uid"].split()[0]) in ids and "Z" not in fields["State"]:
            found.append(folder.name)
    return found


RUN = """
import sys, buildlib
with buildlib.open_store() as store, store.from_image(f"tarball:{sys.argv[1]}") as c:
    c.run("chmod 777 /tmp")
    print("ready", flush=True)
    c.run("sleep 1000 & sleep 1000", user=sys.argv[2])
"""


@pytest.mark.parametrize("user", ["root", "app"])
def test_a_client_that_is_killed_takes_all_with_it(person: Person, busybox: str, user: str) -> None:
    client = person.start(RUN, busybox, user)
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while len(processes_of(person)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    client.stdout.close()
    while left := processes_of(person):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


TIMEOUT = """
import json, sys, buildlib
with buildlib.open_store() as store, store.from_image(f"tarball:{sys.argv[1]}") as c:
    try:
        c.run("sleep 1000", user="app", timeout=0.3)
    except buildlib.errors.BuildlibError as error:
        print(json.dumps([type(error).__name__, c.run("echo on", capture=True).stdout]))
"""


def test_a_run_of_another_user_that_takes_too_long_is_ended(person: Person, busybox: str) -> None:
    assert person.python(TIMEOUT, busybox)[1] == "on\n"


BIRTH = """
import json, sys
from buildlib import worker
from buildlib.errors import WorkerError
from buildlib.worker.tier import Tier
with worker.start(sys.argv[1], Tier("overlay", "rootless", "range")) as born:
    try:
        born.call("prepare", {"key": "k", "parents": []})
    except WorkerError as error:
        print(json.dumps(error.message))
"""


def test_why_a_worker_could_not_be_born_is_told_to_its_client(person: Person) -> None:
    (person.folder / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")  # newuidmap wants to know who asks
    (person.folder / "subuid").write_text(f"{person.uid}:5:10\n")
    (person.folder / "subgid").write_text(f"{person.uid}:5:10\n")
    said = person.python(BIRTH, str(person.home))
    assert said.startswith("the subordinate ids can't be mapped: ")
