"""The command line: flags become a request, errors become text and exit codes."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from bud import arguments, cli
from bud.request import SecretSource
from buildlib.cli.flags import parse
from buildlib.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from bud.request import Request


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a context with a Dockerfile; no variable of the outside has an effect."""
    for name in (
        "SOURCE_DATE_EPOCH",
        "BUILDAH_LAYERS",
        "BUILDAH_FORMAT",
        "http_proxy",
        "HTTP_PROXY",
        "no_proxy",
        "SSH_AUTH_SOCK",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def request_of(*words: str) -> Request:
    args = parse(cli.VERB, words, os.environ)
    arguments.check(args)
    return arguments.request_of(args)


def test_without_flags_the_folder_here_is_built(context: Path) -> None:
    request = request_of()
    assert request.context == "."
    assert request.dockerfile.source.name == "Dockerfile"
    assert (request.layers, request.no_cache, request.pull, request.format) == (True, False, "missing", "oci")
    assert (request.names, request.platform, request.on_error, request.jobs) == ((), None, "keep", 0)


def test_a_containerfile_goes_before_a_dockerfile(context: Path) -> None:
    (context / "Containerfile").write_text("FROM other\n")
    assert request_of().dockerfile.stages[0].start.base == "other"


def test_a_file_is_looked_for_here_and_then_in_the_context(context: Path) -> None:
    (context / "sub").mkdir()
    (context / "sub" / "My.Dockerfile").write_text("FROM inner\n")
    assert request_of("-f", "My.Dockerfile", "sub").dockerfile.stages[0].start.base == "inner"
    (context / "My.Dockerfile").write_text("FROM outer\n")
    assert request_of("-f", "My.Dockerfile", "sub").dockerfile.stages[0].start.base == "outer"


def test_a_dockerfile_may_come_from_stdin(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"FROM piped\n")

    monkeypatch.setattr("sys.stdin", Stdin)
    request = request_of("-f", "-", ".")
    assert request.dockerfile.stages[0].start.base == "piped"
    assert request.dockerfile.source.name == "stdin"


def test_build_arguments(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "from here")
    monkeypatch.setenv("https_proxy", "http://p")
    (context / "args").write_text("# comment\n\nF=1\nA=file\n")
    words = ("--build-arg", "A=b=c", "--build-arg", "TAKEN", "--build-arg", "GONE", "--build-arg", "NO_PROXY=x")
    request = request_of("--build-arg-file=args", *words)
    assert request.plan.build_args == {"F": "1", "A": "b=c", "TAKEN": "from here", "NO_PROXY": "x"}
    assert request.proxy["https_proxy"] == "http://p"
    assert request.proxy["NO_PROXY"] == "x"
    assert "https_proxy" not in request_of("--http-proxy=false").proxy


def test_switches_take_a_value_only_after_an_equals_sign(context: Path) -> None:
    request = request_of("--layers=false", "--no-cache", "--squash", "--pull", ".")
    assert (request.layers, request.no_cache, request.squash, request.pull) == (False, True, True, "always")
    assert request_of("--pull=never").pull == "never"
    assert request_of("--pull-always").pull == "always"


def test_times(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert request_of("--timestamp=0").timestamp == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "123")
    request = request_of()
    assert (request.source_date_epoch, request.timestamp) == (123, None)
    assert request.plan.build_args == {"SOURCE_DATE_EPOCH": "123"}
    assert request_of("--source-date-epoch=5").source_date_epoch == 5
    assert request_of("--timestamp=7").source_date_epoch is None
    with pytest.raises(UsageError, match="may not be used together"):
        request_of("--timestamp=7", "--source-date-epoch=5")


def test_names_labels_annotations_and_variables(context: Path) -> None:
    request = request_of("-t", "a", "-t", "b:1", "--label", "x=y=z", "--label", "w", "--annotation=k=v", "--env", "E=1")
    assert request.names == ("a", "b:1")
    assert request.labels == {"x": "y=z", "w": ""}
    assert (request.annotations, request.env) == ({"k": "v"}, (("E", "1"),))


def test_secrets(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    (context / "file").write_text("s")
    words = ("id=a,src=file", "id=b,env=TOKEN", "id=TOKEN", "type=file,id=c,source=file", "id=file")
    request = request_of(*(f"--secret={word}" for word in words))
    path = str(context / "file")
    assert request.secrets == {
        "a": SecretSource("file", path),
        "b": SecretSource("env", "TOKEN"),
        "TOKEN": SecretSource("env", "TOKEN"),
        "c": SecretSource("file", path),
        "file": SecretSource("file", path),
    }


def test_the_platform(context: Path) -> None:
    request = request_of("--platform=linux/arm64")
    assert str(request.platform) == "linux/arm64"
    assert request.plan.platform == "linux/arm64"


BAD = [
    (["--nope"], "unknown flag: --nope"),
    (["--format=v2"], "--format can't be 'v2'"),
    (["--pull=sometimes"], "unknown pull policy"),
    (["missing"], "the context missing is not there"),
    (["Dockerfile"], "the context Dockerfile is not a folder"),
    (["-f", "missing"], "No such file"),
    (["--secret", "src=x"], "--secret src=x can't be read"),
    (["--secret", "id=x,src=missing"], "is to be read from missing, which is not there"),
    (["--build-arg", "=x"], "has no name"),
    (["--label", "=x"], "--label has no name"),
    (["--build-context", "a=missing"], "the build context missing is no folder"),
    (["--build-context", "a=s3://b"], "the build context s3://b can't be read"),
    (["--build-context", "=b"], "--build-context has no name"),
    (["--build-context", "a="], "--build-context a= can't be read"),
    (["--on-error=shell"], "--on-error=shell needs a terminal"),
    (["--on-error=panic"], "--on-error can't be 'panic'"),
    (["--jobs=-1"], "--jobs -1 is no number"),
    (["--allow=everything"], "--allow everything is not known"),
    (["--ssh=default"], "there is no SSH agent"),
    (["--ssh=default=missing"], "--ssh default=missing: No such file"),
    (["-f", "-", "-"], "can't both come from standard input"),
    (["a", "b"], "too many arguments"),
    (["--target=nope"], "there is no stage nope"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_wrong_usage_is_one_line_and_exit_code_125(
    context: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([f"--root={context}/store", *words]) == 125
    output = capsys.readouterr()
    assert output.err.startswith("Error: ")
    assert message in output.err
    assert output.out == ""


def test_an_error_in_the_dockerfile_is_shown_with_its_line_and_a_hint(
    context: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRNU x\n")
    assert cli.main([]) == 125
    assert capsys.readouterr().err == (
        "Error: Dockerfile:2: unknown instruction RNU\n    2 | RNU x\n      | ^\n        expected an instruction\n"
        "hint: did you mean RUN?\n"
    )


def test_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("Build an image from a Dockerfile\n")
    assert "--build-arg NAME[=VALUE]" in output


def test_a_context_without_a_dockerfile_says_so(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "Dockerfile").unlink()
    assert cli.main([]) == 125
    assert "there is no Dockerfile in ." in capsys.readouterr().err
