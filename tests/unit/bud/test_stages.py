"""Stages, their names, and what they need of each other."""

from __future__ import annotations

import pytest

from bud.errors import DockerfileError
from bud.plan import Options, make_plan
from bud.stages import find_target, read_dockerfile
from bud.steps import BaseConfig, Origin
from buildlib.errors import NotFound


def plan_of(text: str, **options: object) -> list[tuple[int, str, str]]:
    """(number, label, base) of the stages that are built."""
    plan = make_plan(read_dockerfile(text), Options(**options), lambda origin, platform: BaseConfig())  # type: ignore[arg-type]
    return [(stage.number, stage.label, str(stage.base)) for stage in plan.stages]


def error_of(text: str, **options: object) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        plan_of(text, **options)
    return caught.value


def test_only_what_the_target_needs_is_built() -> None:
    text = "FROM a AS one\nFROM b AS two\nFROM one AS three\nFROM c\nCOPY --from=three / /\n"
    assert plan_of(text) == [(0, "one", "image a"), (2, "three", "stage 0 (one)"), (3, "stage-3", "image c")]
    assert plan_of(text, target="two") == [(1, "two", "image b")]
    assert plan_of(text, target="THREE") == [(0, "one", "image a"), (2, "three", "stage 0 (one)")]
    assert plan_of(text, target="1") == [(1, "two", "image b")]


def test_the_configs_of_other_bases_are_not_asked_for() -> None:
    asked: list[tuple[Origin, str]] = []

    def config_of(origin: Origin, platform: str) -> BaseConfig:
        asked.append((origin, platform))
        return BaseConfig()

    text = "FROM a AS one\nFROM b AS two\nFROM --platform=linux/arm64 c\nCOPY --from=one / /\nFROM scratch AS four\n"
    make_plan(read_dockerfile(text), Options(target="2"), config_of)
    assert asked == [(Origin("image", "a"), ""), (Origin("image", "c"), "linux/arm64")]


def test_a_mount_needs_its_stage_too() -> None:
    text = "FROM a AS one\nFROM b\nRUN --mount=from=one,target=/x y\n"
    assert [number for number, *_ in plan_of(text)] == [0, 1]


def test_a_mount_knows_stages_by_name_only() -> None:
    assert [number for number, *_ in plan_of("FROM a\nFROM b\nRUN --mount=from=0,target=/x y\n")] == [1]


def test_the_case_of_a_stage_counts_in_from_and_nowhere_else() -> None:
    text = "FROM a AS Build\nFROM Build\nCOPY --from=BUILD / /\n"
    assert plan_of(text) == [(0, "build", "image a"), (1, "stage-1", "image Build")]
    assert plan_of("FROM a AS Build\nFROM build\n")[1][2] == "stage 0 (build)"


def test_of_two_stages_with_one_name_the_last_counts_for_a_copy_and_the_nearest_before_for_from() -> None:
    text = "FROM a AS x\nFROM b AS x\nFROM x\nCOPY --from=x / /\n"
    assert plan_of(text) == [(1, "x", "image b"), (2, "stage-2", "stage 1 (x)")]
    assert plan_of("FROM a AS x\nFROM x AS x\nFROM x\n")[1:] == [(1, "x", "stage 0 (x)"), (2, "stage-2", "stage 1 (x)")]


def test_a_stage_by_number() -> None:
    assert [number for number, *_ in plan_of("FROM a\nFROM b\nFROM c\nCOPY --from=1 / /\n")] == [1, 2]


def test_an_additional_context_goes_before_stage_and_image() -> None:
    text = "FROM a AS one\nRUN x\nFROM b\nCOPY --from=one / /\nCOPY --from=img / /\n"
    plan = make_plan(
        read_dockerfile(text),
        Options(contexts={"one": "/1", "img": "/2", "b": "/3"}),
        lambda origin, platform: BaseConfig(),
    )
    assert [(stage.number, str(stage.base)) for stage in plan.stages] == [(1, "named b")]
    assert [str(step.origin) for step in plan.stages[0].steps[1:]] == ["named one", "named img"]  # type: ignore[union-attr]


def test_an_additional_context_replaces_the_stage_of_its_name() -> None:
    text = "FROM a AS one\nRUN x\nFROM one\nRUN y\n"
    plan = make_plan(read_dockerfile(text), Options(contexts={"one": "/1"}), lambda origin, platform: BaseConfig())
    assert [(stage.number, stage.base) for stage in plan.stages] == [(1, Origin("named", "one"))]
    plan = make_plan(
        read_dockerfile(text), Options(contexts={"one": "/1"}, target="one"), lambda origin, platform: BaseConfig()
    )
    assert "run" not in plan.describe()
    assert plan.stages[0].base == Origin("named", "one")


def contexts_of(text: str, **contexts: str) -> list[tuple[int, str]]:
    plan = make_plan(read_dockerfile(text), Options(contexts=contexts), lambda origin, platform: BaseConfig())
    return [(stage.number, str(stage.base)) for stage in plan.stages]


def test_an_additional_context_can_be_a_stage() -> None:
    text = "FROM a AS one\nRUN x\nFROM b AS two\nRUN y\nFROM one\nCOPY --from=img / /\nFROM c AS late\n"
    assert contexts_of(text + "FROM one\n", one="target:two") == [(1, "image b"), (4, "stage 1 (two)")]
    assert contexts_of("FROM one\nFROM c AS late\nRUN x\nFROM one\nCOPY --from=late / /\n", one="target:late") == [
        (1, "image c"),
        (2, "stage 1 (late)"),
    ]
    with pytest.raises(DockerfileError, match="there is no stage nope"):
        contexts_of(text, one="target:nope")
    with pytest.raises(DockerfileError, match="in a circle"):
        contexts_of("FROM a AS one\nFROM x AS two\n", a="target:two", x="target:one")


