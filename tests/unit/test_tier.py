"""Which tier is chosen from which facts, what is said to be lost, and which command gives more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib import tier
from buildlib.errors import UsageError
from buildlib.linux.probe import Facts, Status
from buildlib.worker.tier import ROOT, Tier, pack, unpack

if TYPE_CHECKING:
    from buildlib.store import Store


def facts(**changes: Any) -> Facts:
    """An ordinary user's machine that allows everything."""
    everything = Facts(
        privileged=False, nested=False, user_namespace="", subordinate_ids="", mount="", overlay="", fuse="",
        chroot="", proc="", seccomp="", confined=False, cgroups="v2", lsm=(),
    )  # fmt: skip
    return everything._replace(**changes)


NO_NAMESPACE = {
    "user_namespace": "user.max_user_namespaces is 0", "subordinate_ids": "no", "overlay": "no", "fuse": "no",
    "mount": "no",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Tier("overlay", "rootless", "range")),
        ({"subordinate_ids": "none"}, Tier("overlay", "rootless", "single")),
        ({"overlay": "refused"}, Tier("fuse", "rootless", "range")),
        ({"overlay": "refused", "fuse": "closed"}, Tier("copy", "rootless", "range")),
        (NO_NAMESPACE, Tier("copy", "chroot", "host")),
        ({"privileged": True}, ROOT),
        ({"privileged": True, "mount": "refused", "overlay": "no", "fuse": "no"}, Tier("copy", "chroot", "host")),
        ({"privileged": True, "nested": True}, Tier("overlay", "rootless", "host")),
    ],
)
def test_the_strongest_is_taken(changes: dict[str, Any], expected: Tier) -> None:
    pytest.importorskip("pyfuse3")
    choice = tier.decide(facts(**changes))
    assert choice.tier == expected
    whole = (ROOT, Tier("overlay", "rootless", "range"), Tier("overlay", "rootless", "host"))
    assert bool(choice.losses) == (expected not in whole)


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"subordinate_ids": "newuidmap is not installed"}, "sudo apt-get install uidmap"),
        ({"subordinate_ids": "/etc/subuid and /etc/subgid have none for me"}, "sudo usermod --add-subuids "),
        (NO_NAMESPACE, "sudo sysctl -w user.max_user_namespaces="),
        ({**NO_NAMESPACE, "user_namespace": "AppArmor denies all rights in it"}, "sudo sysctl -w kernel.apparmor_"),
        ({**NO_NAMESPACE, "user_namespace": "refused", "confined": True}, "in a container, give it `--security-opt"),
        ({}, ""),
    ],
)
def test_a_loss_comes_with_the_command_that_lifts_it(changes: dict[str, Any], command: str) -> None:
    hint = tier.decide(facts(**changes)).hint
    assert hint.startswith(command)
    assert bool(hint) == bool(command)


def test_what_is_forced_is_taken_or_refused() -> None:
    assert tier.decide(facts(), "copy", "chroot").tier == Tier("copy", "chroot", "range")
    assert tier.decide(facts(), None, "oci").tier.isolation == "rootless"
    assert tier.decide(facts(privileged=True), None, "rootless").tier.isolation == "rootless"
    with pytest.raises(UsageError, match="overlay' can't be had: refused"):
        tier.decide(facts(overlay="refused"), "overlay")
    with pytest.raises(UsageError, match="rootless' can't be had: user") as caught:
        tier.decide(facts(**NO_NAMESPACE), None, "rootless")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("sudo sysctl")


def test_names_that_there_are_not_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no storage driver 'btrfs'"):
        tier.choose(str(tmp_path), "btrfs")
    with pytest.raises(UsageError, match="no isolation 'vm'"):
        tier.choose(str(tmp_path), None, "vm")


def test_a_tier_travels_as_a_word() -> None:
    assert unpack(pack(Tier("fuse", "chroot", "single"))) == Tier("fuse", "chroot", "single")


@pytest.mark.root
def test_ordinary_root_needs_no_facts(store: Store) -> None:
    if not tier._is_ordinary_root(Status.read(), store.root):
        pytest.skip("this root is confined, or the store lies on an unusual file system")
    assert store.tier.tier == ROOT
    assert not Path(store.root, tier.FILE).exists()


def test_facts_are_kept_until_something_changes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, fresh = tier.known_facts(store.root)
    assert fresh
    assert tier.known_facts(store.root) == (first, False)
    assert tier.known_facts(store.root, again=True) == (first, True)
    monkeypatch.setattr(tier.probe, "SYSCTLS", {"kernel.hostname": ("", "")})
    assert tier.known_facts(store.root)[1]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"mark": 1, "facts": {}}'])
def test_a_damaged_file_of_facts_is_measured_anew(store: Store, text: str) -> None:
    path = Path(store.root, tier.FILE)
    path.write_text(text)
    assert tier.known_facts(store.root)[1]
    assert json.loads(path.read_text())["facts"]


def test_probing_leaves_nothing_behind(store: Store) -> None:
    store.machine()
    assert list(Path(store.root, "tmp").iterdir()) == []
