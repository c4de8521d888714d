"""``buildlib cache``: the folders of cache mounts, listed, carried to other machines, removed."""

from __future__ import annotations

import os
import sys

from buildlib.cli.flags import BOOL, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments

ACTIONS = {"ls": 0, "export": 2, "import": 2, "rm": 1}
"""What can be done, and with how many arguments (``rm`` takes more)."""

VERB = Verb(
    "cache",
    "List, export, import and remove cache mounts",
    accepts="ls | export ID FILE | import ID FILE | rm ID...",
    positionals=(1, None),
    missing="cache needs to know what to do: ls, export, import or rm",
    example="buildlib cache ls\nbuildlib cache export npm npm.tar\nbuildlib cache import npm npm.tar",
    details="A cache mount is the folder of RUN --mount=type=cache; ID is its id, by default its target. FILE is a\n"
    "tar archive, - is standard output or input; import takes compressed ones too. The cache of build steps\n"
    "is another thing: build --cache-to and --cache-from carry it, prune empties it.",
    flags=(Flag("json", "list as JSON", kind=BOOL),),
)


def run(args: Arguments) -> int:
    """Do it."""
    from buildlib.cli.place import open_store

    action, *words = args.positionals
    if action not in ACTIONS:
        raise UsageError(f"cache can't {action!r}", hint=f"it can {', '.join(ACTIONS)}")
    wanted = ACTIONS[action]
    if len(words) < wanted or (len(words) > wanted and action != "rm"):
        raise UsageError(f"cache {action} takes {wanted} arguments, not {len(words)}", hint=f"cache {VERB.accepts}")
    with open_store(args) as store:
        if action == "ls":
            _list(store, as_json=args.json)
        elif action == "export":
            _export(store, *words)
        elif action == "import":
            _import(store, *words)
        else:
            return _remove(store, words)
    return 0


def _list(store: Store, *, as_json: bool) -> None:
    mounts = store.cache_mounts.all()
    if as_json:
        from buildlib.cli.listing import print_json

        print_json([{"id": m.id, "folder": m.folder, "size": m.size, "changed": m.changed} for m in mounts])
        return
    import time

    from buildlib.cli.human import age, size, table

    rows = [[m.id, size(m.size), age(time.time() - m.changed)] for m in mounts]
    sys.stdout.write(table([["ID", "SIZE", "CHANGED"], *rows]))


def _export(store: Store, id: str, path: str) -> None:
    if path == "-":
        sys.stdout.flush()
        store.cache_mounts.export(id, sys.stdout.fileno())
        return
    half = f"{path}.{os.getpid()}.part"
    try:
        with open(half, "wb") as file:
            store.cache_mounts.export(id, file.fileno())
        os.replace(half, path)
    finally:
        if os.path.lexists(half):
            os.unlink(half)


def _import(store: Store, id: str, path: str) -> None:
    if path == "-":
        store.cache_mounts.fill(id, sys.stdin.fileno())
        return
    with open(path, "rb") as file:
        store.cache_mounts.fill(id, file.fileno())


def _remove(store: Store, ids: list[str]) -> int:
    from buildlib.cli.many import each

    def remove(id: str) -> None:
        store.cache_mounts.remove(id)
        print(id)

    return each(ids, remove)
