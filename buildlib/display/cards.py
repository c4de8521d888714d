"""What is shown of an image, a container, a layer, a history, a list of changes: one function each."""

from __future__ import annotations

import time

from buildlib.display.html import colour, fold, size, table, tag, text
from buildlib.display.tree import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.layer.diff import Change
    from buildlib.oci import ContainerConfig, History
    from buildlib.survey import Layer, Survey

_WORST = 20


def image(value: Image) -> str:
    """Name, layers by size, config, files, what is wasted."""
    names = value.names or ("<none>",)
    made = time.strftime("%Y-%m-%d %H:%M", time.gmtime(value.created))
    facts = f"{value.id[:12]} · {value.platform} · {size(value.size)} · {made}"
    also = "".join(tag("div", text(name), class_="s") for name in names[1:])
    head = tag("h4", text(names[0]) + tag("small", text(facts)))
    return head + also + survey(value.survey()) + _config(value.config.config)


def container(value: WorkingContainer) -> str:
    """The same of a working container, with what it changed and what was done to it."""
    head = tag("h4", text(value.name) + tag("small", text(f"{value.id[:12]} · on {value.image_name}")))
    found = value.diff()
    changed = fold(f"changes <span class='s'>{len(found)}</span>", changes(found)) if found else ""
    return head + survey(value.survey()) + changed + _calls(value) + _config(value.image_config.config)


def survey(value: Survey) -> str:
    """A bar of layers by size, the table of them, all files, and what upper layers hide."""
    total = value.size or 1
    segments = [
        tag("i", "", style=f"width:{100 * layer.size / total:.3f}%;background:{colour(number)}",
            title=f"{size(layer.size)}  {layer.created_by}")
        for number, layer in enumerate(value.layers)
    ]  # fmt: skip
    rows = [
        (
            tag("span", "", class_="dot", style=f"background:{colour(number)}") + str(number),
            size(layer.size),
            size(layer.hidden) if layer.hidden else "",
            tag("code", text(_short(layer.created_by) or ("not committed yet" if not layer.id else ""))),
        )
        for number, layer in enumerate(value.layers)
    ]
    layers = table(("layer", "size", "hidden", "made by"), rows, numbers=(1, 2)) if rows else ""
    files = tree((file.path, file.size, file.mode, "") for file in value.files)
    shown = fold(f"files <span class='s'>{len(value.files)} · {size(value.size - value.wasted)}</span>", files)
    return tag("div", "".join(segments), class_="bar") + layers + shown + _waste(value)


def layer(value: Layer) -> str:
    """What one layer changed."""
    facts = f"{value.id or 'not committed yet'} · {size(value.size)} · {len(value.changes)} paths"
    return tag("h4", tag("code", text(_short(value.created_by))) + tag("small", text(facts))) + changes(value.changes)


def changes(value: Iterable[Change]) -> str:
    """A tree, coloured by what was added, changed and deleted."""
    return tree((change.path, change.size, change.mode, change.kind) for change in value)


def history(value: Sequence[History]) -> str:
    """A table of the steps."""
    rows = [
        (str(number), tag("code", text(_short(entry.created_by or ""))), "" if entry.empty_layer else "layer",
         text(entry.comment or ""))
        for number, entry in enumerate(value)
    ]  # fmt: skip
    return table(("", "step", "", "comment"), rows, numbers=(0,))


def plain(kind: str, value: Any) -> str:
    """What a terminal shows."""
    if kind == "changes":
        marks = {"added": "A", "changed": "C", "deleted": "D"}
        return "\n".join(f"{marks[change.kind]} {change.path}" for change in value) or "no changes"
    if kind == "history":
        return "\n".join(f"{number:3} {_short(entry.created_by or '')}" for number, entry in enumerate(value))
    if kind == "survey":
        lines = [f"{n:3} {size(one.size):>9} {_short(one.created_by)}" for n, one in enumerate(value.layers)]
        return "\n".join((*lines, f"{value.efficiency:.1%} of {size(value.size)} can be seen"))
    return repr(value)


def _waste(value: Survey) -> str:
    if not value.wasted:
        return ""
    rows = [(size(each.size), str(each.copies), tag("code", text(each.path))) for each in value.hidden[:_WORST]]
    title = f"wasted <span class='s'>{size(value.wasted)} · {value.efficiency:.1%} of the bytes can be seen</span>"
    return fold(title, table(("size", "copies", "path"), rows, numbers=(0, 1)))


def _config(config: ContainerConfig) -> str:
    rows = []
    for name, value in config.to_dict().items():
        if isinstance(value, dict):
            shown = "<br>".join(f"{text(key)}{f' = {text(each)}' if each else ''}" for key, each in value.items())
        elif isinstance(value, list):
            shown = "<br>".join(text(each) for each in value)
        else:
            shown = text(value)
        if shown:
            rows.append((text(name), tag("code", shown)))
    return fold(f"config <span class='s'>{len(rows)}</span>", table((), rows)) if rows else ""


def _calls(value: WorkingContainer) -> str:
    calls = value.state.calls
    if not calls:
        return ""
    rows = [(f"[{call['cell']}]" if call.get("cell") else "", tag("code", _source(call))) for call in calls]
    return fold(f"what was done <span class='s'>{len(rows)}</span>", table(("cell", "call"), rows))


def _source(call: dict[str, Any]) -> str:
    from buildlib.container.as_python import lines
    from buildlib.errors import UsageError

    try:
        return "<br>".join(map(text, lines(call)))
    except UsageError:  # a secret is in it
        return text(f"c.{call['verb']}(…)")


def _short(command: str) -> str:
    """A step in one line of bearable length."""
    line = " ".join(command.split())
    return line if len(line) <= 160 else line[:159] + "…"
