"""Where the store lies, and how a verb opens it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments
    from buildlib.database import Database


def store_root(args: Arguments) -> str:
    """The folder of the store: ``--root`` (or ``$BUILDLIB_ROOT``), else where ``buildlib.Store`` would look."""
    if args.root:
        return str(os.path.abspath(args.root))
    if os.geteuid() == 0:
        return "/var/lib/buildlib"
    return os.path.expanduser("~/.local/share/buildlib")


def open_store(args: Arguments) -> Store:
    """The store, ready for everything."""
    from buildlib import Store

    return Store.open(store_root(args))


def open_database(args: Arguments) -> Database | None:
    """The rows of the store and nothing else, for verbs that only look; None where no store is yet."""
    from buildlib.database import Database

    path = f"{store_root(args)}/db.sqlite"
    return Database(path) if os.path.exists(path) else None
