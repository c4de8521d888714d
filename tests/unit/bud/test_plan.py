"""Variables, scopes, histories and steps come out as docker has them."""

from __future__ import annotations

from typing import Any

import pytest

from bud.errors import DockerfileError
from bud.plan import Options, make_plan
from bud.stages import read_dockerfile
from bud.steps import BaseConfig, ConfigStep, CopyStep, Plan, RunStep, Step, WorkdirStep

BASE = BaseConfig(env=("PATH=/bin", "BASE=image"))


def plan(text: str, base: BaseConfig = BASE, **options: Any) -> Plan:
    return make_plan(read_dockerfile(text), Options(**options), lambda origin, platform: base)


def steps(text: str, base: BaseConfig = BASE, **options: Any) -> list[Step]:
    """The steps of the target but those that only settle the base."""
    made = plan(text, base, **options)
    return [step for step in made.stage(made.target).steps if step.at is not None]


def histories(text: str, base: BaseConfig = BASE, **options: Any) -> list[str | None]:
    return [step.created_by for step in steps(text, base, **options)]


def run_of(text: str, base: BaseConfig = BASE, **options: Any) -> RunStep:
    return next(step for step in reversed(steps(text, base, **options)) if isinstance(step, RunStep))


def env_of(text: str, base: BaseConfig = BASE, **options: Any) -> dict[str, str]:
    """What the last RUN's environment has beyond the config's."""
    return dict(run_of(text, base, **options).env)


# (lines after FROM, history of each)
HISTORY: list[tuple[str, list[str | None]]] = [
    ("RUN ls", ["RUN /bin/sh -c ls # buildkit"]),
    ('RUN ["ls", "-l", "a b"]', ["RUN ls -l a b # buildkit"]),
    ("RUN a \\\n  b $X", ["RUN /bin/sh -c a   b $X # buildkit"]),
    ("ARG a=1\nARG b\nRUN x", ["ARG a=1", "ARG b", "RUN |2 a=1 b= /bin/sh -c x # buildkit"]),
    (
        "ARG foo=bar\nARG bar=123\nARG foo=bar2\nRUN ls /etc/",
        ["ARG foo=bar", "ARG bar=123", "ARG foo=bar2", "RUN |2 foo=bar2 bar=123 /bin/sh -c ls /etc/ # buildkit"],
    ),
    ("ARG a=1\nENV a=2\nRUN x", ["ARG a=1", "ENV a=2", "RUN |1 a=2 /bin/sh -c x # buildkit"]),
    ("ARG a=1 b=$a c", ["ARG a=1 b=1 c"]),
    ("RUN <<EOF\na\nb\nEOF", ["RUN /bin/sh -c a\nb\n # buildkit"]),
    ("RUN <<EOF cat\na\nEOF", ["RUN /bin/sh -c <<EOF cat\na\nEOF # buildkit"]),
    ("RUN <<EOF\n#!/bin/x\nEOF", ["RUN /bin/sh -c /dev/pipes/EOF # buildkit"]),
    ("COPY a b /c/", ["COPY a b /c/ # buildkit"]),
    ("ENV D=/d\nCOPY a $D/x", ["ENV D=/d", "COPY a /d/x # buildkit"]),
    (
        "COPY --from=img --chown=1:2 --chmod=0644 --link --parents --exclude=x a /c/",
        ["COPY --parents --chown=1:2 --chmod=0644 a /c/ # buildkit"],
    ),
    ("ADD a /b", ["ADD a /b # buildkit"]),
    ("COPY <<A b /c/\nx\nA", ["COPY b <<A /c/ # buildkit"]),
    ("WORKDIR /a", ["WORKDIR /a"]),
    ("WORKDIR a\nWORKDIR b/../c/", ["WORKDIR /a", "WORKDIR /a/c"]),
    ("WORKDIR /", ["WORKDIR /"]),
    ("ENV a=b c='d e'", ["ENV a=b c=d e"]),
    ("ENV a b c", ["ENV a=b c"]),
    ('LABEL "x y"=1 z="2"', ["LABEL x y=1 z=2"]),
    ("CMD a b", ['CMD ["/bin/sh" "-c" "a b"]']),
    ('CMD ["a", "b\\"c"]', ['CMD ["a" "b\\"c"]']),
    ("CMD []", ["CMD []"]),
    ("ENTRYPOINT a", ['ENTRYPOINT ["/bin/sh" "-c" "a"]']),
    ("ENTRYPOINT []", ["ENTRYPOINT []"]),
    ("EXPOSE 2375 1234/UDP", ["EXPOSE [1234/udp 2375/tcp]"]),
    ("VOLUME /a /b", ["VOLUME [/a /b]"]),
    ('SHELL ["/bin/bash", "-c"]', ["SHELL [/bin/bash -c]"]),
    (
        "HEALTHCHECK --interval=5m CMD x",
        ["HEALTHCHECK {Test:[CMD-SHELL x] Interval:5m0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"],
    ),
    (
        "HEALTHCHECK NONE",
        ["HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"],
    ),
    ("USER u", ["USER u"]),
    ("STOPSIGNAL SIGTERM", ["STOPSIGNAL SIGTERM"]),
    ("MAINTAINER $A <b>", ["MAINTAINER $A <b>"]),
    ("ONBUILD RUN x", [None]),
    ('SHELL ["s", "-x"]\nRUN y\nCMD z', ["SHELL [s -x]", "RUN s -x y # buildkit", 'CMD ["s" "-x" "z"]']),
]


