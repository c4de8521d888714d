"""What was done by hand, as a file that does it again; and states to go back to."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import buildlib
from buildlib.errors import NotFound, UsageError
from buildlib.oci.value import evolve

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.store import Store

pytestmark = pytest.mark.root


def by_hand(c: WorkingContainer, context: Path) -> None:
    (context / "a file").write_text("from the host\n")
    c.run("echo $A $PWD > /one; echo '<<EOF' \"\\\\\"", env={"A": "it's"}, workdir="/tmp")
    c.run(["touch", "/tmp/two words"], user="app")
    c.run(
        "cd /tmp\nif true; then\n  echo lines > /three\nfi", mounts=[buildlib.Cache("/var/cache/x", sharing="locked")]
    )
    c.copy(str(context / "a file"), "/srv/", chown="app:app", chmod=0o640)
    c.copy(dest="/etc/made.conf", contents={"made.conf": "a = 1\n$HOME\n"})
    c.mkdir("/data/deep", 0o750, "app")
    c.config(
        env={"GREETING": 'say "$HI"'}, labels={"team": "web"}, cmd=["sh", "-c", "echo hi"], ports=["80"], user="app"
    )
    c.config(entrypoint="exec sh", workdir="/srv", volumes="/data")
    c.run("id -u > /tmp/who")


def contents(image: Image) -> dict[str, tuple[int, int, int, bytes]]:
    """All files above the base, with owner and mode."""
    paths = [change.path for change in image.diff() if change.mode & 0o170000 == 0o100000]
    found = {}
    for path in paths:
        stat = image.path(path).stat()
        found[path] = (stat.mode, stat.uid, stat.gid, image.path(path).read_bytes())
    return found


def test_a_dockerfile_of_what_was_done_builds_the_same(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    with store.from_image(busybox_image) as c:
        by_hand(c, tmp_path)
        text, image = c.to_dockerfile(str(tmp_path)), c.commit()
    built = buildlib.build(str(tmp_path), text=text, store=store)
    assert isinstance(built, buildlib.Image)
    assert contents(built) == contents(image)
    # What every Dockerfile build writes, as docker's does: a PATH, and that words are escaped.
    config = built.config.config
    env = tuple(word for word in config.env if not word.startswith("PATH="))
    assert evolve(config, env=env, args_escaped=False) == image.config.config


def test_a_script_of_what_was_done_builds_the_same(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    with store.from_image(busybox_image) as c:
        by_hand(c, tmp_path)
        text, image = c.to_python("again"), c.commit()
    text = text.replace("import buildlib", f"import buildlib\nstore = buildlib.open_store({store.root!r})", 1)
    text = text.replace("cache=True", "cache=True, store=store")
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = store.image("again")
    assert contents(again) == contents(image)
    assert again.config.config == image.config.config


def test_what_a_file_cannot_say_is_named(store: Store, busybox_image: Image, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    (tmp_path / "in").mkdir()
    with store.from_image(busybox_image) as c:
        c.copy(str(tmp_path / "outside"), "/x")
        with pytest.raises(UsageError, match="outside can't be written"):
            c.to_dockerfile(str(tmp_path / "in"))
        c.config(author="me")
        with pytest.raises(UsageError, match=r"config\(author='me'\)"):
            c.to_dockerfile(str(tmp_path))
        c.run("cat /run/secrets/token", mounts=[buildlib.Secret("token", value="hush")], capture=True)
        assert "hush" not in str(c.state.calls)
        with pytest.raises(UsageError, match="the value of a secret"):
            c.to_python()


def test_what_is_long_is_not_kept(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c:
        c.copy(dest="/big", contents={"big": b"x" * 1_000_000})
        assert len(c.state.encode()) < 10_000
        for written in (c.to_dockerfile, c.to_python):
            with pytest.raises(UsageError, match="1000000 bytes"):
                written()


def test_failed_commands_and_builds_leave_no_calls(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image) as c, pytest.raises(buildlib.errors.RunError):
        c.run("exit 3")
        assert c.state.calls == ()
    with store.from_image(busybox_image, temporary=True) as c:
        c.run("true")
        assert c.state.calls is None


@pytest.mark.parametrize("cache", [True, False])
def test_a_rollback_brings_files_config_and_history_back(store: Store, busybox_image: Image, cache: bool) -> None:
    with store.from_image(busybox_image, cache=cache) as c:
        c.run("echo 1 > /f")
        c.config(labels={"a": "1"})
        c.checkpoint("good")
        c.run("echo 2 > /f; touch /more")
        c.config(labels={"a": "2"})
        c.checkpoint("worse")
        c.run("rm -rf /f /bin/ls")
        c.rollback("good")
        assert c.path("/f").read_text() == "1\n"
        assert not c.path("/more").exists()
        assert c.path("/bin/ls").exists()
        assert c.image_config.config.labels["a"] == "1"
        assert "echo 2" not in c.to_python()
        c.run("echo 3 >> /f")
        c.rollback("worse")
        assert c.path("/f").read_text() == "2\n"
        with pytest.raises(NotFound, match="no checkpoint 'bad'"):
            c.rollback("bad")
        assert len(store.containers()) == 3
    assert store.containers() == []
    assert store.check() == []


def test_the_same_step_after_a_rollback_is_cached(store: Store, busybox_image: Image) -> None:
    with store.from_image(busybox_image, cache=True) as c:
        c.checkpoint("start")
        assert not c.run("cat /proc/sys/kernel/random/uuid > /id").cached
        first = c.path("/id").read_text()
        c.rollback("start")
        assert c.run("cat /proc/sys/kernel/random/uuid > /id").cached
        assert c.path("/id").read_text() == first
