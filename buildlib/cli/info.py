"""``buildlib info``: the machine and the store, for a report of a problem."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.cli.flags import Arguments

VERB = Verb(
    "info",
    "Display what this machine and the store are",
    example="buildlib info --format '{{.store.GraphRoot}}'",
    flags=(
        Flag("debug", "also what the program itself is", short="d", kind=BOOL),
        Flag("format", "print by this Go template", metavar="TEMPLATE"),
    ),
)


def run(args: Arguments) -> int:
    """Print the facts as JSON or by a template."""
    tier, machine = _tier(args)
    facts = {"host": {**_host(), "tier": tier, "machine": machine}, "store": _store(args, tier["driver"])}
    if args.debug:
        facts["debug"] = _program()
    if args.format:
        from buildlib.cli.template import Template

        print(Template(args.format).render(facts))
    else:
        from buildlib.cli.listing import print_json

        print_json(facts)
    return 0


def _host() -> dict[str, Any]:
    import os

    from buildlib.cli.version import go_architecture

    system, memory = os.uname(), _memory()
    return {
        "CgroupVersion": "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1",
        "Distribution": _distribution(),
        "MemFree": memory.get("MemFree", 0),
        "MemTotal": memory.get("MemTotal", 0),
        "SwapFree": memory.get("SwapFree", 0),
        "SwapTotal": memory.get("SwapTotal", 0),
        "arch": go_architecture(),
        "cpus": os.cpu_count(),
        "hostname": system.nodename,
        "kernel": system.release,
        "os": "linux",
        "rootless": os.geteuid() != 0,
        "uptime": _uptime(),
        "variant": "",
    }


def _tier(args: Arguments) -> tuple[dict[str, Any], dict[str, Any]]:
    """What containers live on here and what is lost by it; what the machine allows, measured now."""
    from buildlib.cli.place import open_store

    with open_store(args) as store:
        machine = store.machine()
        choice = store.tier
    driver, isolation, ids = choice.tier
    tier = {"driver": driver, "isolation": isolation, "ids": ids, "lost": list(choice.losses), "hint": choice.hint}
    # A field is true where nothing is in the way, else it says what is.
    return tier, {name: True if value == "" else value for name, value in machine._asdict().items()}


def _store(args: Arguments, driver: str) -> dict[str, Any]:
    from buildlib.cli.place import open_database, store_root

    database = open_database(args)
    tables = ("containers", "images")
    containers, images = (database.row(f"SELECT count(*) FROM {t}")[0] if database else 0 for t in tables)  # noqa: S608
    return {
        "ContainerStore": {"number": containers},
        "GraphDriverName": driver,
        "GraphOptions": None,
        "GraphRoot": store_root(args),
        "ImageStore": {"number": images},
        "RunRoot": args.runroot or store_root(args),
    }


def _program() -> dict[str, str]:
    import sys

    from buildlib.cli.version import program_version

    return {"buildlib version": program_version(), "compiler": "", "python version": sys.version.split()[0]}


def _memory() -> dict[str, int]:
    found = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found


def _distribution() -> dict[str, str]:
    fields = dict(line.partition("=")[::2] for line in _text("/etc/os-release").splitlines())
    return {
        "distribution": fields.get("ID", "unknown").strip("'\""),
        "version": fields.get("VERSION_ID", "unknown").strip("'\""),
    }


def _uptime() -> str:
    seconds = float((_text("/proc/uptime") or "0").split()[0])
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h " if hours else "") + f"{minutes}m {seconds:.2f}s"


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
