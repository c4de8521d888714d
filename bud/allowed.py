"""What a plan may ask of this machine: checked before anything is done."""

from __future__ import annotations

from bud.request import DEVICE, INSECURE
from bud.steps import RunStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bud.request import Request
    from bud.steps import Plan, StagePlan


def check(plan: Plan, request: Request, platform_of: Callable[[StagePlan], str]) -> None:
    """Raise :class:`bud.errors.DockerfileError` for a RUN that is not allowed or can't be executed here.

    ``platform_of`` tells for what the programs are in a stage that is not built on another one.
    """
    platforms: dict[int, str] = {}
    for stage in plan.stages:
        runs = [step for step in stage.steps if isinstance(step, RunStep)]
        if stage.base.kind == "stage":
            platforms[stage.number] = platforms[stage.base.stage]
        else:
            platforms[stage.number] = platform_of(stage)
        for run in runs:
            _rights(run, request.allow)
        if runs:
            _programs(runs[0], platforms[stage.number])


def _rights(run: RunStep, allow: frozenset[str]) -> None:
    if run.security == "insecure" and INSECURE not in allow:
        offset = _flag(run, "--security")
        raise run.at.error("--security=insecure is not allowed", offset, hint=f"allow it: --allow {INSECURE}")
    for index, device in enumerate(run.devices):
        name = device.partition(",")[0]
        if not {DEVICE, f"{DEVICE}={name}"} & allow:
            hint = f"allow it: --allow {DEVICE}={name}"
            raise run.at.error(f"the device {name} is not allowed", _flag(run, "--device", index), hint=hint)


def _flag(run: RunStep, name: str, index: int = 0) -> int:
    offsets = [flag.offset for flag in run.at.flags if flag.text.partition("=")[0] == name]
    return offsets[index] if index < len(offsets) else 0


def _programs(run: RunStep, text: str) -> None:
    from buildlib import Platform, can_run

    platform = Platform.parse(text)
    if not can_run(platform):
        hint = "install qemu-user-static and binfmt-support, or build it where it runs"
        raise run.at.error(f"this machine can't execute programs for {platform}", 0, hint=hint)
