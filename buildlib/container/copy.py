"""COPY, ADD and mkdir: what they depend on, and handing them to the worker.

The rules of names, owners and modes stand in :mod:`buildlib.worker.copying`.
"""

from __future__ import annotations

import os
import posixpath

from buildlib.cache import Step
from buildlib.container.inputs import Folder, View, digest, opened, store_of, view
from buildlib.container.performing import Call, graft, perform
from buildlib.errors import UsageError
from buildlib.oci.value import NamedTuple
from buildlib.patterns import IgnorePatterns, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.inputs import Origin
    from buildlib.store import Store
    from buildlib.worker.copying.request import Request


class Group(NamedTuple):
    """Sources that lie at one place: their names seen from there. ``unpack``: archives among them are extracted."""

    sources: tuple[str, ...]
    origin: Origin
    unpack: bool


class Part(NamedTuple):
    """A group, and what becomes of it."""

    origin: Origin
    request: Request
    unpack: bool


def request(
    sources: Sequence[str],
    origin: Origin,
    *,
    chown: str | None,
    chmod: str | int | None,
    exclude: Sequence[str],
    ignore: IgnorePatterns | Sequence[str],
    contents: Mapping[str, bytes | str] | None,
    keep_setuid: bool = False,
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
        strip=not (inside or keep_setuid),
        exclude=tuple(exclude),
        ignore=tuple((p.text, p.negated, p.line, p.source) for p in patterns.patterns),
        contents=tuple((file_name(name), _encode(data), 0o644) for name, data in (contents or {}).items()),
        **more,
    )


def _encode(data: bytes | str) -> str:
    import base64

    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return base64.b64encode(raw).decode()


def locate(store: Store, sources: Sequence[str], context: str | None, from_: Any) -> tuple[tuple[str, ...], Origin]:
    """Where the sources are, and their names seen from there.

    Without a context they are paths of the host, as buildah-copy(1) takes them; with one they can't leave it.
    """
    if from_ is not None:
        return tuple(sources), view(store, from_)
    if not sources:
        return (), None
    if context is not None:
        path = os.path.abspath(context)
        return tuple(sources), Folder(path, f"the build context {path}")
    return tuple(_absolute(source) for source in sources), Folder("/", "")


def split(
    store: Store, sources: Sequence[str], context: str | None, unpack: bool | None, remote: Mapping[str, Any]
) -> list[Group]:
    """The sources of ADD in order, cut where the place changes."""
    from buildlib.container.remote import remote as find

    groups: list[Group] = []
    here: list[str] = []
    for source in (*sources, None):
        found = find(store, source, **remote) if source is not None else None
        if source is not None and found is None:
            here.append(source)
            continue
        if here:
            groups.append(Group(*locate(store, here, context, None), unpack is not False))
            here = []
        if found is not None:
            groups.append(Group(found.sources, found, unpack is True))
    special = remote.get("checksum") or remote.get("keep_git_dir") is not None
    if special and (len(sources) != 1 or isinstance(groups[0].origin, Folder)):
        raise UsageError("checksum and keep_git_dir are for one source, which lies elsewhere")
    return groups


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
    unpack: bool | None = False,
    link: bool = False,
    follow_links: bool = True,
    remote: Mapping[str, Any] | None = None,
    **options: Any,
) -> bool:
    """See :meth:`WorkingContainer.copy`; ``kind`` is "copy" or "add", which takes what ``remote`` says."""
    options["follow"] = follow_links
    sources = tuple(paths)
    if dest is None:
        sources, dest = sources[:-1], "".join(sources[-1:])
    if not dest:
        raise UsageError("there is no destination to copy to")
    if kind == "add" and from_ is None:
        groups = split(container.store, sources, context, unpack, {**(remote or {}), "requests": container.requests})
    else:
        groups = [Group(*locate(container.store, sources, context, from_), unpack is not False)]
    parts = _parts(container, groups, options)
    target = absolute_dest(dest, container.state.config.config.working_dir)
    if len(parts) > 1 and not target.endswith("/"):
        target += "/"
    call = _call(container, kind, parts, target)
    shown = f"{kind.upper()} {' '.join([*sources, *(options['contents'] or ())])} {dest}"
    said, recorded = (shown, False) if created_by is None else (created_by, True)
    call = call._replace(created_by=said, comment=comment or "", recorded=recorded)
    cached = linked(container, kind, parts, target, call) if link else perform(container, call).cached
    container.requests.answers.clear()
    return cached


