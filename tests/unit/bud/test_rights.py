"""What RUN may have only when it is allowed, and what this machine has to be able to do."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bud.errors import DockerfileError, StepFailed
from bud.request import SshSource
from buildlib import Platform, can_run

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Builder

pytestmark = pytest.mark.root


def test_what_is_allowed_is_done(bud: Builder) -> None:
    text = "FROM BASE\nRUN --security=insecure mkdir /m && mount -t tmpfs none /m && echo yes > /done\n"
    assert bud.read(bud(text, allow=frozenset({"security.insecure"})), "/done") == "yes\n"
    text = "FROM BASE\nRUN --device=/dev/null:/dev/void stat -c %t:%T /dev/void > /done\n"
    for right in ("device", "device=/dev/null:/dev/void"):
        assert bud.read(bud(text, allow=frozenset({right})), "/done") == "1:3\n"
    with pytest.raises(DockerfileError, match="is not allowed") as caught:
        bud(text, allow=frozenset({"device=/dev/zero"}))
    assert caught.value.hint == "allow it: --allow device=/dev/null:/dev/void"


def test_what_is_not_allowed_stops_the_build_before_it_begins(bud: Builder) -> None:
    with pytest.raises(DockerfileError, match="--security=insecure is not allowed") as caught:
        bud("FROM BASE\nRUN touch /begun\nRUN --security=insecure true\n")
    assert (caught.value.line, caught.value.column) == (3, 5)
    assert "RUN touch" not in bud.out.getvalue()


def test_a_device_that_is_not_there(bud: Builder) -> None:
    allow = frozenset({"device"})
    bud("FROM BASE\nRUN --device=example.com/nothing=all true\n", allow=allow)
    with pytest.raises(DockerfileError, match=r"the device example\.com/nothing=all is not there") as caught:
        bud("FROM BASE\nRUN --device=example.com/nothing=all,required true\n", allow=allow)
    assert caught.value.line == 2


def test_an_ssh_key_is_at_hand_and_not_kept(bud: Builder, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed: apt-get install openssh-client")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    text = 'FROM BASE\nRUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && echo "$SSH_AUTH_SOCK" > /where\n'
    image = bud(text, ssh={"default": SshSource(keys=(str(key),))})
    assert bud.read(image, "/where") == "/run/buildkit/ssh_agent.0\n"
    assert not [change for change in image.diff(bud.store.image(bud.base)) if change.path.startswith("/run")]


FOREIGN = next(text for text in ("linux/s390x", "linux/riscv64", "linux/ppc64le") if not can_run(Platform.parse(text)))


def test_programs_of_another_machine_are_refused_before_anything_runs(bud: Builder) -> None:
    with bud.store.from_image(bud.base) as container:
        container.config(architecture=FOREIGN.partition("/")[2])
        container.commit("localhost/foreign")
    with pytest.raises(DockerfileError, match=f"can't execute programs for {FOREIGN}") as caught:
        bud(
            "FROM BASE AS mine\nRUN touch /begun\nFROM localhost/foreign AS x\nENV A=b\n"
            "FROM x\nCOPY --from=mine /begun /\nRUN y\n"
        )
    assert caught.value.line == 7
    assert "RUN touch" not in bud.out.getvalue()


def test_an_image_for_another_machine_needs_no_emulator_when_nothing_runs_in_it(bud: Builder) -> None:
    text = (
        'FROM BASE AS build\nRUN echo cross > /program\nFROM scratch\nCOPY --from=build /program /\nCMD ["/program"]\n'
    )
    with pytest.raises(DockerfileError, match="is here for"):
        bud(text, platform=Platform.parse(FOREIGN), plan={"platform": FOREIGN})
    text = text.replace("FROM BASE", "FROM --platform=$BUILDPLATFORM BASE")
    host = str(Platform.host())
    image = bud(text, platform=Platform.parse(FOREIGN), plan={"platform": FOREIGN, "build_platform": host})
    assert str(image.platform) == FOREIGN
    assert bud.read(image, "/program") == "cross\n"


def test_a_shell_is_opened_where_a_command_failed(bud: Builder) -> None:
    bud.file("in", "mounted")
    bud.file("Dockerfile", f"FROM {bud.base}\nARG A=b\nRUN --mount=target=/m touch /half; exit 3\n")
    bud.store.close()
    argv = [
        sys.executable,
        "-m",
        "bud.cli",
        f"--root={bud.store.root}",
        "--progress=plain",
        "--on-error=shell",
        str(bud.context),
    ]
    control, terminal = pty.openpty()
    process = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    os.write(control, b"cat /m/in; echo; echo $A-$((1+1)); ls /half\nexit\n")
    said = b""
    while True:
        try:
            data = os.read(control, 4096)
        except OSError:
            break
        if not data:
            break
        said += data
    os.close(control)
    assert process.wait(60) == 3
    text = said.decode()
    assert "leave it with exit" in text
    assert "mounted" in text
    assert "b-2" in text
    assert "\n/half" in text.replace("\r", "")
    (kept,) = bud.store.containers()
    assert f"buildlib --root {bud.store.root} run {kept.name} -- sh" in text
    kept.remove()


def test_the_error_of_a_failed_run_carries_its_container(bud: Builder) -> None:
    with pytest.raises(StepFailed) as caught:
        bud("FROM BASE\nRUN echo 1 > /half && exit 1\n")
    container = caught.value.container
    assert container is not None
    assert container.run("cat /half", cache=False, capture=True).stdout == "1\n"
    container.remove()