@pytest.mark.parametrize(("text", "expected"), HISTORY)
def test_the_history_is_what_buildkit_writes(text: str, expected: list[str | None]) -> None:
    assert histories(f"FROM x\n{text}\n") == expected


# (lines after FROM, changes of the last)
CONFIG: list[tuple[str, tuple[tuple[str, Any], ...]]] = [
    ("ARG a=1", ()),
    ("ENV a=1\nENV a=2 b=$a", (("env", (("a", "2"), ("b", "1"))),)),
    ("LABEL a=b", (("labels", (("a", "b"),)),)),
    ("CMD x", (("cmd", ("/bin/sh", "-c", "x")), ("args_escaped", True))),
    ("CMD []", (("cmd", ()), ("args_escaped", True))),
    ('ENTRYPOINT ["x"]', (("entrypoint", ("x",)), ("cmd", None))),
    ("CMD a\nENTRYPOINT []", (("entrypoint", None),)),
    ("EXPOSE 80-81/udp", (("exposed_ports", ("80/udp", "81/udp")),)),
    ("ARG P='80 81'\nEXPOSE $P 22", (("exposed_ports", ("80/tcp", "81/tcp", "22/tcp")),)),
    ("WORKDIR /", (("working_dir", "/"),)),
    ("VOLUME a", (("volumes", ("a",)),)),
    ("USER 'a:b'", (("user", "a:b"),)),
    ("STOPSIGNAL term", (("stop_signal", "term"),)),
    ("ONBUILD ADD . /x", (("on_build", ("ADD . /x",)),)),
    ("MAINTAINER me", (("author", "me"),)),
]


@pytest.mark.parametrize(("text", "changes"), CONFIG)
def test_the_config_is_changed(text: str, changes: tuple[tuple[str, Any], ...]) -> None:
    last = steps(f"FROM x\n{text}\n")[-1]
    assert isinstance(last, ConfigStep)
    assert last.changes == changes


def test_a_cmd_inherited_from_a_stage_is_cleared_by_entrypoint() -> None:
    last = steps("FROM x AS a\nCMD y\nFROM a\nENTRYPOINT z\n")[-1]
    assert isinstance(last, ConfigStep)
    assert ("cmd", None) in last.changes


# --- scopes -------------------------------------------------------------------------------------------------------


def test_an_arg_after_an_env_wins_for_run_and_leaves_the_config_alone() -> None:
    assert env_of("FROM x\nENV A=env\nARG A=arg\nRUN y\n") == {"A": "arg"}
    assert env_of("FROM x\nARG BASE=arg\nRUN y\n") == {"BASE": "arg"}
    assert histories("FROM x\nENV A=env\nARG A=arg\nENV B=$A\n")[-1] == "ENV B=arg"


