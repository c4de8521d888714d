"""The manifests are what a cluster accepts: each document is valid by the schema of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "kubernetes"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))


def documents() -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, document) for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize(("name", "document"), documents(), ids=lambda value: value if isinstance(value, str) else "")
def test_each_is_valid_by_schema(name, document):
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for version in (validator.latest_version(), "1.25"):
        validator.validate(document, version, strict=True)


@pytest.mark.parametrize(("name", "document"), documents(), ids=lambda value: value if isinstance(value, str) else "")
def test_nothing_is_privileged(name, document):
    template = document["spec"].get("template", document)
    for container in template["spec"].get("containers", ()):
        context = container["securityContext"]
        assert not context.get("privileged")
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]
        assert not {"SYS_ADMIN", "NET_ADMIN"} & set(context["capabilities"].get("add", ()))
    assert not [volume for volume in template["spec"].get("volumes", ()) if "hostPath" in volume]
