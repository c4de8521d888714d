"""Where the store of containers/storage is and how it is kept: containers-storage.conf(5), the environment, a name."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from buildlib.errors import FormatError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = "/etc/containers/storage.conf"
VENDOR = "/usr/share/containers/storage.conf"
ROOT = "/var/lib/containers/storage"
RUNROOT = "/run/containers/storage"
DRIVERS = ("overlay", "vfs")
"""Those that are understood, the preferred one first."""
_OTHERS = ("btrfs", "zfs", "aufs", "devicemapper")


@frozen
class Settings:
    """One store. ``driver`` is None where the store itself, or its absence, decides."""

    root: str = ROOT
    runroot: str = RUNROOT
    driver: str | None = None
    options: tuple[str, ...] = ()
    """``name=value`` each, perhaps with the driver's name in front, as containers-storage.conf(5) has them."""
    image_store: str | None = None
    """A folder apart for images, where one is set."""

    @classmethod
    def of_user(cls, environ: Mapping[str, str], uid: int) -> Settings:
        """The store that podman would use for that user in that environment. Raises :class:`FormatError`."""
        uid = int(environ.get("_CONTAINERS_ROOTLESS_UID") or uid)  # within `podman unshare` everybody is root
        path, own = _file(environ, uid)
        table = _read(path) if path else {}
        defaults = cls() if uid == 0 else _rootless(environ, uid, table.get("rootless_storage_path"))
        places = {**environ, "UID": str(uid)}
        root, runroot = (_expanded(table.get(key), places) for key in ("graphroot", "runroot"))
        settings = cls(
            root if root and own else defaults.root,
            runroot if runroot and own else defaults.runroot,
            environ.get("STORAGE_DRIVER") or table.get("driver") or None,
            tuple(environ["STORAGE_OPTS"].split(",")) if environ.get("STORAGE_OPTS") else _options(table),
            table.get("imagestore") or None,
        )
        return settings.checked()

    def checked(self) -> Settings:
        """Itself, if it can be handled; raises :class:`TransportError`."""
        driver = "overlay" if self.driver == "overlay2" else self.driver
        if driver is not None and driver not in DRIVERS:
            kind = "of the driver" if driver in _OTHERS else "of the unknown driver"
            raise TransportError(
                f"{self.root}: stores {kind} {driver} can't be read", hint=f"there are {', '.join(DRIVERS)}"
            )
        return Settings(self.root, self.runroot, driver, self.options, self.image_store)

    @property
    def driver_name(self) -> str:
        """The driver that is set, or that the folder shows; overlay for a new store."""
        if self.driver is not None:
            return self.driver
        for driver in (*DRIVERS, *_OTHERS):
            if os.path.exists(f"{self.root}/{driver}-layers"):
                found = Settings(self.root, self.runroot, driver, self.options, self.image_store).checked().driver
                assert found is not None
                return found
        return DRIVERS[0]

    def option(self, name: str) -> str | None:
        """The value of an option of the driver; the last one counts."""
        return next(reversed(self._values(name)), None)

    @property
    def more_roots(self) -> tuple[str, ...]:
        """Stores of other people that are only read: ``additionalimagestores``."""
        values = [*self._values("imagestore"), *self._values("additionalimagestore")]
        found = [path for value in values for path in value.split(",") if path]
        return (*((self.image_store,) if self.image_store else ()), *found)

    def _values(self, name: str) -> list[str]:
        pairs = (option.strip().partition("=") for option in self.options)
        return [value for key, _, value in pairs if key.lower().removeprefix("overlay.").lstrip(".") == name]


def _file(environ: Mapping[str, str], uid: int) -> tuple[str | None, bool]:
    """The one storage.conf that counts, and whether the places that it names are this user's."""
    if chosen := environ.get("CONTAINERS_STORAGE_CONF"):
        return chosen, True
    if uid != 0:
        own = f"{environ.get('XDG_CONFIG_HOME') or _home(environ, uid) + '/.config'}/containers/storage.conf"
        if os.path.exists(own):
            return own, True
    found = next((path for path in (SYSTEM, VENDOR) if os.path.exists(path)), None)
    return found, uid == 0


def _read(path: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(path, "rb") as file:
            table = tomllib.load(file).get("storage", {})
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: {error}", hint="see containers-storage.conf(5)") from error
    if not isinstance(table, dict):
        raise FormatError(f"{path}: storage is not a table", hint="see containers-storage.conf(5)")
    return table


def _options(table: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of the overlay driver, in the form in which they stand in a name."""
    options = table.get("options") or {}
    own = {**options, **(options.get("overlay") or {})}
    found = [f"imagestore={path}" for path in options.get("additionalimagestores") or ()]
    found += [f"additionallayerstore={path}" for path in options.get("additionallayerstores") or ()]
    found += [
        f"{name}={value}"
        for name in ("mount_program", "force_mask", "ignore_chown_errors", "mountopt", "use_composefs")
        if (value := own.get(name)) not in (None, "")
    ]
    return tuple(found)


def _rootless(environ: Mapping[str, str], uid: int, path: str | None) -> Settings:
    home = _home(environ, uid)
    data = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    places = {**environ, "UID": str(uid), "HOME": home}
    return Settings(_expanded(path, places) or f"{data}/containers/storage", f"{runtime}/containers")


def _home(environ: Mapping[str, str], uid: int) -> str:
    if home := environ.get("HOME"):
        return home
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def _expanded(path: str | None, places: Mapping[str, str]) -> str | None:
    """A path with ``$NAME`` and ``${NAME}`` replaced."""
    return re.sub(r"\$(\w+|\{\w+\})", lambda m: places.get(m[1].strip("{}"), ""), path) if path else None
