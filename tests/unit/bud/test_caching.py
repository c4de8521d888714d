"""Caches from and for elsewhere, steps left out of the cache, and why a step misses: with real builds."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from bud import cli
from bud.caching import parse_duration
from bud.outputs import Output, parse_output
from buildlib import Store
from buildlib.errors import UsageError
from buildlib.testing import serve_registry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

TWO_STAGES = """\
FROM BASE AS build
ARG V=1
COPY src /src
RUN cat /src > /made; echo $V >> /made; cat /proc/sys/kernel/random/uuid >> /made

FROM BASE
COPY --from=build /made /made
RUN cat /proc/sys/kernel/random/uuid > /when
"""


class Line:
    """The command line on a store and a context of its own."""

    def __init__(self, tmp_path: Path, busybox_tar: str, capfd: Any) -> None:
        self.tmp = tmp_path
        self.base = busybox_tar
        self.capfd = capfd
        self.context = tmp_path / "context"
        self.context.mkdir()
        self.err = b""
        self.out = b""

    def __call__(self, *words: str, store: str = "store", text: str = TWO_STAGES, explain: bool = False) -> int:
        (self.context / "Dockerfile").write_text(text.replace("BASE", "localhost/base:1"))
        root = str(self.tmp / store)
        with Store.open(root) as opened:
            opened.pull(f"tarball:{self.base}", names=["localhost/base:1"])
        self.capfd.readouterr()
        verb = ["explain"] if explain else []
        code = cli.main([f"--root={root}", *verb, "--tls-verify=false", *words, str(self.context)])
        captured = self.capfd.readouterr()
        self.out, self.err = captured.out, captured.err
        return code

    def source(self, text: str) -> None:
        (self.context / "src").write_text(text)

    @property
    def cached(self) -> int:
        return str(self.err).count(" CACHED")

    @property
    def id(self) -> str:
        return str(self.out).strip()


@pytest.fixture
def bud(tmp_path: Path, busybox_tar: str, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    line = Line(tmp_path, busybox_tar, capfd)
    line.source("a")
    return line


def test_a_build_elsewhere_executes_nothing_with_the_cache_of_all_stages(bud: Line, tmp_path: Path) -> None:
    assert bud("--cache-to", f"type=local,dest={tmp_path}/cache,mode=max") == 0
    first = bud.id
    assert bud("--cache-from", f"type=local,src={tmp_path}/cache", store="other") == 0
    assert (bud.cached, bud.id) == (4, first)


def test_the_smaller_cache_has_the_last_stage_only(bud: Line, tmp_path: Path) -> None:
    text = TWO_STAGES.replace("; cat /proc/sys/kernel/random/uuid >> /made", "")  # equal in each store
    assert bud("--cache-to", f"type=local,dest={tmp_path}/cache", text=text) == 0
    assert bud("--cache-from", f"type=local,src={tmp_path}/cache", store="other", text=text) == 0
    assert bud.cached == 2


def test_a_registry_and_an_image_carry_caches_too(bud: Line) -> None:
    text = "FROM BASE\nCOPY src /src\nRUN cat /proc/sys/kernel/random/uuid > /when\n"
    with serve_registry() as registry:
        name = f"{registry.host}/app:1"
        assert bud("-t", name, "--push", "--cache-to", "type=inline", text=text) == 0
        first = bud.id
        assert bud("--cache-to", f"{registry.host}/cache", text=text) == 0
        assert sorted(registry.repository("cache").tags) == ["latest"]
        assert bud("--cache-from", name, "--cache-to", "type=inline", store="second", text=text) == 0
        assert (bud.cached, bud.id) == (2, first)
        assert bud("--cache-from", f"type=registry,ref={registry.host}/cache", store="third", text=text) == 0
        assert bud.cached == 2


def test_bases_come_from_registries_with_the_access_that_is_asked_for(bud: Line) -> None:
    with serve_registry(auth="basic", users={"ann": "secret"}) as registry:
        login = base64.b64encode(b"ann:secret").decode()
        logins = bud.tmp / "auth.json"
        logins.write_text(json.dumps({"auths": {registry.host: {"auth": login}}}))
        name = f"{registry.host}/app:1"
        words = ("--authfile", str(logins))
        assert bud("-t", name, "--push", *words, text="FROM BASE\nRUN true\n") == 0
        assert bud(store="other", text=f"FROM {name}\nCOPY src /\n") == 125
        assert bud(*words, store="other", text=f"FROM {name}\nCOPY src /\n") == 0


def test_a_cache_that_is_not_there_is_no_reason_to_fail(bud: Line, tmp_path: Path) -> None:
    assert bud("--cache-from", f"type=local,src={tmp_path}/nothing") == 0
    assert "ERROR" in bud.err
    assert bud("--cache-from", "type=gha") == 125


def test_stages_and_lines_can_be_left_out_of_the_cache(bud: Line) -> None:
    assert bud() == 0
    assert bud() == 0
    assert bud.cached == 4
    assert bud("--no-cache-filter", "build") == 0
    assert bud.cached == 0  # what the stage makes is new, and so all that follows is
    assert bud("--no-cache-filter", "8") == 0
    assert bud.cached == 3
    assert bud("--no-cache-filter", "biuld") == 125
    assert "did you mean build" in bud.err


def test_a_cache_can_be_too_old(bud: Line) -> None:
    assert bud() == 0
    assert bud("--cache-ttl", "1h") == 0
    assert bud.cached == 4
    assert bud("--cache-ttl", "0") == 0
    assert bud.cached == 0
    assert bud("--cache-ttl", "soon") == 125


def test_explain_names_the_file_the_arg_and_the_parent_that_changed(bud: Line) -> None:
    assert bud() == 0
    assert bud(explain=True) == 0
    assert [line.split()[0] for line in bud.out.splitlines()] == ["HIT"] * 4
    assert bud("--build-arg", "V=2", explain=True) == 0
    assert "env V: 1 → 2" in bud.out
    assert [line.split()[0] for line in bud.out.splitlines() if line[0] != " "] == ["HIT", "MISS", "MISS", "MISS"]
    assert "the stage build, which it takes files from, changed" in bud.out
    assert bud.out.splitlines()[-1].strip() == "its parent changed"
    bud.source("b")
    assert bud(explain=True) == 0
    assert "src changed" in bud.out
    assert "(line 3)" in bud.out
    assert bud() == 0
    assert bud.cached < 4
    assert bud(explain=True) == 0
    assert "MISS" not in bud.out
    assert bud("--from", "scratch", explain=True) == 0
    assert bud.out.splitlines()[1].strip() == "its parent changed"


def test_a_build_says_why_it_executed_a_step(bud: Line) -> None:
    assert bud("--explain") == 0
    assert "not cached: no such step is known on this state" in bud.err
    bud.source("b")
    assert bud("--explain") == 0
    assert "not cached: src changed" in bud.err
    assert bud("--explain") == 0
    assert "not cached" not in bud.err


def test_outputs_are_written_beside_the_image(bud: Line, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = (
        "-o", str(out / "dir"), "-o", f"type=tar,dest={out}/fs.tar", "-o", f"type=oci,dest={out}/oci.tar,name=a:1",
        "-o", f"type=oci,tar=false,dest={out}/layout", "-o", f"type=docker,dest={out}/docker.tar,name=a:1",
        "--metadata-file", str(out / "meta.json"), "-t", "one", "-t", "two",
    )  # fmt: skip
    out.mkdir()
    assert bud(*words) == 0
    assert (out / "dir/made").read_text().startswith("a1")
    for name, member in (("fs.tar", "made"), ("oci.tar", "oci-layout"), ("docker.tar", "manifest.json")):
        with tarfile.open(out / name) as archive:
            assert member in archive.getnames()
    assert (out / "layout/oci-layout").exists()
    meta = json.loads((out / "meta.json").read_text())
    assert meta["containerimage.config.digest"] == f"sha256:{bud.id}"
    assert meta["image.name"] == "one,two"
    assert sorted(path.name for path in out.iterdir()) == [
        "dir", "docker.tar", "fs.tar", "layout", "meta.json", "oci.tar",
    ]  # fmt: skip


def test_images_are_pushed_by_all_their_names(bud: Line) -> None:
    text = "FROM BASE\nRUN true\n"
    with serve_registry() as registry:
        here = registry.host
        assert bud("-t", f"{here}/a:1", "-t", f"{here}/b:2", "--push", text=text) == 0
        assert bud("-o", f"type=registry,name={here}/c:3", "-o", f"type=image,name={here}/d:4", text=text) == 0
        assert bud("-o", f"type=image,name={here}/e:5,push=true", text=text) == 0
        assert sorted(registry.repositories) == ["a", "b", "c", "e"]
    assert bud("--push", text=text) == 125


def test_one_layer_of_what_is_new_or_of_all(bud: Line, tmp_path: Path) -> None:
    for flag, count in (("--squash", 2), ("--squash-all", 1)):
        assert bud(flag) == 0
        with Store.open(str(tmp_path / "store")) as store:
            assert len(store.image(bud.id).layers) == count
    assert bud("--squash", "--squash-all") == 125
    assert bud("--squash", "--cache-to", "type=inline") == 125


def test_an_archive_to_standard_output_is_all_that_is_there(bud: Line, tmp_path: Path) -> None:
    assert bud() == 0
    words = ["--root", str(tmp_path / "store"), "-q", "-o", "-", str(bud.context)]
    program = "import sys; from bud.cli import main; sys.exit(main())"
    with (tmp_path / "out.tar").open("wb") as file:
        subprocess.run([sys.executable, "-c", program, *words], stdout=file, check=True)
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {"made", "when"} <= set(archive.getnames())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output("local", "out")),
        ("-", Output("tar", "-")),
        ("type=tar,dest=-", Output("tar", "-")),
        ("dest=x", Output("local", "x")),
        ("type=docker", Output("docker")),
        ('type=image,"name=a,b",push=true', Output("image", "", ("a", "b"), push=True)),
        ("type=registry,name=a,compression=zstd,compression-level=9",
         Output("registry", "", ("a",), push=True, compression="zstd", level=9)),
    ],
)  # fmt: skip
def test_outputs_are_read_as_docker_and_buildah_write_them(text: str, expected: Output) -> None:
    assert parse_output(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "type=local",
        "type=cd,dest=x",
        "type=local,dest=-",
        "type=oci,tar=false,dest=-",
        "type=tar,colour=red,dest=x",
    ],
)
def test_outputs_that_can_t_be_meant_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_output(text)


def test_durations_are_those_of_go() -> None:
    assert [parse_duration(text) for text in ("0", "90s", "1h30m", "1.5h", "250ms")] == [0, 90, 5400, 5400, 0.25]
    for text in ("", "h", "1d", "1h 30m"):
        with pytest.raises(UsageError):
            parse_duration(text)
