"""Where the store lies, and how a verb opens it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments
    from buildlib.database import Database
    from buildlib.tier import Choice


def store_root(args: Arguments) -> str:
    """The folder of the store: ``--root`` (or ``$BUILDLIB_ROOT``), else where ``buildlib.Store`` would look."""
    if args.root:
        return str(os.path.abspath(args.root))
    system = "/var/lib/buildlib"
    there = system if os.path.exists(system) else "/var/lib"  # root in a user namespace may not write there
    if os.geteuid() == 0 and os.access(there, os.W_OK):
        return system
    return os.path.expanduser("~/.local/share/buildlib")


def open_store(args: Arguments) -> Store:
    """The store, ready for everything."""
    from buildlib import Store

    driver = {"vfs": "copy", "fuse-overlayfs": "fuse"}.get(args.storage_driver, args.storage_driver)
    isolation = None if args.isolation == "default" else args.isolation
    return Store.open(store_root(args), driver=driver, isolation=isolation, notice=_tell)


def _tell(choice: Choice) -> None:
    """Say what is lost by it: once, when it was found out."""
    lines = [f"Note: {choice}. {loss}" for loss in choice.losses] + ([f"hint: {choice.hint}"] if choice.hint else [])
    print("\n".join(lines), file=sys.stderr)


def open_database(args: Arguments) -> Database | None:
    """The rows of the store and nothing else, for verbs that only look; None where no store is yet."""
    from buildlib.database import Database

    path = f"{store_root(args)}/db.sqlite"
    return Database(path) if os.path.exists(path) else None
