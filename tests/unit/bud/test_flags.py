"""Flags of docker's and buildah's build commands reach the commands that run, and the image."""

from __future__ import annotations

import io
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from bud.arguments import request_of
from bud.cli import VERB, main
from bud.results import extend
from buildlib.cli.flags import parse

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib import Image

    from .conftest import Builder

pytestmark = pytest.mark.root


def line(bud: Builder, text: str, *words: str) -> int:
    bud.file("Dockerfile", text.replace("BASE", bud.base))
    bud.store.close()
    return main([f"--root={bud.store.root}", "-q", "-t", "made", *words, str(bud.context)])


def made(bud: Builder, text: str, *words: str) -> Image:
    assert line(bud, text, *words) == 0
    return bud.store.image("made")


@pytest.mark.parametrize(
    ("flag", "command", "printed"),
    [
        ("--add-host=db:10.1.2.3", "grep db /etc/hosts", "10.1.2.3\tdb\n"),
        ("--ulimit=nofile=321:400", "(ulimit -n; ulimit -Hn)", "321\n400\n"),
        ("--shm-size=3m", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "3072\n"),
        ("--dns=192.0.2.7", "grep nameserver /etc/resolv.conf", "nameserver 192.0.2.7\n"),
        ("--cap-drop=ALL", "grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"),
        ("--network=none", "grep -c : /proc/net/dev", "1\n"),
        ("--uts=host", "hostname", f"{socket.gethostname()}\n"),
    ],
)  # fmt: skip
def test_how_commands_run(bud: Builder, flag: str, command: str, printed: str) -> None:
    image = made(bud, f"FROM BASE AS below\nFROM below\nRUN {command} > /out\n", flag)
    assert bud.read(image, "/out") == printed


def test_flags_about_commands_become_values(bud: Builder) -> None:
    words = [
        "--cgroup-parent=/p", "--cpu-period=1000", "--cpu-quota=500", "--cpuset-cpus=0", "--cpuset-mems=0",
        "--dns-option=rotate", "--dns-search=example.com", "--group-add=7", "--memory=1m", "--memory-swap=2m",
        "--no-hostname", "--no-hosts", "--security-opt=seccomp=unconfined", "--userns=private",
        "--userns-uid-map=0:0:9", "--userns-gid-map=0:0:9", "--cgroupns=host", "--ipc=host", "--pid=host",
        "--cap-add=SYS_PTRACE", "--isolation=chroot",
    ]  # fmt: skip
    bud.file("Dockerfile", "FROM scratch\n")
    args = parse(VERB, [*words, str(bud.context)], {})
    options = extend(request_of(args), args).run
    assert options is not None
    expected = {
        "cgroup_parent": "/p", "cpu_period": 1000, "cpu_quota": 500, "cpuset_cpus": "0", "cpuset_mems": "0",
        "dns_options": ("rotate",), "dns_search": ("example.com",), "group_add": ("7",), "memory": 1 << 20,
        "memory_swap": 2 << 20, "no_hostname": True, "no_hosts": True, "security": ("seccomp=unconfined",),
        "userns": "private", "uid_map": ("0:0:9",), "gid_map": ("0:0:9",), "cgroupns": "host", "ipc": "host",
        "pid": "host", "cap_add": ("SYS_PTRACE",), "isolation": "chroot",
    }  # fmt: skip
    given = options.given()
    assert {name: given.get(name) for name in expected} == expected


def test_an_ignore_file_of_another_name(bud: Builder, capsys: pytest.CaptureFixture[str]) -> None:
    bud.file("secret", "x")
    bud.file("other.ignore", "# why\nsec*\n")
    text = "FROM scratch\nCOPY secret /\n"
    assert line(bud, text, f"--ignorefile={bud.context}/other.ignore") == 125
    assert "left out by the pattern sec* (line 2 of " in capsys.readouterr().err
    assert line(bud, text) == 0


def test_files_are_no_younger_than_the_epoch_when_that_is_asked_for(bud: Builder) -> None:
    text = "FROM BASE\nCOPY a /a\nRUN date +%N > /tmp/x; rm /tmp/x; mkdir /made\n"
    digests = []
    for number in (1, 2):
        bud.file("a", "same")
        os.utime(bud.context / "a", (5000 + number, 5000 + number))
        image = made(bud, text, "--source-date-epoch=1000", "--rewrite-timestamp", "--no-cache", f"-t=n{number}")
        digests.append(image.digest)
    assert digests[0] == digests[1]
    assert image.config.created == "1970-01-01T00:16:40Z"
    assert made(bud, text, "--source-date-epoch=1000").diff_ids[-2:] != image.diff_ids[-2:]


