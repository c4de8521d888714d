"""A plan becomes an image: real store, real containers, real commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bud import cli
from bud.errors import DockerfileError, StepFailed
from bud.request import SecretSource
from buildlib.errors import RunError

if TYPE_CHECKING:
    from .conftest import Builder

pytestmark = pytest.mark.root

BASE = "localhost/busybox:latest"


def test_each_step_that_may_change_files_is_a_layer(bud: Builder) -> None:
    bud.file("a.txt", "a")
    image = bud('FROM BASE\nENV A=b\nWORKDIR /w\nCOPY a.txt .\nRUN cat a.txt > c\nCMD ["x"]\n')
    assert len(image.layers) == 1 + 3
    assert bud.read(image, "/w/c") == "a"
    config = image.config.config
    assert (config.working_dir, config.cmd, "A=b" in config.env) == ("/w", ("x",), True)


def test_config_and_history_are_what_buildkit_writes(bud: Builder) -> None:
    bud.file("a", "a")
    image = bud(
        "FROM BASE\nMAINTAINER me\nARG V=1\nENV E=$V F=g\nLABEL l=m\nWORKDIR /w\nCOPY a /b\nRUN true\nEXPOSE 80\n"
        'VOLUME /v\nUSER app\nSTOPSIGNAL SIGINT\nSHELL ["/bin/sh", "-ec"]\nHEALTHCHECK --interval=30s CMD x\n'
        "ONBUILD RUN y\nCMD c\nENTRYPOINT e\n"
    )
    document = json.loads(image.config_blob)
    config = document["config"]
    assert document["author"] == "me"
    assert config["Env"][-2:] == ["E=1", "F=g"]
    assert config["Labels"] == {"l": "m"}
    assert config["WorkingDir"] == "/w"
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Volumes"] == {"/v": {}}
    assert config["User"] == "app"
    assert config["StopSignal"] == "SIGINT"
    assert config["Shell"] == ["/bin/sh", "-ec"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "x"], "Interval": 30_000_000_000}
    assert config["OnBuild"] == ["RUN y"]
    assert config["Cmd"] == ["/bin/sh", "-ec", "c"]
    assert config["ArgsEscaped"] is True
    assert config["Entrypoint"] == ["/bin/sh", "-ec", "e"]
    new = [entry for entry in document["history"] if entry.get("comment") == "buildkit.dockerfile.v0"]
    assert [(entry["created_by"], entry.get("empty_layer", False)) for entry in new] == [
        ("MAINTAINER me", True),
        ("ARG V=1", True),
        ("ENV E=1 F=g", True),
        ("LABEL l=m", True),
        ("WORKDIR /w", False),
        ("COPY a /b # buildkit", False),
        ("RUN |1 V=1 /bin/sh -c true # buildkit", False),
        ("EXPOSE [80/tcp]", True),
        ("VOLUME [/v]", True),
        ("USER app", True),
        ("STOPSIGNAL SIGINT", True),
        ("SHELL [/bin/sh -ec]", True),
        (
            "HEALTHCHECK {Test:[CMD-SHELL x] Interval:30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
            True,
        ),
        ('CMD ["/bin/sh" "-ec" "c"]', True),
        ('ENTRYPOINT ["/bin/sh" "-ec" "e"]', True),
    ]
    assert "container_config" not in document


def test_a_second_build_is_cached_and_gives_the_same_image(bud: Builder) -> None:
    bud.file("a", "a")
    text = "FROM BASE\nWORKDIR /w\nCOPY a /b\nRUN cat /proc/sys/kernel/random/uuid > /now\nCMD x\n"
    first = bud(text)
    assert bud.cached() == 0
    second = bud(text)
    assert bud.cached() == 3
    assert second.id == first.id
    third = bud(text, no_cache=True)
    assert bud.cached() == 0
    assert third.id != first.id


def test_a_changed_file_runs_only_what_depends_on_it(bud: Builder) -> None:
    bud.file("a", "a")
    bud.file("b", "b")
    text = "FROM BASE\nCOPY a /a\nRUN cat /a > /c\nCOPY b /b\nRUN cat /b > /d\n"
    bud(text)
    bud.file("b", "changed")
    image = bud(text)
    assert bud.cached() == 2
    assert bud.read(image, "/d") == "changed"


def test_an_argument_is_part_of_what_a_run_depends_on(bud: Builder) -> None:
    text = "FROM BASE\nARG V\nRUN echo $V > /v\n"
    assert bud.read(bud(text, plan={"build_args": {"V": "1"}}), "/v") == "1\n"
    assert bud.read(bud(text, plan={"build_args": {"V": "2"}}), "/v") == "2\n"
    bud(text, plan={"build_args": {"V": "1"}})
    assert bud.cached() == 1


def test_proxies_are_seen_and_decide_nothing(bud: Builder) -> None:
    text = 'FROM BASE\nRUN echo "$http_proxy" > /p\n'
    image = bud(text, proxy={"http_proxy": "one"})
    assert bud.read(image, "/p") == "one\n"
    assert bud(text, proxy={"http_proxy": "two"}).id == image.id
    assert "one" not in image.config_blob.decode()


def test_stages(bud: Builder) -> None:
    image = bud(
        "FROM BASE AS build\nARG V=1\nRUN echo built > /out && chown 1000:1000 /out\nFROM BASE AS unused\nRUN false\n"
        'FROM build AS more\nRUN echo "$V" >> /out\n'
        "FROM scratch\nCOPY --from=more /out /kept\nCOPY --from=build --chown=5:6 --chmod=640 /out /owned\n"
    )
    assert len(image.layers) == 2
    assert bud.read(image, "/kept") == "built\n1\n"
    assert image.config.config.working_dir == "/"
    with bud.store.from_image(BASE) as container:
        container.copy("/", dest="/x", from_=image)
        stat = container.run(["stat", "-c", "%u:%g:%a", "/x/kept", "/x/owned"], capture=True)
    assert stat.stdout == "1000:1000:644\n5:6:640\n"


def test_the_target_is_what_is_built(bud: Builder) -> None:
    text = "FROM BASE AS one\nRUN touch /1\nFROM one AS two\nRUN false\n"
    image = bud(text, plan={"target": "one"})
    assert len(image.layers) == 2


def test_triggers_run_in_the_image_built_on_it(bud: Builder) -> None:
    bud.file("a", "a")
    bud("FROM BASE\nONBUILD COPY a /from-trigger\nONBUILD RUN cat /from-trigger\n", names=("localhost/triggers",))
    image = bud("FROM localhost/triggers\nRUN cat /from-trigger > /own\n")
    assert bud.read(image, "/own") == "a"
    assert image.config.config.on_build == ()


def test_heredocs(bud: Builder) -> None:
    image = bud(
        'FROM BASE\nENV W=world\nRUN <<EOF\necho one > /one\necho "$W" > /two\nEOF\n'
        'RUN <<EOF cat > /three\n$W\nEOF\nRUN <<S\n#!/bin/busybox sh\necho "$0" > /four\nS\n'
        "COPY --chmod=750 <<A <<'B' /d/\nhi $W\nA\nhi $W\nB\n"
    )
    assert bud.read(image, "/one") == "one\n"
    assert bud.read(image, "/two") == "world\n"
    assert bud.read(image, "/three") == "world\n"
    assert bud.read(image, "/four") == "/dev/pipes/S\n"
    assert bud.read(image, "/d/A") == "hi world\n"
    assert bud.read(image, "/d/B") == "hi $W\n"
    assert not [change for change in image.diff() if "pipes" in str(change)]


def test_mounts(bud: Builder) -> None:
    bud.file("in/file", "from the context")
    image = bud(
        "FROM BASE AS s\nRUN echo stage > /f\nFROM BASE\nWORKDIR /w\n"
        "RUN --mount=source=in,target=c --mount=from=s,source=/f,target=/f,rw --mount=type=tmpfs,target=/t "
        "--mount=type=cache,target=/cache cat c/file /f > /out; echo x > /f; echo y > /cache/kept; echo z > /t/gone\n"
        "RUN --mount=type=cache,target=/cache cat /cache/kept > /out2\n"
    )
    assert bud.read(image, "/out") == "from the contextstage\n"
    assert bud.read(image, "/out2") == "y\n"
    names = {change.path for change in image.diff(bud.store.image(BASE))}
    assert not {"/f", "/t", "/cache", "/w/c"} & names


def test_what_is_ignored_is_in_no_copy_and_no_mount(bud: Builder) -> None:
    bud.file("keep", "k")
    bud.file("secret", "s")
    bud.file(".dockerignore", "secret\n")
    image = bud("FROM BASE\nCOPY . /c\nRUN --mount=target=/m ls -A /m > /listed\n")
    assert bud.read(image, "/listed").split() == [".dockerignore", "keep"]
    assert "/c/secret" not in {change.path for change in image.diff(bud.store.image(BASE))}
    with pytest.raises(DockerfileError, match="secret") as caught:
        bud("FROM BASE\nCOPY secret /\n")
    assert caught.value.line == 2
    assert "line 1 of .dockerignore" in f"{caught.value} {caught.value.hint}"


def test_a_mount_can_not_leave_the_context(bud: Builder) -> None:
    (bud.context / "out").symlink_to("/etc")
    with pytest.raises(DockerfileError, match="/out") as caught:
        bud("FROM BASE\nRUN --mount=source=out,target=/m ls /m\n")
    assert caught.value.line == 2
    bud.file("etc/mine", "x")
    image = bud("FROM BASE\nRUN --mount=source=out,target=/m ls /m > /listed\n")
    assert bud.read(image, "/listed") == "mine\n"


def test_secrets_are_seen_and_not_kept(bud: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("hidden")
    monkeypatch.setenv("TOKEN", "token")
    secrets = {"a": SecretSource("file", str(tmp_path / "secret")), "b": SecretSource("env", "TOKEN")}
    image = bud(
        "FROM BASE\nRUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B "
        'test "$(cat /run/secrets/a | rev) $(echo $B | rev)" = "neddih nekot" && touch /seen\n',
        secrets=secrets,
    )
    assert bud.read(image, "/seen") == ""
    assert not {"/run/secrets", "/run"} & {change.path for change in image.diff(bud.store.image(BASE))}
    assert "hidden" not in image.config_blob.decode()
    with pytest.raises(DockerfileError, match="secret 'c' is missing"):
        bud("FROM BASE\nRUN --mount=type=secret,id=c,required true\n")


def test_a_failed_run_tells_all_and_keeps_its_container(bud: Builder) -> None:
    with pytest.raises(StepFailed) as caught:
        bud("FROM BASE\nRUN true\nRUN echo making; touch /half; \\\n  echo broken >&2; exit 7\n")
    error = caught.value
    assert isinstance(error, RunError)
    assert (error.exit_code, error.file, error.line) == (7, "Dockerfile", 3)
    assert error.instruction.startswith("RUN echo making")
    assert str(error).startswith("Dockerfile:3: ")
    assert error.output is not None
    assert error.output.splitlines()[-2:] == ["making", "broken"]
    container = error.container
    assert container is not None
    assert container.name in (error.hint or "")
    assert bud.store.container(container.name).read_file("/half") == b""
    assert [kept.name for kept in bud.store.containers()] == [container.name]
    container.remove()
    with pytest.raises(StepFailed):
        bud("FROM BASE\nRUN exit 1\n", on_error="fail")
    assert bud.store.containers() == []


def test_no_container_is_left_by_a_build_that_went_well(bud: Builder) -> None:
    bud("FROM BASE AS a\nRUN true\nFROM a\nRUN true\nFROM scratch\nCOPY --from=0 /bin /bin\nCOPY --from=1 /bin /bin\n")
    assert bud.store.containers() == []


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM BASE\nRUN true\nCOPY missing /x\n", "missing", 3),
        ("FROM BASE\nCOPY --chown=nobodyatall a /x\n", "nobodyatall", 2),
        ("FROM BASE\nCOPY --from=localhost/nope / /\n", "nope", 2),
        ("FROM BASE\nRUN --security=insecure true\n", "--security=insecure is not allowed", 2),
        ("FROM BASE\nRUN --device=/dev/null true\n", "the device /dev/null is not allowed", 2),
        ("FROM BASE\nRUN --mount=type=ssh,required true\n", "the SSH agent 'default' is missing", 2),
        ("FROM BASE\nADD http://127.0.0.1:1/x /y\n", "http://127.0.0.1:1/x", 2),
        ("FROM BASE\nADD git@-oProxyCommand=x:y /y\n", "is no URL of a git repository", 2),
        ("FROM BASE\nCOPY --link --chown=app a /y\n", "with --link nobody knows who app is", 2),
    ],
)
def test_a_step_that_can_not_be_done_says_where_it_stands(bud: Builder, text: str, message: str, line: int) -> None:
    bud.file("a", "a")
    with pytest.raises(DockerfileError) as caught:
        bud(text)
    assert message in str(caught.value)
    assert caught.value.line == line
    assert bud.store.containers() == []


def test_without_layers_a_stage_makes_one(bud: Builder) -> None:
    bud.file("a", "a")
    text = "FROM BASE\nWORKDIR /w\nCOPY a .\nRUN cat a > b\nCMD x\n"
    image = bud(text, layers=False)
    assert len(image.layers) == 2
    assert bud.read(image, "/w/b") == "a"
    assert [entry.created_by for entry in image.history[-4:]] == [
        "WORKDIR /w",
        "COPY a . # buildkit",
        "RUN /bin/sh -c cat a > b # buildkit",
        'CMD ["/bin/sh" "-c" "x"]',
    ]
    assert sum(not entry.empty_layer for entry in image.history) == 2
    bud(text, layers=False)
    assert bud.cached() == 0


def test_names_labels_and_the_rest_of_the_commit(bud: Builder) -> None:
    image = bud(
        "FROM BASE\nRUN touch /a\n",
        names=("one", "example.com/two:3"),
        labels={"k": "v"},
        env=(("E", "1"),),
        annotations={"a": "b"},
        timestamp=12345,
    )
    assert image.names == ("example.com/two:3", "localhost/one:latest")
    assert image.config.config.labels == {"k": "v"}
    assert "E=1" in image.config.config.env
    assert image.manifest.annotations["a"] == "b"
    assert image.created == 12345


def test_a_fixed_time_gives_the_same_image_however_often_it_is_built(bud: Builder) -> None:
    text = "FROM BASE\nWORKDIR /w\nRUN echo x > y\n"
    first = bud(text, source_date_epoch=1000, rewrite_timestamp=True)
    second = bud(text, source_date_epoch=1000, rewrite_timestamp=True, no_cache=True)
    assert first.id == second.id
    assert first.created == 1000


def test_progress_is_told(bud: Builder) -> None:
    bud("FROM BASE AS s\nRUN echo hello\nFROM s\nRUN echo again\n")
    told = bud.out.getvalue()
    assert "[s 2/2] RUN echo hello\n" in told
    assert " hello\n" in told
    assert "[stage-1 1/1] RUN echo again\n" in told
    assert "naming" not in told


def test_a_build_argument_that_nobody_wants_is_warned_of(bud: Builder) -> None:
    bud("FROM BASE\n", plan={"build_args": {"X": "1"}})
    assert "[Warning] one or more build args were not consumed: [X]\n" in bud.out.getvalue()


def test_the_command_prints_the_id_or_writes_it(
    bud: Builder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bud.file("Dockerfile", f"FROM {BASE}\nRUN echo told\n")
    root = f"--root={bud.store.root}"
    assert cli.main([root, "-t", "site", str(bud.context)]) == 0
    output = capsys.readouterr()
    image = bud.store.image("localhost/site")
    assert output.out == f"{image.id}\n"
    assert "[2/2] RUN echo told" in output.err
    assert cli.main([root, "-q", f"--iidfile={tmp_path}/id", str(bud.context)]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "id").read_text() == f"sha256:{image.id}"


def test_the_command_ends_with_the_exit_code_of_a_failed_run(bud: Builder, capfd: pytest.CaptureFixture[str]) -> None:
    bud.file("Dockerfile", f"FROM {BASE}\nRUN echo why >&2; exit 42\n")
    assert cli.main([f"--root={bud.store.root}", "-q", "--force-rm", str(bud.context)]) == 42
    output = capfd.readouterr()
    assert output.out == ""
    said, _, log = output.err.partition("all that it printed: ")
    assert said == (
        "Error: Dockerfile:2: 'echo why >&2; exit 42' ended with exit code 42\nthe last lines it printed:\n    why\n"
    )
    assert Path(log.strip()).read_text() == "why\n"
    assert bud.store.containers() == []
