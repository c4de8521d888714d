"""A Dockerfile's stages and what they need of each other; no variable is expanded but in the FROM lines."""

from __future__ import annotations

from bud.errors import did_you_mean
from bud.grammar import parse_instruction
from bud.instructions import Arg, Copy, From, Onbuild, Run
from bud.mounts import MountError, mount_from
from bud.parser import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NamedTuple

    from bud.errors import DockerfileError
    from bud.instructions import Instruction
    from bud.lines import Source
else:
    from bud.value import NamedTuple


class Stage(NamedTuple):
    """A FROM and what follows it."""

    number: int
    start: From
    instructions: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """Its name, or ``stage-N``."""
        return self.start.name or f"stage-{self.number}"


class Dockerfile(NamedTuple):
    """A whole file, read."""

    source: Source
    args: tuple[Arg, ...]
    """The ARGs before the first FROM."""
    stages: tuple[Stage, ...]


class Need(NamedTuple):
    """That a stage takes files from elsewhere: an earlier stage by its number, or an image or context by its name."""

    by: Instruction
    stage: int | None
    name: str


def read_dockerfile(data: bytes | str, name: str = "Dockerfile") -> Dockerfile:
    """Read and check a Dockerfile. Raises :class:`bud.errors.DockerfileError`."""
    source, statements = parse(data, name)
    args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for statement in statements:
        instruction = parse_instruction(statement)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            args.append(instruction)
        else:
            raise statement.error(f"{statement.keyword} stands before the first FROM", 0, expected="FROM or ARG")
    if not stages:
        raise source.error("there is no FROM, so there is nothing to build", expected="FROM image")
    numbered = (Stage(number, start, tuple(body)) for number, (start, body) in enumerate(stages))
    return Dockerfile(source, tuple(args), tuple(numbered))


def base_stage(stages: tuple[Stage, ...], number: int, base: str) -> int | None:
    """The earlier stage that the base of stage ``number`` names; its case counts. None: an image."""
    for stage in reversed(stages[:number]):
        if stage.start.name and stage.start.name == base:
            return stage.number
    return None


def find_stage(stages: tuple[Stage, ...], name: str) -> int | None:
    """The stage of that name in any case; of two with the same name the last."""
    for stage in reversed(stages):
        if stage.start.name and stage.start.name == name.lower():
            return stage.number
    return None


def find_target(dockerfile: Dockerfile, target: str) -> int:
    """The stage to build: the last, or the one that ``target`` names or numbers."""
    stages = dockerfile.stages
    if not target:
        return len(stages) - 1
    found = find_stage(stages, target)
    if found is None and target.isascii() and target.isdigit() and int(target[:9]) < len(stages):
        found = int(target)
    if found is None:
        names = [stage.start.name for stage in stages if stage.start.name]
        known = f"the stages are {', '.join(names)}" if names else "no stage has a name"
        raise dockerfile.source.error(f"there is no stage {target[:60]}", hint=did_you_mean(target, names) or known)
    return found


def needs(stages: tuple[Stage, ...], instructions: Iterable[Instruction]) -> list[Need]:
    """What ``COPY --from`` and ``RUN --mount=from=`` take from elsewhere. A copy knows stages by number too."""
    found: list[Need] = []
    for instruction in instructions:
        if isinstance(instruction, Copy) and instruction.from_:
            found.append(Need(instruction, _by_number(stages, instruction), instruction.from_))
        elif isinstance(instruction, Run):
            for index, text in enumerate(instruction.mounts):
                name = _from_of(instruction, text, index)
                if name:
                    found.append(Need(instruction, find_stage(stages, name), name))
    return found


def _by_number(stages: tuple[Stage, ...], copy: Copy) -> int | None:
    text = copy.from_
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return find_stage(stages, text)
    if len(digits) > 9 or not 0 <= int(text) < len(stages):
        problem = f"there is no stage number {text[:60]}"
        raise copy.at.error(problem, _flag_offset(copy, "--from"), expected=f"0 to {len(stages) - 1}")
    return int(text)


def _from_of(run: Run, text: str, index: int) -> str:
    try:
        return mount_from(text)
    except MountError as error:
        offset = _flag_offset(run, "--mount", index)
        raise run.at.error(error.message, offset, expected=error.expected, hint=error.hint) from None


def _flag_offset(instruction: Instruction, name: str, index: int = 0) -> int:
    offsets = [flag.offset for flag in instruction.at.flags if flag.text.partition("=")[0] == name]
    return offsets[index] if index < len(offsets) else 0


def onbuild_of(stage: Stage) -> tuple[str, ...]:
    """The triggers that a stage leaves to those that are built on it."""
    return tuple(one.trigger for one in stage.instructions if isinstance(one, Onbuild))


def triggers(texts: Iterable[str], start: From, base: str) -> tuple[Instruction, ...]:
    """The instructions of ONBUILD triggers, for the stage that begins with ``start``."""
    found: list[Instruction] = []
    for text in texts:
        _source, statements = parse(text, f"ONBUILD of {base} (for {start.at.line.source.name}:{start.at.line.line})")
        if len(statements) != 1:
            raise start.at.error(f"an ONBUILD trigger of {base} is not one instruction: {text[:60]}")
        instruction = parse_instruction(statements[0])
        if isinstance(instruction, From):
            raise start.at.error(f"an ONBUILD trigger of {base} is a FROM: {text[:60]}")
        found.append(instruction)
    return tuple(found)


def check_cycles(stages: tuple[Stage, ...], edges: Mapping[int, Iterable[int]]) -> None:
    """Raise :class:`bud.errors.DockerfileError` when a stage needs itself, by whatever way."""
    done: set[int] = set()
    for first in edges:
        # Without recursion: a Dockerfile may hold thousands of stages.
        path: list[int] = []
        todo: list[tuple[int, bool]] = [(first, False)]
        while todo:
            number, leaving = todo.pop()
            if leaving:
                done.add(path.pop())
                continue
            if number in path:
                raise _cycle(stages, [*path[path.index(number) :], number])
            if number in done:
                continue
            path.append(number)
            todo.append((number, True))
            todo.extend((needed, False) for needed in edges.get(number, ()))


def _cycle(stages: tuple[Stage, ...], path: list[int]) -> DockerfileError:
    names = " → ".join(stages[number].label for number in path)
    return stages[path[0]].start.at.error(f"the stages need each other in a circle: {names}", 0)


def reachable(target: int, edges: Mapping[int, Iterable[int]]) -> set[int]:
    """The target and all that it needs."""
    found: set[int] = set()
    todo = [target]
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            todo.extend(edges.get(number, ()))
    return found


def in_order(edges: Mapping[int, Iterable[int]]) -> list[int]:
    """All of ``edges``, each after what it needs, and otherwise as they stand in the file."""
    left = {number: set(needed) for number, needed in sorted(edges.items())}
    order: list[int] = []
    while left:
        number = next(number for number, needed in left.items() if not needed & left.keys())
        order.append(number)
        del left[number]
    return order