def test_an_additional_context_for_a_platform_goes_first() -> None:
    names = {"a": "/1", "a::linux/amd64": "/2"}
    assert contexts_of("FROM --platform=linux/arm64 a\n", **names) == [(0, "named a")]
    assert contexts_of("FROM a:latest\n", **names) == [(0, "named a::linux/amd64")]
    assert contexts_of("FROM docker.io/library/a\n", **names) == [(0, "named a::linux/amd64")]


def test_the_base_of_the_first_stage_can_be_replaced() -> None:
    assert plan_of("FROM a\n", base="b") == [(0, "stage-0", "image b")]


BAD = [
    ("RUN x\nFROM a\n", "RUN stands before the first FROM", 1),
    ("ARG x\n", "there is no FROM", None),
    ("FROM a\nCOPY --from=1 / /\n", "there is no stage number 1", 2),
    ("FROM a\nCOPY --from=-1 / /\n", "there is no stage number -1", 2),
    ("FROM a\nCOPY --from=b / /\nFROM c AS b\n", "", None),
    ("FROM a AS a\nCOPY --from=a / /\n", "in a circle: a → a", 1),
    ("FROM x AS a\nCOPY --from=b / /\nFROM a AS b\n", "in a circle", 1),
    ("FROM $X\n", "the base image $X is empty", 1),
    ("FROM --platform=$X a\n", "the platform $X is empty", 1),
    ("FROM --platform=a/b/c/d a\n", "a/b/c/d is no platform", 1),
    ("FROM ${X\n", "missing '}'", 1),
    ("FROM a\nRUN --mount=from=$x,target=/a b\n", "from can't hold variables", 2),
]


@pytest.mark.parametrize(("text", "message", "line"), [row for row in BAD if row[1]])
def test_what_can_not_be_built_is_explained(text: str, message: str, line: int | None) -> None:
    error = error_of(text)
    assert message in str(error)
    assert error.line == line


def test_a_stage_that_comes_later_can_not_be_copied_from() -> None:
    error = error_of("FROM a\nCOPY --from=b / /\nFROM c AS b\n", target="0")
    assert (error.line, str(error), error.hint) == (2, "Dockerfile:2: the stage b comes later than this", "move it up")


def test_an_unknown_target_names_a_near_one() -> None:
    dockerfile = read_dockerfile("FROM a AS builder\nFROM b AS final\n")
    with pytest.raises(DockerfileError, match="there is no stage buidler") as caught:
        find_target(dockerfile, "buidler")
    assert caught.value.hint == "did you mean builder?"
    with pytest.raises(DockerfileError) as caught:
        find_target(dockerfile, "7")
    assert caught.value.hint == "the stages are builder, final"


def test_triggers_of_an_image_run_first_and_may_need_stages() -> None:
    text = "FROM a AS tools\nFROM base\nRUN own\n"
    triggers = ("RUN first", "COPY --from=tools /x /y")
    dockerfile = read_dockerfile(text)
    plan = make_plan(
        dockerfile, Options(), lambda origin, _: BaseConfig(on_build=triggers if origin.name == "base" else ())
    )
    assert [stage.number for stage in plan.stages] == [0, 1]
    steps = [step.title for step in plan.stages[1].steps if hasattr(step, "title")]
    assert steps == ["RUN first", "COPY --from=tools /x /y", "RUN own"]
    assert ("on_build", None) in plan.stages[1].steps[0].changes  # type: ignore[union-attr]


def test_triggers_of_a_stage_run_in_the_stage_built_on_it_and_only_there() -> None:
    text = "FROM a AS one\nONBUILD RUN t\nFROM one AS two\nRUN own\nFROM two\nRUN last\n"
    plan = make_plan(read_dockerfile(text), Options(), lambda origin, _: BaseConfig())
    titles = [[step.title for step in stage.steps if hasattr(step, "title")] for stage in plan.stages]
    assert titles == [[], ["RUN t", "RUN own"], ["RUN last"]]


@pytest.mark.parametrize("trigger", ["FROM x", "RUN a\nRUN b", "NOPE", ""])
def test_a_bad_trigger_is_an_error_of_the_stage(trigger: str) -> None:
    with pytest.raises(DockerfileError):
        make_plan(read_dockerfile("FROM a\n"), Options(), lambda origin, _: BaseConfig(on_build=(trigger,)))


def test_thousands_of_stages_are_no_problem() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(2000))
    assert len(plan_of(text)) == 2001


def test_an_unknown_base_is_an_error_of_its_line_and_names_a_near_stage() -> None:
    def config_of(origin: Origin, platform: str) -> BaseConfig:
        if origin.name == "biulder":
            raise NotFound("there is no image biulder", kind="image", name="biulder")
        return BaseConfig()

    with pytest.raises(DockerfileError, match="there is no image biulder") as caught:
        make_plan(read_dockerfile("FROM a AS builder\nFROM biulder\n"), Options(), config_of)
    assert (caught.value.line, caught.value.column, caught.value.hint) == (2, 6, "did you mean builder?")
