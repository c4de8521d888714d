"""Running commands: what they get, where their output goes, what is raised."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import pytest

from buildlib.container.mounts import Bind, Cache, Content, Secret, Tmpfs
from buildlib.errors import NotFound, RunError, RunTimeout, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.container import WorkingContainer

pytestmark = pytest.mark.root


def say(container: WorkingContainer, command: str, **options: object) -> str:
    return container.run(command, capture=True, **options).stdout  # type: ignore[arg-type]


class TestWhatItGets:
    def test_a_string_is_a_line_for_the_shell_and_a_list_is_executed(self, container: WorkingContainer) -> None:
        assert say(container, "echo $((1 + 1)) | cat") == "2\n"
        assert container.run(["echo", "$HOME"], capture=True).stdout == "$HOME\n"

    def test_the_shell_of_the_config_or_of_the_call_is_used(self, container: WorkingContainer) -> None:
        container.config(shell=["/bin/sh", "-e", "-c"])
        assert container.run("false; echo not reached", capture=True, check=False).stdout == ""
        assert say(container, "anything", shell=["echo"]) == "anything\n"

    def test_the_environment_is_that_of_the_config_with_what_is_given(self, container: WorkingContainer) -> None:
        container.config(env={"A": "1", "B": "2"})
        assert say(container, 'echo "$A $B $C $D"', env={"B": "3", "C": "4"}, proxy={"D": "5"}) == "1 3 4 5\n"
        assert say(container, "echo $PATH") == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"

    def test_nothing_of_the_hosts_environment_gets_in(
        self, container: WorkingContainer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOST_SECRET", "hush")
        assert "HOST_SECRET" not in say(container, "env")

    def test_user_and_home_are_looked_up_in_the_container(self, container: WorkingContainer) -> None:
        assert say(container, "id -u; id -g; echo $HOME", user="app") == "1000\n1000\n/home/app\n"
        container.config(user="app")
        assert say(container, "id -un; echo $HOME") == "app\n/home/app\n"
        assert say(container, "id -u", user="root") == "0\n"
        with pytest.raises(NotFound, match="nobody-at-all"):
            container.run("true", user="nobody-at-all")

    def test_the_working_directory_is_made_and_relative_ones_start_at_the_configs(
        self, container: WorkingContainer
    ) -> None:
        container.config(workdir="/srv/app")
        assert say(container, "pwd") == "/srv/app\n"
        assert say(container, "pwd", workdir="sub") == "/srv/app/sub\n"
        assert say(container, "pwd", workdir="/tmp") == "/tmp\n"

    def test_the_hostname_is_always_the_same_unless_one_is_given(self, container: WorkingContainer) -> None:
        assert say(container, "hostname") == "buildlib\n"
        assert say(container, "hostname", hostname="other") == "other\n"

    def test_stdin_is_empty_or_what_is_given(self, container: WorkingContainer, tmp_path: Path) -> None:
        assert say(container, "cat") == ""
        assert say(container, "cat", stdin=b"bytes") == "bytes"
        (tmp_path / "in").write_text("from a file")
        with (tmp_path / "in").open() as file:
            assert say(container, "cat", stdin=file) == "from a file"

    def test_without_network_there_is_only_loopback(self, container: WorkingContainer) -> None:
        assert say(container, "ls /sys/class/net", network="none").split() == ["lo"]
        with pytest.raises(UsageError, match="network"):
            container.run("true", network="bridge")

    def test_an_empty_command_is_refused(self, container: WorkingContainer) -> None:
        with pytest.raises(UsageError, match="no command"):
            container.run([])


class TestOutput:
    def test_captured_streams_are_apart_and_together(self, container: WorkingContainer) -> None:
        result = container.run("echo out; echo err >&2", capture=True)
        assert (result.stdout, result.stderr) == ("out\n", "err\n")
        assert sorted(result.output.splitlines()) == ["err", "out"]

    def test_much_output_on_both_streams_blocks_nothing(self, container: WorkingContainer) -> None:
        line = "0123456789012345678901234567890123456789"
        command = f"i=0; while [ $i -lt 3000 ]; do echo {line}; echo e >&2; i=$((i+1)); done"
        result = container.run(command, capture=True)
        assert len(result.stdout) == 3000 * 41
        assert len(result.stderr) == 3000 * 2

    def test_bytes_that_are_no_text_do_not_matter(self, container: WorkingContainer) -> None:
        assert say(container, "printf 'a\\377b'") == "a\ufffdb"

    def test_output_goes_straight_to_a_descriptor(self, container: WorkingContainer) -> None:
        read_end, write_end = os.pipe()
        container.run("echo to a descriptor", stdout=write_end)
        os.close(write_end)
        assert os.read(read_end, 100) == b"to a descriptor\n"
        os.close(read_end)

    def test_a_replaced_sys_stdout_as_in_a_notebook_receives_it(self, container: WorkingContainer) -> None:
        page = io.StringIO()
        with redirect_stdout(page):
            container.run("echo cell; printf 'caf\\303'; printf '\\251'")
        assert page.getvalue() == "cell\ncafé"

    def test_output_arrives_while_the_command_runs(self, container: WorkingContainer) -> None:
        arrived: list[tuple[float, str]] = []

        class Sink:
            def write(self, text: str) -> None:
                arrived.append((time.monotonic(), text))

        container.run("echo first; sleep 0.5; echo second", stdout=Sink())
        assert [text for _, text in arrived] == ["first\n", "second\n"]
        assert arrived[1][0] - arrived[0][0] > 0.3

    def test_captured_output_may_be_written_somewhere_as_well(self, container: WorkingContainer) -> None:
        page = io.StringIO()
        assert container.run("echo both", capture=True, stdout=page).stdout == "both\n"
        assert page.getvalue() == "both\n"


class TestFailing:
    def test_a_failed_command_raises_with_code_output_and_container(self, container: WorkingContainer) -> None:
        page = io.StringIO()
        with pytest.raises(RunError, match="exit code 3") as caught, redirect_stdout(page):
            container.run("echo before; echo the reason; exit 3")
        error = caught.value
        assert error.exit_code == 3
        assert error.output == "before\nthe reason"
        assert error.argv == ["/bin/sh", "-c", "echo before; echo the reason; exit 3"]
        assert error.container is container
        assert page.getvalue() == "before\nthe reason\n"

    def test_without_check_the_exit_code_is_returned(self, container: WorkingContainer) -> None:
        assert container.run("exit 7", check=False).exit_code == 7
        assert container.run("kill -9 $$", check=False).exit_code == 137
        assert container.run(["/no/such/program"], check=False, stderr=io.StringIO()).exit_code == 127
        assert container.run(["/etc/passwd"], check=False, stderr=io.StringIO()).exit_code == 126

    def test_what_a_failed_command_wrote_can_be_looked_at(self, container: WorkingContainer) -> None:
        with pytest.raises(RunError):
            container.run("echo left > /left; false")
        assert container.read_file("/left") == b"left\n"

    def test_a_command_whose_time_is_over_is_killed_with_all_it_started(self, container: WorkingContainer) -> None:
        with pytest.raises(RunTimeout, match=r"longer than 0\.3 s") as caught:
            container.run("(sleep 47 & ) ; echo started; sleep 47", timeout=0.3, stdout=io.StringIO())
        assert caught.value.output == "started"
        assert not _running("sleep\x0047")
        assert say(container, "echo usable") == "usable\n"

    def test_ctrl_c_kills_the_tree_and_leaves_the_container_usable(self, container: WorkingContainer) -> None:
        def interrupt() -> None:
            while not _running("sleep\x0048"):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            container.run("echo kept > /kept; sleep 48")
        thread.join()
        assert not _running("sleep\x0048")
        assert say(container, "cat /kept") == "kept\n"

    def test_a_reader_that_goes_away_ends_the_command(self, container: WorkingContainer) -> None:
        class Broken:
            def write(self, text: str) -> None:
                raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            container.run("while true; do echo y; sleep 0.01; done", stdout=Broken())
        assert say(container, "echo usable") == "usable\n"


class TestMounts:
    def test_a_bind_shows_a_folder_of_the_host_and_leaves_no_trace(
        self, container: WorkingContainer, tmp_path: Path
    ) -> None:
        (tmp_path / "host").mkdir()
        (tmp_path / "host/file").write_text("text")
        bind = Bind(str(tmp_path / "host"), "/mnt/deep/here")
        command = "cat /mnt/deep/here/file; touch /mnt/deep/here/x 2>/dev/null || echo read-only"
        assert say(container, command, mounts=[bind]) == "textread-only\n"
        assert not [change for change in container.diff() if change.path.startswith("/mnt")]

    def test_what_is_written_to_a_writable_bind_is_thrown_away_unless_it_is_kept(
        self, container: WorkingContainer, tmp_path: Path
    ) -> None:
        folder = tmp_path / "host"
        folder.mkdir()
        container.run("touch /mnt/lost", mounts=[Bind(str(folder), "/mnt", rw=True)])
        container.run("touch /mnt/kept", mounts=[Bind(str(folder), "/mnt", rw=True, keep=True)])
        assert [path.name for path in folder.iterdir()] == ["kept"]

    def test_a_bind_below_a_context_can_not_leave_it(self, container: WorkingContainer, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("hush")
        context = tmp_path / "context"
        context.mkdir()
        (context / "out").symlink_to("../secret")
        with pytest.raises(NotFound):
            container.run("cat /mnt", mounts=[Bind("out", "/mnt", context=str(context))])

    def test_a_bind_shows_files_of_another_container(self, container: WorkingContainer) -> None:
        with container.store.from_image("localhost/busybox") as other:
            other.run("mkdir /made && echo there > /made/file")
            assert say(container, "cat /from/file", mounts=[Bind("/made", "/from", other)]) == "there\n"

    def test_a_cache_outlives_the_run(self, container: WorkingContainer) -> None:
        cache = Cache("/var/cache/x", uid=1000, gid=1000, mode=0o750)
        container.run("stat -c %u:%a /var/cache/x > /var/cache/x/how", mounts=[cache])
        assert say(container, "cat /elsewhere/how", mounts=[Cache("/elsewhere", "/var/cache/x")]) == "1000:750\n"
        assert say(container, "ls -d /var/cache 2>/dev/null || echo gone") == "gone\n"

    def test_a_tmpfs_is_gone_afterwards(self, container: WorkingContainer) -> None:
        assert say(container, "touch /scratch/x; ls /scratch", mounts=[Tmpfs("/scratch", size=1 << 20)]) == "x\n"
        assert say(container, "ls -d /scratch 2>&1 || true").startswith("ls: /scratch")

    def test_secrets_come_from_a_file_a_variable_or_a_value(
        self, container: WorkingContainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "key").write_text("from file")
        monkeypatch.setenv("TOKEN", "from variable")
        secrets = [
            Secret("a", source=str(tmp_path / "key")),
            Secret("b", variable="TOKEN", target="/etc/token", mode=0o444),
            Secret("c", value="from value", env="C"),
        ]
        command = (
            'cat /run/secrets/a; echo; cat /etc/token; echo; echo "$C"; ls /run/secrets; stat -c %a /run/secrets/a'
        )
        assert say(container, command, mounts=secrets).splitlines() == [
            "from file", "from variable", "from value", "a", "400",
        ]  # fmt: skip
        assert container.diff() == []
        assert "from value" not in repr(secrets)

    def test_a_secret_belongs_to_whom_it_is_for(self, container: WorkingContainer) -> None:
        secret = Secret("key", value=b"x", uid=1000, gid=1000)
        assert say(container, "cat /run/secrets/key", user="app", mounts=[secret]) == "x"

    def test_only_a_required_secret_has_to_be_there(self, container: WorkingContainer, tmp_path: Path) -> None:
        assert say(container, "ls /run/secrets 2>/dev/null || echo none", mounts=[Secret("x")]) == "none\n"
        missing = Secret("x", source=str(tmp_path / "missing"), required=True)
        with pytest.raises(NotFound, match="secret 'x'"):
            container.run("true", mounts=[missing])

    def test_given_content_is_a_file_that_can_be_executed(self, container: WorkingContainer) -> None:
        script = Content("/dev/pipes/EOF", b"#!/bin/sh\necho run as $0\n")
        assert container.run(["/dev/pipes/EOF"], mounts=[script], capture=True).stdout == "run as /dev/pipes/EOF\n"


def _running(words: str) -> bool:
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
                if file.read().rstrip(b"\0") == words.encode():
                    return True
        except OSError:
            continue
    return False