def test_an_env_after_an_arg_wins_back() -> None:
    assert env_of("FROM x\nARG A=arg\nENV A=env\nRUN y\n") == {}
    assert env_of("FROM x\nENV A=env\nARG A=arg\nENV A=again\nRUN y\n") == {}


def test_an_arg_without_any_value_leaves_an_env_alone() -> None:
    assert env_of("FROM x\nENV A=env\nARG A\nRUN y\n") == {}
    assert histories("FROM x\nENV A=env\nARG A\nENV B=$A\n")[-1] == "ENV B=env"


def test_a_build_argument_wins_over_the_default_which_is_then_not_even_looked_at() -> None:
    assert env_of("FROM x\nARG A=1\nRUN y\n", build_args={"A": "2"}) == {"A": "2"}
    assert env_of("FROM x\nARG A=${bad\nRUN y\n", build_args={"A": "2"}) == {"A": "2"}


def test_a_build_argument_that_is_not_declared_is_not_seen_but_warned_of() -> None:
    made = plan("FROM x\nRUN $A\n", build_args={"A": "2", "HTTP_PROXY": "p", "BUILDKIT_X": "1", "TARGETOS": "linux"})
    assert made.warnings == ("one or more build args were not consumed: [A]",)
    assert env_of("FROM x\nRUN y\n", build_args={"A": "2"}) == {}


def test_global_args_reach_a_stage_only_by_a_bare_arg() -> None:
    assert env_of("ARG V=1\nFROM x:$V\nRUN y\n") == {}
    assert env_of("ARG V=1\nFROM x:$V\nARG V\nRUN y\n") == {"V": "1"}
    assert env_of("ARG V=1\nFROM x:$V\nARG V=2\nRUN y\n") == {"V": "2"}
    assert env_of("ARG V=1\nARG W=$V-x\nFROM x\nARG W\nRUN y\n") == {"W": "1-x"}
    assert env_of("ARG V\nFROM x\nARG V\nRUN y\n") == {}
    assert plan("ARG V=1\nFROM x:$V\n", build_args={"V": "9"}).stages[0].base.name == "x:9"


def test_from_sees_no_variable_of_a_stage() -> None:
    text = "FROM x AS a\nARG V=1\nENV V=2\nFROM y$V\n"
    assert plan(text).stages[-1].base.name == "y"


def test_args_and_envs_flow_into_a_stage_that_is_built_on_another() -> None:
    text = "FROM x AS a\nENV E=e\nARG A=1\nARG E=arg\nFROM a\nRUN y\n"
    # The config's value is set anew, so that the ARG over it is gone.
    assert env_of(text) == {"A": "1"}
    assert histories(text)[-1] == "RUN |2 A=1 E=e /bin/sh -c y # buildkit"


def test_nothing_flows_through_a_copy() -> None:
    text = "FROM x AS a\nENV E=e\nARG A=1\nFROM x\nCOPY --from=a / /\nRUN $E\n"
    assert env_of(text) == {}
    assert histories(text)[-1] == "RUN /bin/sh -c $E # buildkit"


def test_the_platform_is_known_without_being_said() -> None:
    text = "FROM x-$TARGETARCH$TARGETVARIANT\n"
    assert plan(text, platform="linux/arm/v7").stages[0].base.name == "x-armv7"
    assert plan(text, platform="linux/arm64/v8").stages[0].base.name == "x-arm64"
    made = plan("FROM --platform=$BUILDPLATFORM x\n", platform="linux/arm64", build_platform="linux/amd64")
    assert made.stages[0].platform == "linux/amd64"
    assert env_of("FROM x\nARG TARGETPLATFORM\nRUN y\n", platform="linux/s390x") == {"TARGETPLATFORM": "linux/s390x"}
    assert env_of("FROM x\nRUN y\n") == {}
    assert env_of("FROM x\nARG TARGETOS\nRUN y\n", build_args={"TARGETOS": "plan9"}) == {"TARGETOS": "plan9"}


def test_the_target_stage_is_known() -> None:
    assert env_of("FROM x\nARG TARGETSTAGE\nRUN y\n") == {"TARGETSTAGE": "default"}
    assert env_of("FROM x AS a\nARG TARGETSTAGE\nRUN y\n") == {"TARGETSTAGE": "a"}
    assert env_of("FROM x AS a\nARG TARGETSTAGE\nRUN y\nFROM y\n", target="a") == {"TARGETSTAGE": "a"}


