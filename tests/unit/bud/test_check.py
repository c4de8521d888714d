"""`bud check` and what a build says of its Dockerfile; where the output of a step that failed is kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bud import cli

if TYPE_CHECKING:
    from buildlib import Image, Store

BAD = "FROM scratch as base\nWORKDIR a\n"
GOOD = "FROM scratch AS base\nWORKDIR /a\n"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BUILDLIB_PROGRESS", "BUILDAH_FORMAT", "SOURCE_DATE_EPOCH", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILDLIB_ROOT", str(tmp_path / "store"))
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(BAD)
    return folder


def test_check_shows_each_finding_and_exits_with_1(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(context)]) == 1
    text = capsys.readouterr().out
    assert (
        "WARNING: FromAsCasing: 'as' and 'FROM' keywords' casing do not match\nDockerfile:1\n    1 | FROM scratch as"
        in text
    )
    assert text.endswith("Check complete, 2 warnings found.\n")


def test_check_exits_with_0_when_there_is_nothing(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Other").write_text(GOOD)
    assert cli.main(["--check", "-f", "Other", str(context)]) == 0
    assert capsys.readouterr().out == "Check complete, no warnings found.\n"


def test_check_says_of_which_base_it_knows_nothing(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("FROM localhost/nowhere\nCOPY $what /\n")
    assert cli.main(["check", str(context)]) == 0
    assert capsys.readouterr().out.endswith("found.\nnot here, so what it sets is not known: localhost/nowhere\n")


def test_check_as_json(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--format", "json", str(context)]) == 1
    names = [warning["ruleName"] for warning in json.loads(capsys.readouterr().out)["warnings"]]
    assert names == ["FromAsCasing", "WorkdirRelativePath"]
    assert cli.main(["check", "--format", "xml", str(context)]) == 125


@pytest.mark.root
def test_a_build_tells_its_warnings_in_one_line_each_at_the_end(
    context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--progress=plain", str(context)]) == 0
    told = capsys.readouterr().err
    assert told.endswith(
        "\n 2 warnings found (`bud check` says what to do):\n"
        " - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n"
        ' - WorkdirRelativePath: Relative workdir "a" can have unexpected results if the base image changes (line 2)\n'
    )
    assert cli.main(["-q", str(context)]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["--progress=rawjson", str(context)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["message"][:12] for event in events if event.get("level") == "warning"] == [
        "FromAsCasing",
        "WorkdirRelat",
    ]


def test_a_file_that_wants_errors_is_not_built(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").write_text("# check=skip=FromAsCasing;error=true\n" + BAD)
    assert cli.main(["--progress=plain", str(context)]) == 125
    told = capsys.readouterr().err
    assert "Dockerfile:3: lint violation found for rules: WorkdirRelativePath\n    3 | WORKDIR a" in told
    assert "#1" not in told


def test_the_environment_chooses_the_progress(
    context: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILDLIB_PROGRESS", "loud")
    assert cli.main([str(context)]) == 125
    assert "--progress can't be 'loud'" in capsys.readouterr().err


@pytest.mark.root
def test_the_error_of_a_step_names_the_file_with_all_its_output(
    context: Path,
    store: Store,
    busybox_image: Image,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BUILDLIB_ROOT", store.root)
    text = f"FROM {busybox_image.name}\nRUN for i in $(seq 1 5000); do echo line $i; done; exit 3\n"
    (context / "Dockerfile").write_text(text)
    assert cli.main(["--progress=plain", "--on-error=fail", str(context)]) == 3
    found = re.search("all that it printed: (.*)", capsys.readouterr().err)
    assert found is not None
    assert Path(found[1]).read_text().split("\n")[-2:] == ["line 5000", ""]
