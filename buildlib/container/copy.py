"""COPY, ADD and mkdir: what they depend on, and handing them to the worker.

The rules of names, owners and modes stand in :mod:`buildlib.worker.copying`.
"""

from __future__ import annotations

import base64
import os
import posixpath
import re
from typing import TYPE_CHECKING, Any

from buildlib.cache import Step
from buildlib.container.inputs import Folder, View, digest, held, store_of, view
from buildlib.container.performing import Call, perform
from buildlib.errors import UsageError
from buildlib.patterns import IgnorePatterns, clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildlib.container import WorkingContainer
    from buildlib.worker.copying.request import Request

_URL = re.compile(r"(?:https?|ftp|git|ssh)://|git@")


def request(
    sources: Sequence[str],
    origin: Folder | View | None,
    *,
    chown: str | None,
    chmod: str | int | None,
    exclude: Sequence[str],
    ignore: IgnorePatterns | Sequence[str],
    contents: Mapping[str, bytes | str] | None,
    **more: Any,
) -> Request:
    """The copy as data. Raises :class:`UsageError` for a mode or a name that can't be meant."""
    from buildlib.worker.copying.modes import Chmod
    from buildlib.worker.copying.request import Request
    from buildlib.worker.copying.rules import file_name

    if not sources and not contents:
        raise UsageError("there is nothing to copy: no source is given")
    mode = f"{chmod:o}" if isinstance(chmod, int) else chmod or None
    if mode is not None:
        Chmod.parse(mode)
    patterns = ignore if isinstance(ignore, IgnorePatterns) else IgnorePatterns.of(tuple(ignore), source="ignore")
    inside = isinstance(origin, View)
    return Request(
        tuple(sources),
        origin.what if origin is not None else "",
        chown or None,
        mode,
        keep_owner=inside,
        strip=not inside,
        exclude=tuple(exclude),
        ignore=tuple((p.text, p.negated, p.line, p.source) for p in patterns.patterns),
        contents=tuple((file_name(name), _encode(data), 0o644) for name, data in (contents or {}).items()),
        **more,
    )


def _encode(data: bytes | str) -> str:
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return base64.b64encode(raw).decode()


def locate(
    container: WorkingContainer, sources: Sequence[str], context: str | None, from_: Any
) -> tuple[tuple[str, ...], Folder | View | None]:
    """Where the sources are, and their names seen from there.

    Without a context they are paths of the host, as buildah-copy(1) takes them; with one they can't leave it.
    """
    for source in sources:
        if _URL.match(source):
            hint = "download it first, then copy the file"
            raise UsageError(f"{source}: copying from the network is not there yet", hint=hint)
    if from_ is not None:
        return tuple(sources), view(container.store, from_)
    if not sources:
        return (), None
    if context is not None:
        path = os.path.abspath(context)
        return tuple(sources), Folder(path, f"the build context {path}")
    return tuple(_absolute(source) for source in sources), Folder("/", "")


def _absolute(source: str) -> str:
    """An absolute path; what a trailing slash, "." or "/./" says is kept."""
    return source if source.startswith("/") else posixpath.join(os.getcwd(), source)


def copy(
    container: WorkingContainer,
    kind: str,
    paths: Sequence[str],
    dest: str | None,
    *,
    context: str | None,
    from_: Any,
    created_by: str | None,
    comment: str | None,
    unpack: bool = False,
    **options: Any,
) -> bool:
    """See :meth:`WorkingContainer.copy`; ``kind`` is "copy" or "add"."""
    sources = tuple(paths)
    if dest is None:
        sources, dest = sources[:-1], "".join(sources[-1:])
    if not dest:
        raise UsageError("there is no destination to copy to")
    named, origin = locate(container, sources, context, from_)
    store = container.store
    skip = store_of(store) if isinstance(origin, Folder) else ()
    wanted = request(named, origin, skip=skip, **options)
    values = {
        "dest": absolute_dest(dest, container.state.config.config.working_dir),
        "unpack": unpack,
        "keep_owner": wanted.keep_owner,
        "chown": wanted.chown,
        "chmod": wanted.chmod,
        "parents": wanted.parents,
    }

    def step() -> Step:
        found, names = digest(store, origin, wanted)
        # Names of sources are in the digest as far as they become names of files.
        return Step(kind, values, (found,), names)

    def execute() -> dict[str, Any]:
        args = {**wanted._asdict(), **values, **(origin.to_dict() if origin is not None else {})}
        args.update(key=container.id, below=list(container.layers))
        args["digest"] = container.state.cache and isinstance(origin, Folder)
        with held(store, origin):
            reply: dict[str, Any] = store.worker.call("copy", args)
        return reply

    def verify(reply: dict[str, Any], step: Step) -> bool:
        return reply.get("digest") is None or reply["digest"] == step.inputs[0]

    shown = f"{kind.upper()} {' '.join([*sources, *(options['contents'] or ())])} {dest}"
    call = Call(
        step,
        execute,
        created_by if created_by is not None else shown,
        comment or "",
        recorded=created_by is not None,
        verify=verify,
    )
    return perform(container, call).cached


def absolute_dest(dest: str, workdir: str) -> str:
    """``dest`` from the root; what is or names the working directory is a directory, and ends with a slash.

    >>> absolute_dest("app", "/srv"), absolute_dest(".", "/srv"), absolute_dest("/srv", "/srv")
    ('/srv/app', '/srv/', '/srv/')
    """
    home = clean(posixpath.join("/", workdir or "/"))
    path = clean(posixpath.join(home, dest))
    directory = path == home or posixpath.basename(dest) in ("", ".", "..")
    return path.rstrip("/") + "/" if directory else path


def mkdir(
    container: WorkingContainer, path: str, mode: int, owner: str, created_by: str | None, comment: str | None
) -> bool:
    """See :meth:`WorkingContainer.mkdir`."""
    inside = container.state.config.config.working_dir or "/"
    whole = posixpath.normpath(posixpath.join("/", inside, path))
    if not 0 <= mode <= 0o7777:
        raise UsageError(f"{mode:o} is not a mode", hint="a mode is octal, like 0o755")
    values = {"path": whole, "mode": mode, "owner": owner or "0:0"}

    def execute() -> Any:
        args = {"key": container.id, "parents": list(container.layers), **values}
        return container.store.worker.call("mkdir", args)

    call = Call(
        lambda: Step("mkdir", values),
        execute,
        created_by if created_by is not None else f"MKDIR {whole}",
        comment or "",
        recorded=created_by is not None,
    )
    return perform(container, call).cached