def test_sbom_args_never_are_in_the_environment() -> None:
    assert env_of("FROM x\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN y\n") == {}


# --- the base ---------------------------------------------------------------------------------------------------


def test_a_base_without_a_path_gets_one() -> None:
    first = plan("FROM x\n", BaseConfig(env=("A=b",))).stages[0].steps[0]
    assert isinstance(first, ConfigStep)
    assert first.changes[0][0] == "env"
    assert plan("FROM x\n", BaseConfig(env=("PATH=",))).stages[0].steps == ()


def test_scratch_starts_at_the_root() -> None:
    first = plan("FROM scratch\n").stages[0].steps[0]
    assert isinstance(first, ConfigStep)
    assert ("working_dir", "/") in first.changes


def test_working_directory_user_and_shell_of_the_base_count() -> None:
    base = BaseConfig(env=("PATH=/",), working_dir="srv", user="u", shell=("z", "-c"))
    made = steps("FROM x\nWORKDIR a\nCOPY b c\nRUN d\n", base)
    assert isinstance(made[0], WorkdirStep)
    assert (made[0].path, made[0].owner) == ("/srv/a", "u")
    assert isinstance(made[1], CopyStep)
    assert made[1].dest == "/srv/a/c"
    assert isinstance(made[2], RunStep)
    assert made[2].argv == ("z", "-c", "d")


# --- run and copy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "command", "script"),
    [
        ("RUN <<EOF\na\nEOF", "a\n", None),
        ("RUN <<-EOF\n\ta\n\tEOF", "a\n", None),
        ("RUN <<'EOF'\n$a\nEOF", "$a\n", None),
        ("RUN << EOF\na\nEOF", "a\n", None),
        ("RUN <<EOF python3\na\nEOF", "<<EOF python3\na\nEOF", None),
        ("RUN <<-EOF cat\n\ta\n\tEOF", "<<-EOF cat\n\ta\nEOF", None),
        ("RUN <<A cat; <<B cat\n1\nA\n2\nB", "<<A cat; <<B cat\n1\nA\n2\nB", None),
        ("RUN 3<<A cat <&3\n1\nA", "3<<A cat <&3\n1\nA", None),
        ("RUN <<EOF\n#!/usr/bin/env x\na\nEOF", "/dev/pipes/EOF", ("/dev/pipes/EOF", "#!/usr/bin/env x\na\n")),
        ("RUN <<-EOF\n\t#!/x\n\ta\nEOF", "/dev/pipes/EOF", ("/dev/pipes/EOF", "#!/x\na\n")),
    ],
)
def test_heredocs_of_run(text: str, command: str, script: tuple[str, str] | None) -> None:
    run = run_of(f"FROM x\n{text}\n")
    assert (run.command, run.script) == (command, script)


def test_heredocs_of_copy_are_expanded_unless_quoted() -> None:
    text = "FROM x\nENV V=v\nCOPY <<A <<'B' <<-C /d/\n$V \"$V\" \\$V \\\\ it's\nA\n$V\nB\n\t${V:+t}\nC\n"
    copy = steps(text)[-1]
    assert isinstance(copy, CopyStep)
    assert copy.contents == (("A", 'v "v" $V \\ it\'s\n'), ("B", "$V\n"), ("C", "t\n"))


@pytest.mark.parametrize(
    ("workdir", "dest", "absolute"),
    [
        ("/w", "a", "/w/a"),
        ("/w", "a/", "/w/a/"),
        ("/w", ".", "/w/"),
        ("/w", "./", "/w/"),
        ("/w", "..", "/"),
        ("/w", "../../x", "/x"),
        ("/w", "/a//b/", "/a/b/"),
        ("/w", "a/.", "/w/a/."),
        ("/w", "/", "/"),
        ("", "a", "/a"),
        ("/w", '""', "/w/"),
    ],
)
def test_destinations_are_absolute(workdir: str, dest: str, absolute: str) -> None:
    copy = steps(f"FROM x\nCOPY a {dest}\n", BaseConfig(env=("PATH=/",), working_dir=workdir))[-1]
    assert isinstance(copy, CopyStep)
    assert copy.dest == absolute


