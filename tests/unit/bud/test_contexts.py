"""Build contexts by name, from elsewhere, and in place of stages and images."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bud import cli
from bud.contexts import find, place_of, read_names
from bud.errors import DockerfileError
from buildlib.errors import UsageError

if TYPE_CHECKING:
    from tests.unit.upstream import Upstream
    from tests.unit.web import Web

    from .conftest import Builder

pytestmark = pytest.mark.root


def test_names_are_those_of_images(tmp_path: Path) -> None:
    names = read_names({"docker.io/library/alpine:latest": "docker-image://x", "b::linux/arm64": str(tmp_path)})
    assert names == {"alpine": "docker-image://x", "b::linux/arm64": str(tmp_path)}
    assert find(names, "alpine", "linux/amd64") == "alpine"
    assert find(names, "b", "linux/arm64") == "b::linux/arm64"
    assert find(names, "b", "linux/amd64") is None
    assert find(names, "No Such", "") is None


def test_what_they_may_be(tmp_path: Path) -> None:
    assert place_of(str(tmp_path)) == ("folder", str(tmp_path))
    assert place_of("https://h/x.tar") == ("fetched", "https://h/x.tar")
    assert place_of("docker-image://alpine:3") == ("image", "alpine:3")
    assert place_of("oci-layout:///d:tag") == ("image", "oci:/d:tag")
    digests = [f"sha256:{letter * 64}" for letter in "ab"]
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": digest} for digest in digests]}))
    assert place_of(f"oci-layout://{tmp_path}@{digests[1]}") == ("image", f"oci:{tmp_path}:@1")
    with pytest.raises(UsageError, match="has no image"):
        place_of(f"oci-layout://{tmp_path}@sha256:c")
    with pytest.raises(UsageError, match="is no folder"):
        place_of("nowhere")


def folder(bud: Builder, name: str, **files: str) -> str:
    path = bud.context.parent / name
    for file, text in files.items():
        target = path / file.replace("__", "/").replace("_dot_", ".")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return str(path)


def test_a_folder_with_its_own_ignore_file(bud: Builder) -> None:
    assets = folder(bud, "assets", a="a", secret="s", d__b="b", _dot_dockerignore="secret\n")
    bud.file("secret", "mine")
    text = (
        "FROM BASE\nCOPY --from=assets . /assets/\nCOPY . /main/\n"
        "RUN --mount=from=assets,target=/m ls -A /m > /listed\n"
        "RUN --mount=type=cache,from=assets,target=/c ls -A /c > /seeded\n"
    )
    image = bud(text, plan={"contexts": {"assets": assets}})
    paths = {change.path for change in image.diff(bud.store.image(bud.base))}
    assert {"/assets/a", "/assets/d/b", "/main/secret"} <= paths
    assert "/assets/secret" not in paths
    assert bud.read(image, "/listed").split() == [".dockerignore", "a", "d"]
    assert bud.read(image, "/seeded").split() == [".dockerignore", "a", "d"]
    with pytest.raises(DockerfileError, match=r"secret: left out by the pattern secret \(line 1 of \.dockerignore\)"):
        bud("FROM BASE\nCOPY --from=assets secret /\n", plan={"contexts": {"assets": assets}})


def test_a_folder_without_one_is_mounted_as_it_is(bud: Builder) -> None:
    assets = folder(bud, "assets", a="a")
    image = bud(
        "FROM BASE\nRUN --mount=from=assets,target=/m,rw cat /m/a > /a; rm /m/a\n",
        plan={"contexts": {"assets": assets}},
    )
    assert bud.read(image, "/a") == "a"
    assert (Path(assets) / "a").exists()


def test_a_folder_in_place_of_an_image_and_of_a_stage(bud: Builder) -> None:
    tree = folder(bud, "tree", a="a")
    image = bud("FROM tree AS t\nCMD x\n", plan={"contexts": {"tree": tree}})
    assert [(e.created_by, e.empty_layer) for e in image.history] == [
        ("[context tree] load from client", False),
        ('CMD ["/bin/sh" "-c" "x"]', True),
    ]
    assert len(image.layers) == 1
    assert image.config.config.working_dir == "/"
    image = bud("FROM BASE AS t\nRUN false\nFROM BASE\nCOPY --from=t /a /b\n", plan={"contexts": {"t": tree}})
    assert bud.read(image, "/b") == "a"
    bud("FROM BASE AS t\nRUN false\nFROM BASE\nCOPY --from=t /a /b\n", plan={"contexts": {"t": tree}})
    assert bud.cached() == 1


def test_an_image_in_place_of_another_one(bud: Builder) -> None:
    bud("FROM BASE\nRUN echo other > /which\n", names=("localhost/other",))
    contexts = {"debian": "docker-image://localhost/other", "tools": "docker-image://localhost/other"}
    text = "FROM debian:latest\nRUN cp /which /copy\nCOPY --from=tools /which /second\n"
    image = bud(text + "RUN --mount=from=tools,target=/t cat /t/which > /third\n", plan={"contexts": contexts})
    assert [bud.read(image, path) for path in ("/copy", "/second", "/third")] == ["other\n"] * 3
    assert bud.store.containers() == []


def test_an_oci_layout(bud: Builder, tmp_path: Path) -> None:
    image = bud("FROM BASE\nRUN echo layout > /which\n")
    image.push(f"oci:{tmp_path}/layout:v1")
    built = bud("FROM x\nRUN cat /which\n", plan={"contexts": {"x": f"oci-layout://{tmp_path}/layout:v1"}})
    assert bud.read(built, "/which") == "layout\n"


def test_a_stage_in_place_of_an_image(bud: Builder) -> None:
    text = "FROM BASE AS mine\nRUN echo mine > /which\nFROM BASE\nCOPY --from=docker.io/other/tool /which /w\n"
    assert bud.read(bud(text, plan={"contexts": {"other/tool": "target:mine"}}), "/w") == "mine\n"


def test_a_repository_and_an_archive(bud: Builder, upstream: Upstream, web: Web) -> None:
    url = upstream.repository("a")
    upstream.commit("a", f="git", d__g="deep", _dot_dockerignore="f\n")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("t")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"tar"))
    contexts = {"repo": f"{url}#main", "deep": f"{url}#:d", "tar": web.put("/x.tgz", gzip.compress(out.getvalue()))}
    text = "FROM BASE\nCOPY --from=repo f /f\nCOPY --from=deep g /g\nCOPY --from=tar t /t\n"
    image = bud(text, plan={"contexts": contexts})
    assert [bud.read(image, path) for path in ("/f", "/g", "/t")] == ["git", "deep", "tar"]
    assert list(Path(bud.store.tmp).iterdir()) == []


def test_one_that_can_not_be_had_is_told_with_the_line(bud: Builder) -> None:
    with pytest.raises(DockerfileError, match=r"127\.0\.0\.1:1") as caught:
        bud("FROM BASE\nRUN true\nCOPY --from=x a /\n", plan={"contexts": {"x": "http://127.0.0.1:1/x"}})
    assert caught.value.line == 3
    assert bud.store.containers() == []


# --- the main context, from elsewhere ---------------------------------------------------------------------------------


def run(bud: Builder, *words: str, stdin: bytes = b"") -> str:
    """Run the command in a process of its own; the id of the image."""
    bud.store.close()
    argv = [sys.executable, "-m", "bud.cli", f"--root={bud.store.root}", "-q", *words]
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_dot_", "."))
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


DOCKERFILE = "FROM localhost/busybox\nCOPY . /c/\n"


def listed(bud: Builder, image: str) -> set[str]:
    changes = bud.store.image(image).diff(bud.store.image(bud.base))
    return {change.path for change in changes if change.path.startswith("/c/")}


def test_a_git_repository_as_the_context(bud: Builder, upstream: Upstream) -> None:
    url = upstream.repository("a")
    upstream.commit("a", sub__Dockerfile=DOCKERFILE, sub__f="x", sub___dot_dockerignore="f\n", other="y")
    assert listed(bud, run(bud, f"{url}#main:sub")) == {"/c/Dockerfile", "/c/f", "/c/.dockerignore"}
    args = ("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", "-f", "sub/Dockerfile")
    assert {"/c/other", "/c/.git/HEAD"} <= listed(bud, run(bud, *args, url))
    inner = DOCKERFILE.encode()
    assert "/c/other" in listed(bud, run(bud, "-f", "-", url, stdin=inner))


def test_an_archive_from_the_web_as_the_context(bud: Builder, web: Web) -> None:
    url = web.put("/ctx.tar.gz", gzip.compress(archive(Dockerfile=DOCKERFILE, f="x", _dot_dockerignore="f\n")))
    assert "/c/f" in listed(bud, run(bud, url))


def test_a_dockerfile_from_the_web_has_an_empty_context(bud: Builder, web: Web) -> None:
    assert listed(bud, run(bud, web.put("/a/Containerfile.x", DOCKERFILE))) == set()


def test_standard_input_as_the_context(bud: Builder) -> None:
    assert listed(bud, run(bud, "-", stdin=DOCKERFILE.encode())) == set()
    data = archive(d__My=DOCKERFILE, f="x")
    assert listed(bud, run(bud, "-f", "d/My", "-", stdin=gzip.compress(data))) == {"/c/d", "/c/d/My", "/c/f"}
    bud.file("g", "x")
    assert listed(bud, run(bud, "-f", "-", str(bud.context), stdin=DOCKERFILE.encode())) == {"/c/g"}


def test_a_link_in_what_was_fetched_leads_nowhere(bud: Builder, upstream: Upstream, capsys) -> None:
    url = upstream.repository("a")
    (upstream.folder / "a" / "Dockerfile").symlink_to("/etc/passwd")
    upstream.commit("a")
    assert cli.main([f"--root={bud.store.root}", url]) == 125
    assert "leads out of the build context" in capsys.readouterr().err


def test_a_context_behind_a_login(bud: Builder, web: Web, tmp_path: Path) -> None:
    url = web.put("/ctx.tar", archive(Dockerfile="FROM localhost/busybox\nADD URL/f /f\n".replace("URL", web.url)))
    web.put("/f", "x")
    (tmp_path / "token").write_text("t0ken\n")
    run(bud, "--secret", f"id=HTTP_AUTH_TOKEN_127.0.0.1,src={tmp_path}/token", url)
    assert [asked["authorization"] for _, asked in web.log] == ["Bearer t0ken"] * 2
