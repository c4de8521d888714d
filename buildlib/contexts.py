"""Build contexts: a folder to take files from, of this machine or fetched: a git repository, an archive, one file.

What was fetched lies in the store's ``tmp`` and goes with the context. It decides nothing about Dockerfiles.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from buildlib.content import PIECE, temporary
from buildlib.errors import UsageError, from_os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from buildlib.git import Repository
    from buildlib.store import Store


class Context:
    """A folder to take files from; as a context manager, what was fetched for it is gone at the end of the block."""

    def __init__(self, path: str, *, fetched: bool = False, file: str | None = None, origin: str = "") -> None:
        self.path = path
        """The folder, absolute."""
        self.fetched = fetched
        """Whether it came from elsewhere: then no ignore file of it counts, as docker has it."""
        self.file = file
        """The name of the only file, where what was fetched is no archive."""
        self.origin = origin
        """What it is, for people: a commit, a digest."""
        self._stack = ExitStack()

    def close(self) -> None:
        """Delete what was fetched."""
        self._stack.close()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def open_context(
    store: Store,
    where: str | int,
    *,
    authorization: str | None = None,
    keep_git_dir: bool | None = None,
    check: Callable[[], None] | None = None,
) -> Context:
    """See :meth:`Store.context`; ``check`` is called while something is fetched, and may raise to end that."""
    from buildlib import git
    from buildlib.fetch import is_url

    if isinstance(where, int):
        return _of_stream(store, where)
    wanted = git.parse(where, context=True)
    if wanted is not None:
        if wanted.keep_git_dir is None:
            wanted = wanted._replace(keep_git_dir=keep_git_dir)
        return _of_repository(store, wanted, authorization, check)
    if is_url(where):
        return _of_url(store, where, authorization, check)
    if not os.path.isdir(where):
        problem = "is not a folder" if os.path.exists(where) else "is not there"
        raise UsageError(f"the context {where} {problem}", hint="give the folder that COPY and ADD take from")
    return Context(os.path.abspath(where))


def _of_repository(
    store: Store, wanted: Repository, authorization: str | None, check: Callable[[], None] | None
) -> Context:
    from buildlib.git.checkout import checkout, resolve

    found = resolve(store, wanted, authorization=authorization, check=check)
    with ExitStack() as stack:
        files = checkout(store, wanted, found, authorization=authorization, check=check)
        context = Context(stack.enter_context(files), fetched=True, origin=found.commit)
        context._stack = stack.pop_all()
    return context


def _of_url(store: Store, url: str, authorization: str | None, check: Callable[[], None] | None) -> Context:
    from buildlib.fetch import as_file, fetch
    from buildlib.layer.archive import is_archive

    found = fetch(store, url, authorization=authorization, check=check)
    with ExitStack() as stack:
        stack.enter_context(store.lease(f"blob:{found.digest}"))
        with store.blobs.open(found.digest) as blob:
            if is_archive(blob.fileno()):
                context = Context(stack.enter_context(_unpacked(store, blob.fileno())), fetched=True)
            else:
                path = stack.enter_context(as_file(store, found))
                context = Context(path, fetched=True, file=found.name)
        context.origin = found.digest
        context._stack = stack.pop_all()
    return context


def _of_stream(store: Store, fd: int) -> Context:
    """What comes from a pipe or file: an archive, or one file, called Dockerfile."""
    from buildlib.layer.archive import is_archive

    with ExitStack() as stack:
        folder = stack.enter_context(_folder(store))
        path = f"{folder}/Dockerfile"
        try:
            _spool(fd, path)
            with open(path, "rb") as file:
                if not is_archive(file.fileno()):
                    context = Context(folder, fetched=True, file="Dockerfile")
                else:
                    context = Context(stack.enter_context(_unpacked(store, file.fileno())), fetched=True)
        except OSError as error:
            raise from_os_error(error, "reading the build context") from error
        context._stack = stack.pop_all()
    return context


def _spool(fd: int, path: str) -> None:
    with open(path, "xb") as file:
        while data := os.read(fd, PIECE):
            file.write(data)


@contextmanager
def _folder(store: Store) -> Iterator[str]:
    from buildlib.snapshot.tree import remove_tree

    path = temporary(store.tmp)
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        raise from_os_error(error, f"making {path}") from error
    try:
        yield path
    finally:
        remove_tree(path)


@contextmanager
def _unpacked(store: Store, archive: int) -> Iterator[str]:
    """A folder with the files of an archive; all of them are ours: who owned them elsewhere means nothing."""
    from buildlib.layer.archive import extract_archive

    with _folder(store) as path:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.lseek(archive, 0, os.SEEK_SET)
            extract_archive(archive, root, "/", chown=(os.geteuid(), os.getegid()))
        finally:
            os.close(root)
        yield path