def test_mounts_are_expanded_and_settled() -> None:
    text = "FROM x AS a\nFROM x\nWORKDIR /w\nARG T=t\nRUN --mount=type=cache,target=$T --mount=from=a,target=/b,rw y\n"
    run = run_of(text)
    assert [(m.mount.type, m.mount.target, m.mount.id, str(m.origin)) for m in run.mounts] == [
        ("cache", "/w/t", "t", "scratch"),
        ("bind", "/b", "", "stage 0 (a)"),
    ]


def test_flags_of_run_come_through() -> None:
    run = run_of("FROM x\nRUN --network=none --security=insecure --device=a/b=c y\n")
    assert (run.network, run.security, run.devices) == ("none", "insecure", ("a/b=c",))


def test_a_title_has_its_variables_put_in() -> None:
    text = 'FROM x\nENV A=b\nCOPY --chown=1 $A /c\nrun  echo $A "$C" \\\n  && d\nRUN <<E\nfirst\nmore\nE\n'
    titles = [step.title for step in steps(text)[1:] if hasattr(step, "title")]
    assert titles == ["COPY --chown=1 b /c", 'RUN  echo b "$C"   && d', "RUN <<E (first...)"]


BAD = [
    ("ENV a=${b", "missing '}'", 2, 7),
    ("ENV a=x b='c", "no matching single quote", 2, 11),
    ('ENV "$X"=1', "is empty once it is expanded", 2, 5),
    ("LABEL a=${b:?why}", "b: why", 2, 9),
    ("EXPOSE 80 99999", "99999 is no port", 2, 11),
    ("EXPOSE 80/icmp", "unknown protocol icmp", 2, 8),
    ("VOLUME $X", "the path of a VOLUME is empty", 2, 8),
    ("STOPSIGNAL SIGNOPE", "SIGNOPE is no signal", 2, 12),
    ("RUN []", "RUN [] has no command", 2, 5),
    ("RUN --mount=type=cahce,target=/a x", "unknown type of mount: cahce", 2, 5),
    ("RUN --mount=target=/ x", "can't cover the root", 2, 5),
    ("COPY --chmod=99 a b", "--chmod=99 is no mode", 2, 6),
    ("COPY --chmod=17777 a b", "--chmod=17777 is no mode", 2, 6),
    ("COPY --chmod=u+q a b", "--chmod=u+q is no mode", 2, 6),
    ("COPY https://x/y b", "can't take the remote source", 2, 6),
    ("ADD --checksum=sha256:1 a b c", "--checksum is for exactly one source", 2, 5),
    ("ADD --checksum=sha256:1 a b", "--checksum is for a remote source", 2, 5),
    ("COPY <<A /b\nfine\n${x\nA", "in the heredoc A: unsupported modifier '\\n'", 4, None),
    ("ARG a=${b", "missing '}'", 2, 7),
]


@pytest.mark.parametrize(("text", "message", "line", "column"), BAD)
def test_a_mistake_in_a_value_is_pointed_at(text: str, message: str, line: int, column: int | None) -> None:
    with pytest.raises(DockerfileError) as caught:
        plan(f"FROM x\n{text}\n")
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_stage_that_is_not_needed_may_be_wrong() -> None:
    assert plan("FROM x\nENV a=${b\nFROM y\n").target == 1


def test_bytes_that_are_not_utf8_reach_the_command_and_not_the_config() -> None:
    made = make_plan(read_dockerfile(b"FROM x\nENV A=\xff\nRUN \xff\n"), Options(), lambda origin, _: BASE)
    env, run = made.stages[0].steps
    assert isinstance(env, ConfigStep)
    assert env.changes == (("env", (("A", "\N{REPLACEMENT CHARACTER}"),)),)
    assert isinstance(run, RunStep)
    assert run.command == "\udcff"
    assert dict(run.env) == {"A": "\udcff"}
    assert run.created_by == "RUN /bin/sh -c \N{REPLACEMENT CHARACTER} # buildkit"