def test_a_limit_of_memory_holds_or_is_refused_clearly(bud: Builder, capsys: pytest.CaptureFixture[str]) -> None:
    text = "FROM BASE\nRUN dd if=/dev/zero of=/dev/shm/x bs=1M count=48\n"
    assert line(bud, text) == 0
    code = line(bud, text, "--no-cache", "--memory=16m", "--cpu-shares=512", "--on-error=fail")
    assert code == 137 or (code == 125 and "memory" in capsys.readouterr().err)


def test_a_folder_of_the_host(bud: Builder, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "in").write_text("from the host")
    image = made(bud, "FROM BASE\nRUN cat /mnt/x/in > /out\n", f"-v={tmp_path}/shared:/mnt/x:ro")
    assert bud.read(image, "/out") == "from the host"


def test_commands_read_standard_input(bud: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "typed").write_text("typed\n")
    with (tmp_path / "typed").open() as file:
        saved = os.dup(0)
        try:
            os.dup2(file.fileno(), 0)
            image = made(bud, "FROM BASE\nRUN cat > /out\n", "--stdin")
        finally:
            os.dup2(saved, 0)
            os.close(saved)
    assert bud.read(image, "/out") == "typed\n"


def test_what_the_image_says_of_itself(bud: Builder) -> None:
    text = "FROM BASE\nENV A=1 B=2\nLABEL x=1 y=2\nRUN true\n"
    words = ["--unsetenv=A", "--unsetlabel=y", "--os-version=9", "--os-feature=f", "--omit-history"]
    image = made(bud, text, *words, "--env=C=3", "--label=z=3")
    config = image.config
    assert [word for word in config.config.env if not word.startswith("PATH=")] == ["B=2", "C=3"]
    assert dict(config.config.labels) == {"x": "1", "z": "3"}
    assert (config.os_version, config.os_features) == ("9", ("f",))
    assert image.history == ()


def test_the_history_in_the_way_of_buildah(bud: Builder) -> None:
    bud.file("a", "")
    text = 'FROM BASE\nARG A=1\nRUN echo $A\nCOPY a /\nWORKDIR /w\nCMD ["x", "y"]\nONBUILD RUN z\n'
    history = made(bud, text, "--history=buildah").history[1:]
    assert [entry.created_by for entry in history] == [
        "/bin/sh -c #(nop) ARG A=1",
        "|1 A=1 /bin/sh -c echo $A",
        "/bin/sh -c #(nop) COPY a /",
        "/bin/sh -c #(nop) WORKDIR /w",
        '/bin/sh -c #(nop) CMD ["x", "y"]',
        "/bin/sh -c #(nop) ONBUILD RUN z",
    ]


def test_all_stages_are_built_when_that_is_asked_for(bud: Builder, tmp_path: Path) -> None:
    text = "FROM BASE AS unused\nRUN echo 1 > /1\nFROM BASE\nRUN echo 2 > /2\nFROM BASE AS after\nRUN exit 1\n"
    for flag, count in (("--skip-unused-stages", 0), ("--skip-unused-stages=false", 1)):
        log = tmp_path / "log"
        bud.file("Dockerfile", text.replace("BASE", bud.base))
        bud.store.close()
        words = [flag, "--no-cache", "--target=1", "--progress=plain", f"--logfile={log}", str(bud.context)]
        assert main([f"--root={bud.store.root}", *words]) == 0
        assert log.read_text().count("RUN echo 1") == count


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--provenance=mode=max", "there are no attestations yet"),
        ("--sbom", "there are no attestations yet"),
        ("--attest=type=sbom", "there are no attestations yet"),
        ("--call=outline", "--call can't be 'outline'"),
        ("--history=podman", "--history can't be 'podman'"),
        ("--sign-by=me", "--sign-by is not supported yet"),
        ("--memory=lots", 'invalid value "lots" for --memory'),
        ("--ulimit=many=1", 'invalid ulimit "many=1"'),
        ("--add-host=x", 'unable to add host "x"'),
        ("--network=bridges", 'there is no network "bridges"'),
    ],
)
def test_what_is_not_known_is_said(bud: Builder, flag: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line(bud, "FROM scratch\n", flag) == 125
    assert message in capsys.readouterr().err


def test_what_is_asked_for_by_default_elsewhere_is_accepted(bud: Builder) -> None:
    words = ["--provenance=false", "--sbom=false", "--attest=type=sbom,disabled=true", "--call=build", "--rm"]
    made(bud, "FROM scratch\nLABEL a=b\n", *words, "--runtime=runc", "--builder=default", "--identity-label=false")


def test_call_check_is_check(bud: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert line(bud, "FROM scratch\nMAINTAINER me\n", "--call=check") == 1
    assert "MaintainerDeprecated" in out.getvalue()
