"""Processes, descriptors, namespaces and capabilities, as the kernel sees them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.linux import caps, namespaces, process

if TYPE_CHECKING:
    from collections.abc import Callable

    InChild = Callable[[Callable[[], Any]], Any]


def status(field: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))


def test_start_time_names_a_process_for_ever() -> None:
    assert process.start_time(os.getpid()) == process.start_time(os.getpid())
    assert process.start_time(os.getpid()) != process.start_time(1)


def test_a_dead_process_has_no_start_time() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process.start_time(pid) is None, "a zombie is dead"
    os.waitpid(pid, 0)
    assert process.start_time(pid) is None


@pytest.mark.root
def test_a_name_with_parentheses_does_not_confuse_start_time(in_child: InChild) -> None:
    def look() -> bool:
        before = process.start_time(os.getpid())
        process.set_name("a) S 1 (b")
        return before == process.start_time(os.getpid())

    assert in_child(look)


def test_threads_are_counted() -> None:
    before = process.thread_count()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    assert process.thread_count() == before + 1
    done.set()
    thread.join()


@pytest.mark.root
def test_all_descriptors_but_some_can_be_closed(in_child: InChild) -> None:
    def look() -> list[bool]:
        high = os.dup2(0, 700)
        keep = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()} - {high}
        process.close_all_but(keep)
        return [Path(f"/proc/self/fd/{high}").exists(), Path("/proc/self/fd/1").exists()]

    assert in_child(look) == [False, True]


@pytest.mark.root
def test_capability_sets_are_set_exactly(in_child: InChild) -> None:
    def look() -> list[str]:
        some = caps.mask(["CAP_CHOWN", "kill", "CAP_SYS_ADMIN"])
        caps.drop_bounding(some)
        caps.set_capabilities(effective=caps.mask(["chown"]), permitted=some, inheritable=caps.mask(["kill"]))
        caps.set_ambient(caps.mask(["kill"]))
        return [status(f"Cap{name}") for name in ("Bnd", "Eff", "Prm", "Inh", "Amb")]

    chown, kill, admin = 1 << 0, 1 << 5, 1 << 21
    wanted = [chown | kill | admin, chown, chown | kill | admin, kill, kill]
    assert in_child(look) == [f"{bits:016x}" for bits in wanted]


def test_an_unknown_capability_is_an_error() -> None:
    with pytest.raises(ValueError, match="tuple"):
        caps.mask(["CAP_FLY"])


@pytest.mark.root
def test_no_new_privs_is_set(in_child: InChild) -> None:
    def look() -> str:
        process.set_no_new_privs()
        return status("NoNewPrivs")

    assert in_child(look) == "1"


@pytest.mark.root
def test_unshare_gives_a_new_namespace_and_setns_brings_back(in_child: InChild) -> None:
    def look() -> list[bool]:
        old = os.open("/proc/self/ns/uts", os.O_RDONLY)
        before = Path("/proc/self/ns/uts").readlink()
        namespaces.unshare(namespaces.NEWUTS)
        between = Path("/proc/self/ns/uts").readlink()
        namespaces.setns(old, namespaces.NEWUTS)
        return [before == between, Path("/proc/self/ns/uts").readlink() == before]

    assert in_child(look) == [False, True]


@pytest.mark.root
def test_the_id_maps_of_a_user_namespace_can_be_written() -> None:
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(namespaces.NEWUSER)
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0 if (os.getuid(), os.getgid()) == (0, 0) else 1)
    os.read(ready[0], 1)
    namespaces.write_id_maps(pid, [(0, 0, 1)], [(0, 0, 1)], setgroups=False)
    os.write(go[1], b"x")
    assert os.waitpid(pid, 0)[1] == 0
    for fd in (*ready, *go):
        os.close(fd)
