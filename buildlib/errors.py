"""The errors that buildlib raises, and nothing else.

::

    BuildlibError                 everything below; ``hint`` says what to do next
    ├── UsageError                an argument that can't be meant
    │   └── InvalidReference      an image name that is not one
    ├── NotFound                  no such image, container, layer, blob or transport object
    ├── NameInUse                 the name is taken
    ├── FormatError               a document (manifest, config, archive index) that is not what it says
    ├── DigestMismatch            bytes that are not what their digest promised
    ├── LayerError                a layer archive that is corrupt or hostile; names the entry
    ├── CopyError                 a source or destination of copy/add that can't be used
    ├── RunError                  a command in a container failed; carries the container
    │   └── RunTimeout            … because its time was over
    ├── SandboxError              what the kernel refused while a sandbox was set up
    ├── StoreError                the store can't be used as asked
    │   ├── StoreFull             no space left
    │   └── StoreBusy             another process holds what is needed
    ├── TransportError            a source or destination of images that can't be read or written
    ├── WorkerError               the worker process died
    ├── NotCached                 the cache has no outcome, and nothing may be executed
    └── Cancelled                 the caller gave up

An error crosses from the worker as data (:meth:`BuildlibError.to_dict`) and is raised again as the same class.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself is not imported: every command imports this module, and it costs 7 ms
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from buildlib.container import WorkingContainer


class BuildlibError(Exception):
    """The root of all errors of this library.

    ``message`` is one line that says what and where; ``hint`` is one line that says what to do, or None.
    Keyword arguments named in ``fields`` become attributes.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes beyond ``message`` and ``hint``; their values are plain data."""

    def __init__(self, message: str, *, hint: str | None = None, **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        unknown = values.keys() - set(self.fields)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {sorted(unknown)[0]!r}")
        for name in self.fields:
            setattr(self, name, values.get(name))

    def __str__(self) -> str:
        return self.message

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which :func:`from_dict` makes an equal error in another process."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "fields": {name: getattr(self, name) for name in self.fields},
        }


class UsageError(BuildlibError):
    """An argument that can't be meant."""


class InvalidReference(UsageError):
    """An image name that does not follow the grammar of references."""


class NotFound(BuildlibError):
    """There is no such thing; ``kind`` is "image", "container", "layer", "blob", …, ``name`` what was asked for."""

    fields = ("kind", "name")
    kind: str
    name: str


class NameInUse(BuildlibError):
    """A container or image of this name exists already."""

    fields = ("kind", "name")
    kind: str
    name: str


class FormatError(BuildlibError):
    """A document (manifest, index, config, archive) that is not what it says it is."""


class DigestMismatch(BuildlibError):
    """The bytes are not those that ``expected`` promised."""

    fields = ("expected", "actual")
    expected: str
    actual: str


class LayerError(BuildlibError):
    """A layer archive that is corrupt or hostile. ``entry`` is the name of the archive entry."""

    fields = ("entry", "reason")
    entry: str
    reason: str


class CopyError(BuildlibError):
    """A source or destination of copy or add that can't be used."""

    fields = ("path",)
    path: str


class RunError(BuildlibError):
    """A command in a working container failed.

    ``exit_code`` is the command's own, 127 for "not found", 126 for "not executable", 128 + n when signal n
    ended it. ``output`` holds the last lines it printed where they were seen. ``container`` is the live working
    container (never sent between processes).
    """

    fields = ("argv", "exit_code", "output")
    argv: list[str]
    exit_code: int
    output: str | None
    container: WorkingContainer | None = None


class RunTimeout(RunError):
    """The command's time was over and its whole process tree was killed."""


class SandboxError(BuildlibError):
    """A step in setting up a sandbox was refused; ``op`` describes the step, ``errno`` is the kernel's answer."""

    fields = ("op", "errno")
    op: str
    errno: int


class StoreError(BuildlibError):
    """The store can't be used as asked: wrong version, unreadable, damaged."""


class StoreFull(StoreError):
    """No space (or no inodes, or no quota) is left where the store lies."""


class StoreBusy(StoreError):
    """Another process holds what is needed."""


class TransportError(BuildlibError):
    """A source or destination of images that can't be read or written.

    ``status`` is the HTTP status of a registry that refused, None where it did not come to an answer;
    ``retry_after`` the seconds to wait that it asks for.
    """

    fields = ("status", "retry_after")
    status: int | None
    retry_after: float | None


class WorkerError(BuildlibError):
    """The worker process died or answered nonsense."""


class NotCached(BuildlibError):
    """The cache does not have the outcome of a call, and the call may execute nothing."""


class Cancelled(BuildlibError):
    """The caller gave up before the work was done."""


def from_dict(data: dict[str, Any]) -> BuildlibError:
    """The inverse of :meth:`BuildlibError.to_dict`; an unknown class becomes a plain :class:`BuildlibError`."""
    kind = globals().get(str(data.get("error")))
    if not (isinstance(kind, type) and issubclass(kind, BuildlibError)):
        return BuildlibError(f"{data.get('error')}: {data.get('message')}", hint=data.get("hint"))
    return kind(data["message"], hint=data.get("hint"), **data.get("fields", {}))


def from_os_error(error: OSError, doing: str) -> StoreError:
    """The store error that says what ``error`` means; ``doing`` is what was tried, like "renaming /x to /y"."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, or `buildlib prune`, and run it again"
        return StoreFull(f"no space left while {doing}", hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{doing}: {error.strerror}", hint="use a store of your own: --root DIR")
    return StoreError(f"{doing}: {error.strerror or error}")
