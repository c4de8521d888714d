"""Where a runtime's own steps stand among those of a plan."""

from __future__ import annotations

from attrs import evolve

from buildlib.oci.runtime import RuntimeSpec
from buildlib.sandbox.ops import cgroups, mounts, namespaces, process
from buildlib.sandbox.ops.console import Console
from buildlib.sandbox.plan import plan
from buildlib.sandbox.runtime import steps, verb_spec
from buildlib.sandbox.runtime.bundle import for_plan
from buildlib.sandbox.runtime.talk import Talk

SPEC = RuntimeSpec.from_dict(verb_spec.document())
TALK = Talk(-1, -1)
HOOK = ({"path": "/bin/true"},)
EXTRAS = steps.Extras(TALK, HOOK, HOOK, Console(9), start=8)


def kinds(extras: steps.Extras = EXTRAS) -> list[object]:
    """The ops' classes in order; a word in place of those that tell the runtime something."""
    ops = steps.arrange(plan(for_plan(SPEC), "/root"), extras)
    return [op.point if isinstance(op, steps.Tell | steps.Hooks) else type(op) for op in ops]


def in_order(*wanted: object) -> bool:
    found = kinds()
    places = [found.index(each) for each in wanted]
    return places == sorted(places)


def test_hooks_run_behind_the_mounts_and_before_the_pivot_and_at_the_very_end() -> None:
    assert in_order(mounts.MountNew, "mounted", "createContainer", mounts.PivotRoot, Console, process.Identity)
    assert in_order(process.Identity, steps.LookUp, steps.AwaitStart, "startContainer")


def test_the_control_group_is_joined_before_its_namespace_is_made_and_after_the_mounts_that_need_none() -> None:
    ops = list(steps.arrange(plan(for_plan(SPEC), "/root"), EXTRAS))
    unshared = [op.types for op in ops if isinstance(op, namespaces.Unshare)]
    assert "cgroup" not in unshared[0]
    assert unshared[1] == ("cgroup",)
    assert in_order(mounts.MountNew, "limited", cgroups.MountGroups)


def test_a_container_outlives_the_runtime_that_made_it() -> None:
    assert process.DieWithParent not in kinds()


def test_without_pivot_the_root_is_moved_instead() -> None:
    found = kinds(evolve(EXTRAS, pivot=False))
    assert steps.MoveRoot in found
    assert mounts.PivotRoot not in found


def test_a_process_that_joins_makes_no_mounts() -> None:
    ops = list(steps.join(plan(for_plan(SPEC), "/"), 7, 0, steps.Extras(TALK)))
    assert [type(op) for op in ops[:2]] == [steps.Tell, steps.Join]
    assert not [op for op in ops if isinstance(op, mounts.MountNew | mounts.PivotRoot | cgroups.MountGroups)]
