"""The worker as a process: who lives and dies with whom, and what comes back to whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import buildlib
from buildlib import worker as workers
from buildlib.errors import Cancelled, StoreError, UsageError, WorkerError
from buildlib.linux.process import start_time
from buildlib.worker.child import PATIENCE

from .conftest import BASE, KEY, interrupt_soon, processes, until

if TYPE_CHECKING:
    from .conftest import Place

pytestmark = pytest.mark.root

SRC = str(Path(buildlib.__file__).parents[1])


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    return start_time(pid) is None


# --- answers ----------------------------------------------------------------------------------------------------------


def test_an_error_arrives_as_the_class_it_was(place: Place) -> None:
    with pytest.raises(UsageError, match="no operation"):
        place.worker.call("nosuch", {})
    place.prepare()
    (place.root / "layers/x").write_text("a file")
    with pytest.raises(StoreError, match="x"):
        place.worker.call("commit", {"key": KEY, "parents": [BASE], "layer": "x"})


def test_a_defect_arrives_with_its_traceback(place: Place) -> None:
    with pytest.raises(WorkerError, match="prepare: KeyError") as caught:
        place.worker.call("prepare", {"key": KEY})
    assert "Traceback" in (caught.value.hint or "")


def test_requests_run_at_the_same_time(place: Place) -> None:
    keys = [f"{number:064x}" for number in range(4)]
    for key in keys:
        place.prepare(key)
    pipes = [os.pipe() for _ in keys]
    # Each waits for the one after it: one after the other they would never end.
    pending = [
        place.submit("/bin/sh", "-c", "read x; echo go", key=keys[i], fds=(pipes[i][0], pipes[i - 1][1], 2))
        for i in range(len(keys))
    ]
    os.write(pipes[-1][1], b"go\n")
    assert [one.result()["exit_code"] for one in pending] == [0] * len(keys)
    for fds in pipes:
        os.close(fds[0])
        os.close(fds[1])


def test_many_threads_may_ask_at_once(place: Place) -> None:
    place.prepare()
    results: list[object] = []

    def ask() -> None:
        results.extend(place.worker.call("prepare", {"key": KEY, "parents": [BASE]}) for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [{}] * 40


def test_large_arguments_and_names_that_are_no_unicode_pass(place: Place) -> None:
    place.prepare()
    name = os.fsdecode(b"/srv/\xff\xfe")
    assert (
        place.sh(f"echo x >'{name}'; ls /srv | wc -l", files={"/large": "x" * (1 << 20)}, workdir="/srv").out == "1\n"
    )
    assert (place.root / "containers" / KEY / "upper" / name[1:]).exists()


def test_an_operation_can_be_announced_and_then_asked_for(place: Place) -> None:
    place.worker.warm("run")
    place.worker.warm("nosuch")
    place.prepare()
    assert place.run("true").code == 0


def test_a_result_can_be_asked_for_twice(place: Place) -> None:
    place.prepare()
    pending = place.submit("true")
    assert pending.result() == pending.result()
    failing = place.worker.submit("nosuch", {})
    for _ in range(2):
        with pytest.raises(UsageError):
            failing.result()


# --- ends -------------------------------------------------------------------------------------------------------------


def test_cancelling_kills_the_tree_before_it_says_so(place: Place) -> None:
    place.prepare()
    pending = place.submit("/bin/sh", "-c", "setsid sleep 200 & sleep 200")
    until(lambda: len(processes("sleep 200")) == 2, "it runs")
    pending.cancel()
    with pytest.raises(Cancelled):
        pending.result()
    assert not processes("sleep 200")
    assert place.run("true").code == 0


def test_a_pending_request_that_is_dropped_is_cancelled(place: Place) -> None:
    place.prepare()
    pending = place.submit("sleep", "201")
    until(lambda: processes("sleep 201"), "it runs")
    del pending
    until(lambda: not processes("sleep 201"), "it is ended")


def test_cancelling_what_waits_for_a_lock_gives_it_up_at_once(place: Place) -> None:
    place.prepare()
    place.prepare("d1" * 32)
    binds = [{"type": "cache", "target": "/c", "sharing": "locked"}]
    first = place.submit("sleep", "202", binds=binds)
    until(lambda: processes("sleep 202"), "it runs")
    second = place.submit("true", key="d1" * 32, binds=binds)
    time.sleep(0.2)
    before = time.monotonic()
    second.cancel()
    with pytest.raises(Cancelled):
        second.result()
    assert time.monotonic() - before < PATIENCE / 2
    first.cancel()
    with pytest.raises(Cancelled):
        first.result()


def test_ctrl_c_while_waiting_kills_the_tree_and_goes_on_up(place: Place) -> None:
    place.prepare()
    thread = interrupt_soon(lambda: processes("sleep 203"))
    with pytest.raises(KeyboardInterrupt):
        place.sh("setsid sleep 203 & sleep 203")
    assert not processes("sleep 203")
    thread.join()
    assert place.sh("echo fine").out == "fine\n"


def test_no_zombie_and_no_descriptor_is_left(place: Place) -> None:
    place.prepare()

    def state() -> tuple[int, int, int]:
        until(lambda: not children(place.worker.pid), "all children are reaped")
        time.sleep(0.1)  # a reaped child's descriptors are closed right afterwards
        ours, theirs = Path("/proc/self/fd"), Path(f"/proc/{place.worker.pid}/fd")
        return len(list(ours.iterdir())), len(list(theirs.iterdir())), len(children(os.getpid()))

    place.run("true")
    before = state()
    for _ in range(3):
        place.run("true")
        place.run("nosuch")
        with pytest.raises(WorkerError):
            place.worker.call("prepare", {})
        place.submit("sleep", "100", timeout=0.05).result()
        pending = place.submit("sleep", "100", binds=[{"type": "cache", "target": "/c"}])
        pending.cancel()
        with pytest.raises(Cancelled):
            pending.result()
    until(lambda: state() == before, "everything is closed")


def test_a_worker_that_is_killed_takes_everything_along_and_its_clients_hear_of_it(place: Place) -> None:
    place.prepare()
    pending = place.submit("/bin/sh", "-c", "setsid sleep 204 & sleep 204")
    until(lambda: len(processes("sleep 204")) == 2, "it runs")
    os.kill(place.worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"the worker process \d+ is gone: it was ended by signal 9"):
        pending.result()
    until(lambda: not processes("sleep 204"), "the containers are dead")
    with pytest.raises(WorkerError, match="gone"):
        place.worker.call("prepare", {"key": KEY, "parents": []})


def test_a_command_that_changes_its_user_dies_with_the_worker_all_the_same(place: Place) -> None:
    place.prepare()
    pending = place.submit("su", "app", "-s", "/bin/sh", "-c", "exec sleep 205")
    until(lambda: processes("sleep 205"), "it runs")
    os.kill(place.worker.pid, signal.SIGKILL)
    until(lambda: not processes("sleep 205"), "it is dead")
    with pytest.raises(WorkerError):
        pending.result()


def test_a_request_process_that_dies_is_an_error_for_its_client_alone(place: Place) -> None:
    place.prepare()
    binds = [{"type": "cache", "target": "/c", "sharing": "locked"}]
    first = place.submit("sleep", "206", binds=binds)
    until(lambda: processes("sleep 206"), "it runs")
    before = set(children(place.worker.pid))
    second = place.submit("true", key=KEY, binds=binds)
    (pid,) = until(lambda: set(children(place.worker.pid)) - before, "the second is there")
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="ended by signal 9"):
        second.result()
    first.cancel()
    with pytest.raises(Cancelled):
        first.result()


def test_an_init_that_is_killed_is_a_command_that_was_killed(place: Place) -> None:
    place.prepare()
    pending = place.submit("sleep", "207")
    until(lambda: processes("sleep 207"), "it runs")
    (pid,) = children(place.worker.pid)
    os.kill(pid, signal.SIGKILL)
    assert pending.result() == {"exit_code": 137, "timed_out": False}


def test_closing_ends_everything_and_may_be_done_twice(place: Place) -> None:
    place.prepare()
    pending = place.submit("sleep", "208")
    until(lambda: processes("sleep 208"), "it runs")
    place.worker.close()
    assert not processes("sleep 208")
    assert gone(place.worker.pid)
    place.worker.close()
    with pytest.raises(WorkerError):
        pending.result()
    with pytest.raises(WorkerError):
        place.worker.call("prepare", {})


def test_a_forked_child_that_closes_its_copy_does_not_end_the_worker(place: Place) -> None:
    pid = os.fork()
    if pid == 0:
        place.worker.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert place.worker.call("prepare", {"key": KEY, "parents": []}) == {}


def test_closing_ends_the_worker_though_a_forked_child_still_has_its_socket(place: Place) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)
        os._exit(0)
    place.worker.close()
    assert gone(place.worker.pid)
    os.write(writer, b"x")
    os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


# --- a client of its own ----------------------------------------------------------------------------------------------

CLIENT = """
import os, sys, threading, time
sys.path[:0] = {path!r}
from buildlib import worker as workers
from buildlib.sandbox.defaults import default_spec
if {threads}:
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
worker = workers.start({root!r})
worker.call("prepare", {{"key": {key!r}, "parents": [{base!r}]}})
spec = default_spec(["/bin/sh", "-c", {script!r}], env=["PATH=/bin"]).to_dict()
args = {{"key": {key!r}, "parents": [{base!r}], "spec": spec}}
print(worker.pid, flush=True)
def run():
    print(worker.call("run", args, (0, 1, 2)), flush=True)
