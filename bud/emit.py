"""Prints a build as a Python script on the public API: the same calls, so the same image. It executes nothing."""

from __future__ import annotations

import keyword
import re

from bud.calls import COMMENT, Call, New, Ref
from bud.contexts import MAIN
from bud.steps import ConfigStep
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from bud.build import Build
    from bud.builds import Builds
    from bud.request import Request
    from bud.steps import Plan, StagePlan, Step

WIDTH = 120
_TAKEN = {
    "store",
    "stack",
    "context",
    "image",
    "buildlib",
    "sys",
    "os",
    "base64",
    "build",
    "print",
    "Path",
    "ExitStack",
}


def script(builds: Builds) -> str:
    """The text of the script. Bases that are not here are fetched to know their configs."""
    request = builds.request
    if request.fetched == "-":
        raise UsageError("a script can't take its context from standard input", hint="give a folder or a URL")
    if request.manifest:
        raise UsageError("a script makes one image or index", hint="leave out --manifest and add it by hand")
    scripts = [_Script(build) for build in builds.each]
    functions = [line for each in scripts for line in each.function()]
    if request.platforms:
        functions += _index_of(request, [each.name for each in scripts])
    return _module(request, scripts, functions)


def _module(request: Request, scripts: Sequence[_Script], functions: Sequence[str]) -> str:
    """The text around the functions."""
    name = scripts[0].plan.stage(scripts[0].plan.target).start.name
    of_stage = f"{name}, " if name else ""
    imports = {line for each in scripts for line in each.imports}
    return "\n".join(
        [
            f'"""Builds {_doc(of_stage)}the image of {_doc(request.dockerfile.source.name)}: '
            'written by ``bud --emit-python``."""',
            "",
            *sorted(imports, key=lambda line: (line.startswith("from"), line)),
            "",
            "import buildlib",
            "",
            f"CONTEXT = {_quoted(request.fetched or request.context)}",
            f"BUILDKIT = {_quoted(COMMENT)}",
            *_proxies(request),
            *functions,
            "",
            "",
            'if __name__ == "__main__":',
            "    with buildlib.open_store(*sys.argv[1:2]) as store:",
            "        print(build(store).id)",
            "",
        ]
    )


def _proxies(request: Request) -> list[str]:
    if not request.proxy:
        return []
    names = ", ".join(_quoted(name) for name in sorted(request.proxy))
    return [f"PROXY = {{name: os.environ[name] for name in [{names}] if name in os.environ}}"]


def _index_of(request: Request, functions: Sequence[str]) -> list[str]:
    """The function that has the image built for each platform and makes an index of them."""
    names = [_quoted(name) for name in request.names]
    more = f", annotations={dict(request.index_annotations)!r}" if request.index_annotations else ""
    return [
        "",
        "",
        "def build(store, context=CONTEXT):",
        '    """Build the images in ``store`` and return the index of them."""',
        f"    images = [{', '.join(f'{each}(store, context)' for each in functions)}]",
        f"    index = store.create_manifest_list({names[0] if names else None}, images{more}, replace=True)",
        *([f"    index.tag({', '.join(names[1:])})"] if names[1:] else []),
        "    return index",
    ]


