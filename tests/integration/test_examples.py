"""The examples do what they show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import buildlib
from buildlib.testing import serve_registry

if TYPE_CHECKING:
    from buildlib import Store

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.root


def build(store: Store, name: str, busybox_tar: str, **flags: object) -> buildlib.Image:
    arguments = {"BASE": f"tarball:{busybox_tar}"}
    image = buildlib.build(str(EXAMPLES / name), store=store, build_arg=arguments, **flags)
    assert isinstance(image, buildlib.Image)
    return image


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for folder in EXAMPLES.iterdir():
        assert not folder.is_dir() or f"[{folder.name}]({folder.name})" in listed


def test_the_web_app_serves_its_site(store: Store, busybox_tar: str) -> None:
    image = build(store, "web-app", busybox_tar)
    assert image.config.config.user == "web"
    assert image.config.config.healthcheck is not None
    assert image.path("/srv/site/index.html.gz").exists()
    serve = "busybox httpd -p 127.0.0.1:18080 -h /srv/site; wget -q -O - http://127.0.0.1:18080/"
    assert "It works" in image.run(serve, network="none").stdout


def test_a_change_of_the_program_installs_nothing_again(store: Store, python_tar: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    shutil.copytree(EXAMPLES / "python-app", context)
    words = ["download", "--quiet", "--dest=wheels", "--no-deps", "--only-binary=:all:", "--python-version=3.11"]
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", *words, "-r", "requirements.txt"], cwd=context, capture_output=True, text=True
    )
    assert fetched.returncode == 0, fetched.stderr
    flags = {"store": store, "build_arg": {"BASE": f"tarball:{python_tar}"}}
    first = buildlib.build(str(context), **flags)  # type: ignore[arg-type]
    program = context / "app" / "main.py"
    program.write_text(program.read_text() + "print('changed')\n")
    second = buildlib.build(str(context), **flags)  # type: ignore[arg-type]
    assert isinstance(first, buildlib.Image)
    assert isinstance(second, buildlib.Image)
    kept = [old == new for old, new in zip(first.layers, second.layers, strict=True)]
    assert kept == [True] * (len(kept) - 2) + [False, False]  # the program, and WORKDIR above it
    printed = second.run(second.config.config.cmd or ()).stdout.splitlines()
    assert printed[0].startswith("attrs ")
    assert printed[1] == "changed"


def test_a_static_program_is_alone_in_its_image(store: Store, tmp_path: Path) -> None:
    script = [
        sys.executable,
        str(EXAMPLES / "static-from-scratch" / "build.py"),
        "--root",
        store.root,
        "localhost/hello",
    ]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    image = store.image("localhost/hello")
    assert [file.path for file in image.files()] == ["/hello"]
    assert image.run(["/hello", "you"]).stdout == "hello, you\n"


def test_stages_are_put_together_and_the_test_is_one(store: Store, busybox_tar: str, tmp_path: Path) -> None:
    image = build(store, "multi-stage", busybox_tar)
    assert image.open("/all.txt").read() == "HELLO\nWORLD\n1\n9\n10\n"
    assert len(image.layers) == 1
    build(store, "multi-stage", busybox_tar, target="test")
    broken = tmp_path / "broken"
    shutil.copytree(EXAMPLES / "multi-stage", broken)
    (broken / "src" / "numbers.txt").write_text("2\n3\n")
    with pytest.raises(buildlib.errors.RunError):
        buildlib.build(str(broken), store=store, target="test", build_arg={"BASE": f"tarball:{busybox_tar}"})


def test_one_name_for_two_platforms(store: Store, busybox_tar: str) -> None:
    index = buildlib.build(
        str(EXAMPLES / "multi-arch"), store=store, build_arg={"BASE": f"tarball:{busybox_tar}"},
        platform=["linux/amd64", "linux/arm64"], tag="localhost/tool",
    )  # fmt: skip
    assert isinstance(index, buildlib.ManifestList)
    made = {str(image.platform): image.open("/tool").read() for image in index.images}
    assert made == {"linux/amd64": "made for linux/amd64\n", "linux/arm64": "made for linux/arm64\n"}


def test_a_build_in_ci_takes_what_another_machine_has_built(busybox_tar: str, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    text = f"FROM tarball:{busybox_tar}\nRUN cat /proc/sys/kernel/random/uuid > /unique\n"
    (tmp_path / "context" / "Dockerfile").write_text(text)
    digests = []
    with serve_registry() as registry:
        for machine in ("one", "two"):
            environment = {
                **os.environ, "REGISTRY": f"{registry.host}/team", "GIT_COMMIT": "abc123",
                "FLAGS": f"--root={tmp_path}/{machine} --tls-verify=false --timestamp=0",
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            }  # fmt: skip
            script = [str(EXAMPLES / "ci" / "build.sh"), "context", "app"]
            done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            digests.append(json.loads((tmp_path / "metadata.json").read_text())["containerimage.config.digest"])
        assert digests[0] == digests[1]
        with urllib.request.urlopen(f"http://{registry.host}/v2/team/app/tags/list") as answer:
            assert json.load(answer)["tags"] == ["abc123"]