if {in_thread}:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
else:
    run()
"""


def client(
    place: Place, script: str, *, threads: bool = False, in_thread: bool = False, cwd: str | None = None
) -> subprocess.Popen[str]:
    """Another Python with buildlib known only by its sys.path, as in a Jupyter kernel."""
    packages = str(Path(pytest.__file__).parents[1])  # where attrs lies
    source = CLIENT.format(
        path=[SRC, packages],
        threads=threads,
        in_thread=in_thread,
        root=str(place.root),
        key=KEY,
        base=BASE,
        script=script,
    )
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", source], stdout=subprocess.PIPE, text=True, cwd=cwd, start_new_session=True
    )


@pytest.mark.parametrize("threads", [False, True], ids=["forked", "executed"])
def test_a_worker_is_born_by_fork_or_exec_and_finds_its_modules(place: Place, threads: bool) -> None:
    with tempfile.TemporaryDirectory() as elsewhere:
        # a trap: modules in the working directory are none of ours
        Path(elsewhere, "json.py").write_text("raise SystemExit('trap')")
        process = client(place, "echo hello", threads=threads, in_thread=threads, cwd=elsewhere)
        out, _ = process.communicate(timeout=30)
    pid, *lines = out.splitlines()
    assert lines == ["hello", "{'exit_code': 0, 'timed_out': False}"]
    until(lambda: gone(int(pid)), "the worker ends with its client")


@pytest.mark.parametrize("threads", [False, True], ids=["forked", "executed"])
def test_a_client_that_is_killed_leaves_nothing(place: Place, threads: bool) -> None:
    process = client(place, "setsid sleep 209 & sleep 209", threads=threads)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    until(lambda: len(processes("sleep 209")) == 2, "it runs")
    process.kill()
    process.wait()
    until(lambda: gone(pid) and not processes("sleep 209"), "all is dead")
    process.stdout.close()
    assert str(place.root) not in Path("/proc/self/mountinfo").read_text()


def test_ctrl_c_at_the_terminal_reaches_the_client_alone(place: Place) -> None:
    process = client(place, "trap 'echo caught' INT; sleep 210; echo slept")
    assert process.stdout is not None
    process.stdout.readline()
    until(lambda: processes("sleep 210"), "it runs")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it to the whole group
    out = process.stdout.read()
    process.wait()
    assert process.returncode == -signal.SIGINT
    assert "caught" not in out
    assert not processes("sleep 210")


def test_a_worker_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[workers.Worker] = []
    (tmp_path / "containers").mkdir()
    thread = threading.Thread(target=lambda: started.append(workers.start(str(tmp_path))))
    thread.start()
    thread.join()
    time.sleep(0.1)
    with started[0] as worker:
        assert worker.call("prepare", {"key": KEY, "parents": []}) == {}


def test_the_output_of_a_command_streams_while_it_runs(place: Place) -> None:
    place.prepare()
    reader, writer = os.pipe()
    answer, go = os.pipe()
    pending = place.submit("/bin/sh", "-c", "echo first; read x; echo $x", fds=(answer, writer, 2))
    os.close(writer)
    os.close(answer)
    assert os.read(reader, 100) == b"first\n"
    os.write(go, b"second\n")
    assert os.read(reader, 100) == b"second\n"
    assert os.read(reader, 100) == b"", "nobody else holds the pipe"
    assert pending.result()["exit_code"] == 0
    os.close(reader)
    os.close(go)


def test_the_client_side_is_light_to_import() -> None:
    source = textwrap.dedent(
        """
        import sys
        import buildlib.worker
        heavy = {"attrs", "attr", "ctypes", "subprocess", "logging", "typing", "socket", "json"} & set(sys.modules)
        sys.exit(f"imports {heavy}" if heavy else 0)
        """
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {SRC!r})\n{source}"])
    assert done.returncode == 0