class _Script:
    def __init__(self, build: Build) -> None:
        self.build = build
        self.request = build.request
        self.plan: Plan = build.plan()
        self.names: dict[Ref, str] = {}
        self.imports = {"import sys", "from contextlib import ExitStack"}
        self.lines: list[str] = []

    @property
    def name(self) -> str:
        """Of the function that builds the image."""
        return "build" if not self.build.label else "build_" + re.sub(r"\W", "_", self.build.label.strip())

    def function(self) -> list[str]:
        """Its lines."""
        what = f"image for {self.build.label.strip()}" if self.build.label else "image"
        return [
            "",
            "",
            f"def {self.name}(store, context=CONTEXT):",
            f'    """Build the {what} in ``store`` and return it."""',
            "    with ExitStack() as stack:",
            *(f"        {line}" if line else "" for line in self._body()),
        ]

    def _body(self) -> list[str]:
        if self.request.fetched:
            self._say("context = stack.enter_context(store.context(context)).path")
        if self.request.proxy:
            self.imports.add("import os")
        for stage in self.plan.stages:
            self._stage(stage)
        target = self.names[Ref("stage", self.plan.target)]
        from bud.build import commit_options, final_config

        fields = final_config(self.request)
        self._say("")
        if fields:
            self._call(target, Call("config", (), fields))
        options = {"names": list(self.request.names), **commit_options(self.request)}
        self._call(f"return {target}", Call("commit", (), {k: v for k, v in options.items() if v not in ([], None)}))
        return self.lines

    # --- stages -------------------------------------------------------------------------------------------------------

    def _stage(self, stage: StagePlan) -> None:
        calls = [(step, call) for step in stage.steps for call in self.build.compiler.calls(step)]
        base = stage.base
        is_folder = base.kind == "named" and self.build.contexts.place(base.name).kind != "image"
        if is_folder:
            calls.insert(0, (ConfigStep(None, (), None), self.build.compiler.base(base.name)))
        for _, call in calls:
            self._define((call.args, dict(call.options)))
        name = self.names[Ref("stage", stage.number)] = self._new_name(stage.label)
        self._say("")
        self._say(f"# {stage.start.at.line.line}: {_one_line(stage.start.at.line.text)}")
        if base.kind == "stage":
            self._say(f"{name} = stack.enter_context({self.names[Ref('stage', base.stage)]}.fork())")
        else:
            image = "scratch" if is_folder or base.kind == "scratch" else base.name
            if base.kind == "named" and not is_folder:
                image = self.build.contexts.place(base.name).where
            self._from_image(name, image, stage.platform)
        shown: Step | None = None
        for step, call in calls:
            if step is not shown and step.at is not None:
                self._say(f"# {step.at.line.line}: {_one_line(step.at.line.text)}")
            shown = step
            self._call(name, call)

    def _from_image(self, name: str, image: str, platform: str = "") -> None:
        from bud.build import base_options

        options = [f"{key}={self._value(value)}" for key, value in base_options(self.request, platform).items()]
        self._say(f"{name} = stack.enter_context(store.from_image({', '.join([_quoted(image), *options])}))")

    # --- what calls refer to ------------------------------------------------------------------------------------------

    def _define(self, value: Any) -> None:
        """Have everything that a value refers to, in the script."""
        if isinstance(value, New):
            self._define((value.args, dict(value.options)))
        elif isinstance(value, Ref):
            if value not in self.names and value.kind != "stage":
                self._defined(value)
        elif isinstance(value, dict):
            self._define(tuple(value.values()))
        elif isinstance(value, (list, tuple)):
            for each in value:
                self._define(each)

    def _defined(self, ref: Ref) -> None:
        label = f"{ref.name or 'context'}" + {"ignore": "_ignore", "filtered": "_files"}.get(ref.kind, "")
        if ref == Ref("folder", MAIN):
            self.names[ref] = "context"
            return
        if ref.kind == "filtered":
            self._define(Ref("folder", ref.name))
            if self.build.contexts.ignore(ref.name):
                self._define(Ref("ignore", ref.name))
        name = self.names[ref] = self._new_name(label)
        if ref.kind == "image":
            self._from_image(name, ref.name)
        elif ref.kind == "ignore":
            patterns = self.build.contexts.ignore(ref.name).patterns
            words = self._value([("!" if pattern.negated else "") + pattern.text for pattern in patterns])
            self._say(f"{name} = buildlib.IgnorePatterns.of({words}, source={_quoted(patterns[0].source)})")
        elif ref.kind == "folder":
            place = self.build.contexts.place(ref.name)
            where = _quoted(place.where)
            fetched = f"stack.enter_context(store.context({where})).path"
            self._say(f"{name} = {fetched if place.kind == 'fetched' else where}")
        else:
            self._say(f'{name} = stack.enter_context(store.from_image("scratch", cache=True))')
            options = {"dest": "/", "context": Ref("folder", ref.name)}
            if self.build.contexts.ignore(ref.name):
                options["ignore"] = Ref("ignore", ref.name)
            self._call(name, Call("copy", (".",), options))

    def _new_name(self, label: str) -> str:
        """A variable named after something."""
        base = re.sub(r"\W", "_", label, flags=re.ASCII).strip("_").lower() or "_"
        if base[0].isdigit() or keyword.iskeyword(base) or base in _TAKEN:
            base = f"{base}_" if not base[0].isdigit() else f"_{base}"
        name, number = base, 1
        while name in self.names.values():
            number += 1
            name = f"{base}_{number}"
        return name

    # --- text ---------------------------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        if line or self.lines:
            self.lines.append(line)

    def _call(self, target: str, call: Call) -> None:
        parts = [self._value(arg) for arg in call.args]
        parts += [f"{name}={self._value(value)}" for name, value in call.options.items()]
        if call.verb == "run" and self.request.proxy:
            parts.append(f"proxy={self._proxy_of(call)}")
        if call.verb == "add":
            parts += self._login(call)
        line = f"{target}.{call.verb}({', '.join(parts)})"
        if len(line) + 8 <= WIDTH:
            self._say(line)
            return
        self._say(f"{target}.{call.verb}(")
        for part in parts:
            self._say(f"    {part},")
        self._say(")")

    def _proxy_of(self, call: Call) -> str:
        hidden = sorted(self.request.proxy.keys() & call.options.get("env", {}).keys())
        if not hidden:
            return "PROXY"
        return f"{{name: value for name, value in PROXY.items() if name not in {self._value(hidden)}}}"

    def _login(self, call: Call) -> Iterator[str]:
        from bud.logins import expression, find

        found = find(call.args, self.request.secrets)
        if found is not None:
            self.imports |= {"import base64", "import os", "from pathlib import Path"}
            yield f"authorization={expression(found)}"

    def _value(self, value: Any) -> str:
        if isinstance(value, Ref):
            return self.names[value]
        if isinstance(value, New):
            parts = [self._value(arg) for arg in value.args]
            parts += [f"{name}={self._value(each)}" for name, each in value.options.items()]
            return f"buildlib.{value.name}({', '.join(parts)})"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{_quoted(key)}: {self._value(each)}' for key, each in value.items())}}}"
        if isinstance(value, (list, tuple)):
            inner = ", ".join(self._value(each) for each in value)
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if value == COMMENT:
            return "BUILDKIT"
        if type(value).__name__ == "Platform":
            return f"buildlib.Platform.parse({_quoted(str(value))})"
        if type(value).__name__ == "RunOptions":
            return self._value(New("RunOptions", (), value.given()))
        return _quoted(value)


def _quoted(value: Any) -> str:
    """As ``repr``, with double quotes around text where that costs no escape."""
    text = repr(value)
    if not text.startswith("'") or '"' in text:
        return text
    inner = text[1:-1].replace("\\'", "'")
    return f'"{inner}"'


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    line = line if line.isprintable() else line.encode("ascii", "replace").decode()
    return line if len(line) <= 100 else f"{line[:99]}…"


def _doc(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")