def linked(container: WorkingContainer, kind: str, parts: Sequence[Part], dest: str, call: Call) -> bool:
    """Do it in an empty container of its own, whose layer then goes on top: what is below has no say in it."""
    state = container.state
    no_cache = state.no_cache or not state.cache
    with type(container).create(container.store, None, cache=True, no_cache=no_cache, temporary=True) as empty:
        empty.requests, empty.only_cached = container.requests, container.only_cached
        inner = _call(empty, kind, parts, dest)
        cached = perform(empty, inner._replace(created_by=call.created_by)).cached
        graft(container, empty, call)
    return cached


def _parts(container: WorkingContainer, groups: Sequence[Group], options: Mapping[str, Any]) -> list[Part]:
    """The groups as requests; what is given by its content comes last."""
    skip = store_of(container.store)
    contents = options["contents"]
    if not groups or (contents and not isinstance(groups[-1].origin, Folder | View | None)):
        groups = [*groups, Group((), None, False)]
    parts = []
    for number, (names, origin, unpack) in enumerate(groups, 1):
        given = {**options, "contents": contents if number == len(groups) else None}
        wanted = request(names, origin, skip=skip if isinstance(origin, Folder) else (), **given)
        parts.append(Part(origin, wanted, unpack))
    return parts


def _call(container: WorkingContainer, kind: str, parts: Sequence[Part], dest: str) -> Call:
    store, first = container.store, parts[0].request
    values: dict[str, Any] = {
        "dest": dest,
        "unpack": [part.unpack for part in parts] if len(parts) > 1 else parts[0].unpack,
        "keep_owner": first.keep_owner,
        "chown": first.chown,
        "chmod": first.chmod,
        "parents": first.parents,
    }
    if not first.strip and not first.keep_owner:
        values["keep_setuid"] = True
    if not first.follow:
        values["follow"] = False
    if first.timestamp is not None:
        values["timestamp"] = first.timestamp

    def step() -> Step:
        found = [digest(store, part.origin, part.request) for part in parts]
        # Names of sources are in the digest as far as they become names of files.
        names = {name: short for _, one in found for name, short in one.items()}
        return Step(kind, values, tuple(one for one, _ in found), names)

    def execute() -> list[dict[str, Any]]:
        return [_execute(container, part, dest) for part in parts]

    def verify(replies: list[dict[str, Any]], step: Step) -> bool:
        pairs = zip(replies, step.inputs, strict=True)
        return all(reply.get("digest") is None or reply["digest"] == wanted for reply, wanted in pairs)

    return Call(step, execute, "", verify=verify)


def _execute(container: WorkingContainer, part: Part, dest: str) -> dict[str, Any]:
    """Copy one part into the upper."""
    verifiable = isinstance(part.origin, Folder) or getattr(part.origin, "verifiable", False)
    args = {**part.request._asdict(), "dest": dest, "unpack": part.unpack, "key": container.id}
    args.update(below=list(container.layers), digest=container.state.cache and verifiable)
    with opened(container.store, part.origin) as place:
        return container.requests.call("copy", {**args, **place})


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
        return container.requests.call("mkdir", args)

    call = Call(
        lambda: Step("mkdir", values),
        execute,
        created_by if created_by is not None else f"MKDIR {whole}",
        comment or "",
        recorded=created_by is not None,
    )
    return perform(container, call).cached
