"""Which images a policy lets in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import FormatError, TransportError
from buildlib.policy import SYSTEM, check_registry, enforce, policy_file

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.store import Store

ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
SIGNED = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]
DOCKER = {
    "docker.io/library": REJECT, "docker.io/library/good": ACCEPT, "docker.io/library/good:bad": REJECT,
    "*.example.com": ACCEPT, "example.com:5000/x": ACCEPT, "signed.org": SIGNED,
}  # fmt: skip


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.json"
    oci = {"/good": ACCEPT, "/good/bad": REJECT}
    path.write_text(json.dumps({"default": REJECT, "transports": {"docker": DOCKER, "oci": oci, "dir": {"": ACCEPT}}}))
    return str(path)


@pytest.mark.parametrize(
    "name",
    [
        "docker://docker.io/library/good:1", "docker://docker.io/library/good@sha256:" + "0" * 64, "dir:/anything",
        "docker://a.b.example.com/x:1", "docker://example.com:5000/x:1", "oci:/good/layout:tag", "oci:/good",
    ],
)  # fmt: skip
def test_the_nearest_scope_lets_in(policy: str, name: str) -> None:
    enforce(name, policy)


@pytest.mark.parametrize(
    "name",
    [
        "docker://docker.io/library/good:bad", "docker://docker.io/library/other:1", "docker://example.com/x:1",
        "docker://docker.io/other/x:1", "oci:/good/bad/layout", "oci:/elsewhere", "oci-archive:/good",
    ],
)  # fmt: skip
def test_the_nearest_scope_keeps_out(policy: str, name: str) -> None:
    with pytest.raises(TransportError, match="is rejected by the policy"):
        enforce(name, policy)


def test_what_has_to_be_signed_is_refused_and_the_reason_is_said(policy: str) -> None:
    with pytest.raises(TransportError, match=r"wants a signature .*can't be verified yet"):
        enforce("docker://signed.org/x:1", policy)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"default": []}', '{"default": [{"type": "odd"}]}'])
def test_a_file_that_is_no_policy_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").write_text(text)
    with pytest.raises(FormatError):
        enforce("dir:/x", str(tmp_path / "p"))


def test_without_a_policy_everything_is_let_in(tmp_path: Path) -> None:
    enforce("dir:/x", str(tmp_path / "none"))
    (tmp_path / "p").write_text(json.dumps({"default": ACCEPT}))
    enforce("dir:/x", str(tmp_path / "p"))


def test_registries_are_blocked_and_allowed_by_a_variable() -> None:
    check_registry("docker://a.org/x:1", '{"blockedRegistries": ["b.org"], "allowedRegistries": ["a.org"]}')
    check_registry("docker://a.org/x:1", '{"insecureRegistries": ["b.org"]}')
    for lists in ('{"blockedRegistries": ["a.org"]}', '{"allowedRegistries": ["b.org"]}'):
        with pytest.raises(TransportError, match=r"does not allow the registry a\.org"):
            check_registry("docker://a.org/x:1", lists)
    with pytest.raises(FormatError):
        check_registry("docker://a.org/x:1", "[]")


def test_the_users_own_file_goes_before_the_systems(tmp_path: Path) -> None:
    assert policy_file({"HOME": str(tmp_path)}, 0) == SYSTEM
    own = tmp_path / ".config/containers/policy.json"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    assert policy_file({"HOME": str(tmp_path)}, 1000) == str(own)
    assert policy_file({"HOME": str(tmp_path), "CONTAINERS_POLICY": "/x"}, 1000) == "/x"


@pytest.mark.root
@pytest.mark.usefixtures("busybox_image")
def test_pulling_and_copying_heed_it(
    store: Store, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from buildlib import copy_image

    for transport in ("oci", "dir"):
        store.push("localhost/busybox:latest", f"{transport}:{tmp_path}/{transport}")
    monkeypatch.setenv("CONTAINERS_POLICY", policy)
    store.pull(f"dir:{tmp_path}/dir")
    copy_image(f"dir:{tmp_path}/dir", f"dir:{tmp_path}/copy")
    before = len(store.images())
    with pytest.raises(TransportError, match="rejected"):
        store.pull(f"oci:{tmp_path}/oci")
    with pytest.raises(TransportError, match="rejected"):
        copy_image(f"oci:{tmp_path}/oci", f"dir:{tmp_path}/again")
    assert len(store.images()) == before
    assert not (tmp_path / "again").exists()
