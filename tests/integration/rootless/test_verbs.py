"""All verbs and the API as an ordinary user with subordinate ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .person import Person

pytestmark = pytest.mark.root


def test_a_user_runs_all_verbs(person: Person, place: Path, busybox: str) -> None:
    name = person.buildlib("from", "--name", "c", f"tarball:{busybox}").stdout.strip()
    assert name == "c"
    (place / "context").mkdir()
    (place / "context/file").write_text("for the app")
    person.buildlib("copy", "--chown", "app:app", "c", f"{place}/context/file", "/home/app/file")
    person.buildlib("run", "c", "--", "sh", "-c", "echo x > /etc/shadow; chmod 600 /etc/shadow; chown 1000:44 /tmp")
    assert person.buildlib("run", "--user", "app", "c", "id").stdout.startswith(
        "uid=1000(app) gid=1000(app) groups=44("
    )
    assert person.buildlib("run", "--network", "none", "c", "ls", "/sys/class/net").stdout == "lo\n"
    person.buildlib("config", "--cmd", "sh", "c")
    assert "A /etc/shadow" in person.buildlib("diff", "c").stdout
    image = person.buildlib("commit", "c", "localhost/app:1").stdout.strip()
    assert person.buildlib("images", "-q", "--no-trunc").stdout.split()[0] == f"sha256:{image}"
    person.buildlib("push", "localhost/app:1", f"oci-archive:{person.home}/app.tar")
    person.buildlib("rm", "c")
    person.buildlib("rmi", "localhost/app:1")
    person.buildlib("pull", f"oci-archive:{person.home}/app.tar")
    assert image in person.buildlib("images", "--no-trunc").stdout
    person.buildlib("check", "--all")
    person.buildlib("prune", "--all", "--force")
    assert not list((person.home / ".local/share/buildlib/containers").iterdir())


def test_mounts_live_in_unshare(person: Person, busybox: str) -> None:
    person.buildlib("from", "--name", "c", f"tarball:{busybox}")
    person.buildlib("run", "c", "--", "sh", "-c", "echo hidden > /secret; chown 1000 /secret; chmod 400 /secret")
    refused = person.buildlib("mount", "c", check=False)
    assert refused.returncode == 125
    assert "unshare" in refused.stderr
    script = "cat $C/secret; stat -c %u $C/secret; echo more > $C/more"
    assert person.buildlib("unshare", "--mount", "C=c", "sh", "-c", script).stdout == "hidden\n1000\n"
    inside = "cat $(buildlib mount c)/more; buildlib run c touch /both; buildlib umount c; exit 7"
    done = person.buildlib("unshare", "sh", "-c", inside, check=False)
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("more\n")
    assert "A /both\nA /more" in person.buildlib("diff", "c").stdout


@pytest.mark.parametrize("flags", [("--storage-driver", "copy"), ("--isolation", "chroot")])
def test_the_weaker_tiers_work_with_all_ids(person: Person, busybox: str, flags: tuple[str, str]) -> None:
    person.buildlib(*flags, "from", "--name", "c", f"tarball:{busybox}")
    script = "echo x > /file; chown 1000:44 /file; test -e /proc/self && test -d /sys/class"
    person.buildlib(*flags, "run", "c", "--", "sh", "-c", script)
    assert person.buildlib(*flags, "run", "c", "stat", "-c", "%u:%g", "/file").stdout == "1000:44\n"
    assert person.buildlib(*flags, "diff", "c").stdout == "A /file\n"
    assert person.buildlib(*flags, "run", "--network", "none", "c", "ls", "/sys/class/net").stdout == "lo\n"


THREADED = """
import json, sys, threading
import buildlib
stop = threading.Event()
threading.Thread(target=stop.wait, daemon=True).start()
with buildlib.open_store() as store, store.from_image(f"tarball:{sys.argv[1]}", cache=True) as c:
    c.run("echo one > /file; chown 1000:1000 /file; chmod 640 /file")
    secret = buildlib.Secret("token", target="/run/secrets/token", value=b"hush")
    cache = buildlib.Cache("/cache")
    seen = c.run("cat /run/secrets/token; touch /cache/x", mounts=[secret, cache], capture=True).stdout
    again = c.run("ls /cache", mounts=[cache], capture=True).stdout
    with open(c.mount() + "/written", "w") as file:
        file.write("by the client")
    written = c.run("cat /written; stat -c %u:%g /written /file", capture=True).stdout
    c.umount()
    text = c.read_file("/file").decode()
    image = c.commit("localhost/threaded")
    same = [change.path for change in image.diff(store.image(image.id))]
    print(json.dumps([seen, again, written, text, store.tier.tier.ids, same]))
stop.set()
"""


def test_the_api_works_beside_other_threads(person: Person, busybox: str) -> None:
    seen, again, written, text, ids, same = person.python(THREADED, busybox)
    assert (seen, again, text, ids, same) == ("hush", "x\n", "one\n", "range", [])
    assert written == "by the client0:0\n1000:1000\n"
