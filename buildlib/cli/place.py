"""Where the store lies: the one place that reads the environment for it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments
    from buildlib.database import Database


def store_root(args: Arguments) -> str:
    """The folder of the store: ``--root``, else ``$BUILDLIB_ROOT``, else the usual place of this user."""
    if args.root:
        return str(os.path.abspath(args.root))
    if os.geteuid() == 0:
        return "/var/lib/buildlib"
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return os.path.join(data, "buildlib")


def open_store(args: Arguments) -> Store:
    """The store, ready for everything."""
    from buildlib import Store

    return Store.open(store_root(args))


def open_database(args: Arguments) -> Database | None:
    """The rows of the store and nothing else, for verbs that only look; None where no store is yet."""
    from buildlib.database import Database

    path = f"{store_root(args)}/db.sqlite"
    return Database(path) if os.path.exists(path) else None
