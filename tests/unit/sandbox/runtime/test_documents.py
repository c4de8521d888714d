"""What ``spec``, ``state`` and ``features`` write, judged by the spec's own schema where Debian has installed it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.linux.options import parse
from buildlib.oci.runtime import RuntimeSpec
from buildlib.sandbox.runtime import hooks, verb_features, verb_spec
from buildlib.sandbox.seccomp import compiler

if TYPE_CHECKING:
    from .conftest import Bundle, Runtime

SCHEMA = Path("/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema")


def judge(document: dict[str, Any], name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    if not SCHEMA.is_dir():
        pytest.skip("no schema: apt-get install golang-github-opencontainers-specs-dev")

    def find(uri: str) -> Any:
        text = (SCHEMA / uri.rpartition("/")[2]).read_text()
        return referencing.Resource.from_contents(json.loads(text), referencing.jsonschema.DRAFT4)

    schema = {"$ref": (SCHEMA / name).as_uri()}
    registry = referencing.Registry(retrieve=find)
    jsonschema.Draft4Validator(schema, registry=registry).validate(document)


@pytest.mark.parametrize("rootless", [False, True])
def test_the_config_to_begin_with_is_valid(rootless: bool) -> None:
    judge(verb_spec.document(rootless=rootless), "config-schema.json")


def test_the_schema_is_really_asked() -> None:
    with pytest.raises(Exception, match="cwd"):
        judge({"ociVersion": "1.2.0", "process": {"args": ["x"]}}, "config-schema.json")


@pytest.mark.root
def test_the_state_is_valid(bundle: Bundle, runtime: Runtime) -> None:
    name = bundle.write("/bin/sleep", "100").create()
    judge(runtime.state(name), "state-schema.json")


def test_spec_writes_a_config_and_never_over_another(runtime: Runtime, tmp_path: Path) -> None:
    runtime.ok("spec", "--bundle", str(tmp_path))
    text = (tmp_path / "config.json").read_text()
    assert RuntimeSpec.from_dict(json.loads(text)).process.args == ("sh",)
    assert "Remove it first" in runtime.fails("spec", "--bundle", str(tmp_path))
    assert (tmp_path / "config.json").read_text() == text


def test_features_names_what_the_code_knows(runtime: Runtime) -> None:
    said = json.loads(runtime.ok("features"))
    assert said["hooks"] == list(hooks.NAMES)
    assert {"mount", "user", "time", "cgroup"} <= set(said["linux"]["namespaces"])
    assert set(said["linux"]["seccomp"]["actions"]) == set(compiler._ACTIONS)
    assert set(said["linux"]["seccomp"]["operators"]) == compiler._OPERATORS
    assert parse(verb_features.MOUNT_OPTIONS).rest == (), "each mount option is known"


def test_version_is_told_as_engines_read_it(runtime: Runtime) -> None:
    first, second = runtime("--version").stdout.splitlines()
    assert first.startswith("buildlib-runtime version ")
    assert second == "spec: 1.2.0"
