"""The rings of the house: who may import whom, and how large a room may be. Imports are read with ``ast``.

Imports inside functions count; those under ``TYPE_CHECKING`` do not, for they join no code.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BASE = {"errors", "events", "oci", "patterns"}
"""Values and names: they import nothing of ours but each other."""

LOW = BASE | {"linux"}

RINGS = {
    "errors": set(),
    "events": {"errors", "oci"},
    "patterns": {"errors"},
    "oci": {"errors"},
    "linux": BASE,
    "content": LOW,
    "layer": LOW,
    "registry": LOW,
    "database": LOW,
    "snapshot": LOW,
    "sandbox": LOW,
    "worker": LOW | {"layer", "snapshot", "sandbox"},
    "transports": LOW | {"content", "registry", "layer"},  # layer: to compress and decompress on the way
}
"""Part of ``buildlib`` → the parts that it may import. A part that is not named here belongs to the library ring
(store, container, image, …): it may import all parts, but no front end."""

PUBLIC = {"", "errors", "events"}
"""What the front ends may import: the names of ``buildlib`` itself, its errors and its events."""

FRONT_ENDS = {"buildlib.__main__", "buildlib.cli", "buildlib.jupyter", "buildlib.testing", "bud"}

EXCEPTIONS = {
    ("buildlib.__main__", "cli"): "python -m buildlib is the command line",
    ("buildlib.cli", "database"): "read-only verbs print rows straight from SQLite: start-up within 25 ms",
    ("buildlib.jupyter", "display"): "progress looks like all else that is shown in a notebook",
    ("bud.cli", "cli"): "one way to read flags, to print help and to fail, for all verbs",
    ("bud.api", "cli"): "the same",
    ("bud.results", "cli"): "the same flags mean the same in `from`, `run`, `push` and `build`",
}
"""(front end or one module of it, part) → why it may import that part all the same."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "misc"}
MAX_LINES = 500


def sources(*roots: str) -> Iterator[Path]:
    for root in roots:
        yield from sorted((ROOT / root).rglob("*.py"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST, module: str, *, package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of what is imported; ``from a import b`` gives ``a.b``, whether b is a module or not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for branch in node.orelse:
                yield from imports(ast.Module([branch], []), module, package=package)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            source = ".".join([*up, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)
        else:
            yield from imports(node, module, package=package)


def part_of(name: str) -> str:
    """The part of buildlib that a dotted name lies in; "" for a public name of the package itself."""
    parts = name.split(".")
    if len(parts) > 1:
        home = ROOT / "buildlib" / parts[1]
        if parts[1] in RINGS or home.is_dir() or home.with_suffix(".py").exists():
            return parts[1]
    return ""


def front_end_of(module: str) -> str | None:
    return next((f for f in FRONT_ENDS if module == f or module.startswith(f + ".")), None)


def breach(module: str, name: str) -> str | None:
    """Why ``module`` may not import ``name``, or None."""
    top = name.split(".")[0]
    front = front_end_of(module)
    if top == "bud":
        return "buildlib never imports bud" if module.split(".")[0] == "buildlib" else None
    if top != "buildlib" or (front and (name == front or name.startswith(front + "."))):
        return None
    part, own = part_of(name), part_of(module)
    if front:
        allowed = PUBLIC | {what for who, what in EXCEPTIONS if who in (front, module)}
    elif module == "buildlib":
        return None
    elif own not in RINGS:
        in_front = not part or front_end_of(f"buildlib.{part}")
        return "the library does not import what is built on it" if in_front else None
    else:
        allowed = RINGS[own] | {own}
    if part in allowed:
        return None
    return f"allowed: {', '.join(sorted(a or 'buildlib' for a in allowed)) or 'nothing of ours'}"


def breaches(source: str, module: str, where: str, *, package: bool = False) -> list[str]:
    found = []
    for line, name in imports(ast.parse(source), module, package=package):
        why = breach(module, name)
        if why:
            found.append(f"{where}:{line} imports {name}; {why}")
        if name.split(".")[0] in ("ctypes", "cffi", "_ctypes") and not module.startswith("buildlib.linux"):
            found.append(f"{where}:{line} imports {name}; only buildlib/linux talks to C")
    return found


def test_every_import_stays_within_its_ring():
    found = []
    for path in sources("buildlib", "bud"):
        where = str(path.relative_to(ROOT))
        found += breaches(path.read_text(), module_of(path), where, package=path.name == "__init__.py")
    assert not found, "\n" + "\n".join(found)


def test_no_file_outgrows_five_hundred_lines():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources("buildlib", "bud", "tests")}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_no_module_has_a_name_that_says_nothing():
    named = [str(p) for p in sources("buildlib", "bud") if {p.stem.strip("_"), p.parent.name} & FORBIDDEN_NAMES]
    assert named == []


@pytest.mark.parametrize(
    ("module", "source", "caught"),
    [
        ("buildlib.oci.digest", "from buildlib.linux import libc", True),
        ("buildlib.oci.digest", "def f():\n    import buildlib.linux.libc", True),
        ("buildlib.oci.digest", "from ..linux import libc", True),
        ("buildlib.oci.digest", "from . import platform", False),
        ("buildlib.oci.digest", "if TYPE_CHECKING:\n    from buildlib.linux import libc", False),
        ("buildlib.oci.digest", "from buildlib import from_", True),
        ("buildlib.oci.digest", "import ctypes", True),
        ("buildlib.linux.libc", "import ctypes", False),
        ("buildlib.snapshot.overlay", "from buildlib.layer import xattrs", True),
        ("buildlib.worker.server", "from buildlib.layer import xattrs", False),
        ("buildlib.transports.copy", "import buildlib.worker", True),
        ("buildlib.linux.libc", "import bud", True),
        ("buildlib.cli.images", "from buildlib.database import Database", False),
        ("buildlib.cli.images", "from buildlib import open_store\nfrom buildlib.errors import NotFound", False),
        ("buildlib.cli.images", "from buildlib.oci import Digest", True),
        ("buildlib.cli.images", "from buildlib import oci", True),
        ("bud.plan", "from buildlib import Reference\nfrom bud.lines import parse", False),
        ("bud.plan", "from buildlib.oci.reference import Reference", True),
        ("bud.plan", "from buildlib.cli import main", True),
        ("buildlib.store", "import buildlib.worker.client\nfrom buildlib.container import WorkingContainer", False),
        ("buildlib.store", "from buildlib.cli import flags", True),
        ("buildlib.store", "from buildlib import from_", True),
    ],
)
def test_the_check_sees(module, source, caught):
    assert bool(breaches(source, module, "x.py")) == caught
