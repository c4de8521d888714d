"""Machines that allow less: each loss is named, with what was chosen instead or the one command that gives more."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.linux import mount, namespaces, process, subids

if TYPE_CHECKING:
    from .person import Person

pytestmark = pytest.mark.root


def tier_of(person: Person) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(person.buildlib("info", "--format", "{{json .host.tier}}").stdout)
    return found


def hide(path: str) -> None:
    """Let nobody execute the program ``path``."""
    mount.bind("/etc/passwd", path)


def test_one_id_is_told_of_once_with_the_command_for_more(single: Person, busybox: str) -> None:
    first = single.buildlib("from", "--name", "c", f"tarball:{busybox}")
    assert "one user id only, for /etc/subuid and /etc/subgid have none for single" in first.stderr
    assert "hint: sudo usermod --add-subuids " in first.stderr
    assert single.buildlib("run", "c", "true").stderr == ""
    assert tier_of(single)["ids"] == "single"


def test_who_runs_as_another_user_is_told_that_there_is_none(single: Person, busybox: str) -> None:
    single.buildlib("from", "--name", "c", f"tarball:{busybox}")
    refused = single.buildlib("run", "--user", "app", "c", "true", check=False)
    assert refused.returncode == 125
    assert "the user 1000:1000 can't be had" in refused.stderr
    assert "hint: sudo usermod --add-subuids" in refused.stderr


def test_new_ids_count_at_once(single: Person, busybox: str) -> None:
    assert tier_of(single)["ids"] == "single"
    for name in ("subuid", "subgid"):
        (single.folder / name).write_text("single:1500100000:65536\n")
    assert tier_of(single)["ids"] == "range"


def test_without_newuidmap_there_is_one_id(person: Person) -> None:
    person.before = lambda: hide(str(subids.program("newuidmap")))
    tier = tier_of(person)
    assert "newuidmap is not installed" in tier["lost"][0]
    assert (tier["ids"], tier["hint"]) == ("single", "sudo apt-get install uidmap")


def test_where_newuidmap_has_no_rights_there_is_one_id(person: Person) -> None:
    person.before = process.set_no_new_privs
    tier = tier_of(person)
    assert (tier["driver"], tier["isolation"], tier["ids"]) == ("overlay", "rootless", "single")
    assert "no_new_privs" in tier["lost"][0]


def forbid_by_sysctl() -> None:
    """In a user namespace that maps all ids to themselves, so that only its own limit changes."""
    target = os.getpid()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        everything = [(0, 0, 4294967295)]
        namespaces.write_id_maps(target, everything, everything)
        os._exit(0)
    namespaces.unshare(namespaces.NEWUSER)
    os.close(writer)
    os.waitpid(child, 0)
    namespaces.unshare(namespaces.NEWNS)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def test_a_sysctl_that_forbids_user_namespaces_is_named(person: Person, busybox: str) -> None:
    person.before = forbid_by_sysctl
    tier = tier_of(person)
    assert (tier["driver"], tier["isolation"], tier["ids"]) == ("copy", "chroot", "host")
    assert "user.max_user_namespaces is 0" in tier["lost"][0]
    assert tier["hint"].startswith("sudo sysctl -w user.max_user_namespaces=")
    forced = person.buildlib("--isolation", "rootless", "from", f"tarball:{busybox}", check=False)
    assert forced.returncode == 125
    assert "the isolation 'rootless' can't be had: user.max_user_namespaces is 0" in forced.stderr
    forced = person.buildlib("--storage-driver", "overlay", "from", f"tarball:{busybox}", check=False)
    assert "the storage driver 'overlay' can't be had: no user namespace" in forced.stderr


def forbid_by_seccomp() -> None:
    """Let unshare(2) fail with EPERM, as profiles of container engines do."""
    number = {"x86_64": 272, "aarch64": 97}[platform.machine()]
    # seccomp(2): load the number of the call; is it that one? then EPERM; else allow
    program = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, number, 0x06, 0, 0, 0x50001, 0x06, 0, 0, 0x7FFF0000)
    kept = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", 4, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, ctypes.c_ulong(2), ctypes.c_char_p(header), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the number of the call is not known here")
def test_a_seccomp_profile_that_forbids_user_namespaces_is_named(person: Person) -> None:
    person.before = forbid_by_seccomp
    tier = tier_of(person)
    assert (tier["driver"], tier["isolation"]) == ("copy", "chroot")
    assert "a seccomp profile or a security module forbids it" in tier["lost"][0]
    assert "seccomp=unconfined" in tier["hint"]


def test_a_home_that_is_read_only_is_named(person: Person) -> None:
    person.before = lambda: mount.bind(str(person.home), str(person.home), attributes=mount.ATTR_RDONLY)
    refused = person.buildlib("images", "--all", check=False)
    assert refused.returncode in (0, 125)
    refused = person.buildlib("from", "scratch", check=False)
    assert refused.returncode == 125
    assert f"opening the store {person.home}/.local/share/buildlib: Read-only file system" in refused.stderr
    assert "--root" in refused.stderr


def test_a_full_tmpfs_is_named_and_leaves_nothing(person: Person, busybox: str) -> None:
    def small() -> None:
        fd = mount.new_mount("tmpfs", ("size=1m", f"uid={person.uid}", "mode=700"), source="tmpfs")
        mount.move_mount(fd, str(person.home))

    person.before = small
    refused = person.buildlib("from", f"tarball:{busybox}", check=False)
    assert refused.returncode == 125
    assert "no space left while unpacking bin/busybox\nhint: free some space" in refused.stderr
