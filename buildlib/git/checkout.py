"""The files of a git repository: which commit is meant now, and a folder with what is in it.

What was fetched is kept in a bare repository beside the cache mounts, so that the next commit costs the difference.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from buildlib.content import temporary
from buildlib.errors import CopyError, DigestMismatch, NotFound, TransportError, from_os_error
from buildlib.git.program import Git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildlib.git import Repository
    from buildlib.store import Store

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class Resolved(NamedTuple):
    """A commit, and the ref of the server that led to it ("" where a commit was asked for)."""

    commit: str
    ref: str
    tag: str = ""
    """The annotated tag object, where there is one."""


def resolve(
    store: Store,
    wanted: Repository,
    *,
    authorization: str | None = None,
    check: Callable[[], None] | None = None,
) -> Resolved:
    """Which commit is meant now: a question to the server, unless a whole commit is named.

    Raises :class:`NotFound` for a ref that is not there, :class:`DigestMismatch` when it is another commit than
    wanted, :class:`TransportError`.
    """
    if _COMMIT.fullmatch(wanted.ref):
        found = Resolved(wanted.ref, "")
    else:
        git = Git(store.tmp, wanted.url, authorization, check)
        patterns = [wanted.ref, f"{wanted.ref}^{{}}"] if wanted.ref else ["HEAD"]
        listed = git.output("ls-remote", "--", wanted.url, *patterns)
        refs = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
        found = _choose(refs, wanted)
    if wanted.commit and not any(has.startswith(wanted.commit) for has in (found.commit, found.tag)):
        hint = "the ref has moved; if that is right, change the checksum"
        message = f"{wanted}: expected the commit {wanted.commit}, got {found.commit}"
        raise DigestMismatch(message, hint=hint, expected=wanted.commit, actual=found.commit)
    return found


def _choose(refs: dict[str, str], wanted: Repository) -> Resolved:
    """By the rules of gitrevisions(7)."""
    ref = wanted.ref
    for name in (ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}") if ref else ("HEAD",):
        if name in refs:
            target = refs.get(f"{name}^{{}}")
            return Resolved(target or refs[name], name, refs[name] if target else "")
    hint = "give a branch, a tag or a whole commit" if ref else "the repository is empty"
    raise NotFound(f"{wanted.url}: there is no ref {ref or 'HEAD'}", hint=hint, kind="ref", name=ref)


@contextmanager
def checkout(
    store: Store,
    wanted: Repository,
    found: Resolved,
    *,
    authorization: str | None = None,
    check: Callable[[], None] | None = None,
) -> Iterator[str]:
    """The folder, for the length of the block, with the files of the commit. What was fetched is kept for next time.

    Raises :class:`TransportError`, :class:`CopyError` when the subdirectory is not there, :class:`StoreFull`.
    """
    from buildlib.snapshot.tree import remove_tree

    folder = temporary(store.tmp)
    git = Git(store.tmp, wanted.url, authorization, check)
    try:
        try:
            os.mkdir(folder, 0o755)
            with _mirror(store, git, wanted.url) as mirror:
                _fetch(git, mirror, wanted, found)
                _place(git, mirror, folder, wanted, found)
        except OSError as error:
            raise from_os_error(error, f"checking out {wanted}") from error
        yield _inside(folder, wanted)
    finally:
        remove_tree(folder)


@contextmanager
def _mirror(store: Store, git: Git, url: str) -> Iterator[str]:
    """A bare repository of our own that keeps what was fetched from ``url``; one process at a time."""
    import hashlib

    name = "git-" + hashlib.sha256(url.encode()).hexdigest()[:32]
    path = f"{store.root}/caches/{name}"
    with store.lease(f"cache:{name}"):
        os.makedirs(path, 0o700, exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.path.exists(f"{path}/HEAD"):
                git.run("init", "--quiet", "--bare", "--template=", "--", path)
            yield path
        finally:
            os.close(fd)


def _fetch(git: Git, mirror: str, wanted: Repository, found: Resolved) -> None:
    """Have the commit in the mirror, with as little history as the server allows."""
    if _has(git, mirror, found.commit):
        return
    quiet = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force")
    attempts = [("--depth=1", found.ref or found.commit), ("--depth=1", found.commit), (found.ref or found.commit,)]
    problem: TransportError | None = None
    for *options, what in attempts:
        try:
            git.run(*quiet, *options, "--", wanted.url, what, git_dir=mirror)
        except TransportError as error:  # no shallow history over dumb HTTP; no commits by name; the ref has moved
            problem = problem or error
        if _has(git, mirror, found.commit):
            return
    with suppress(TransportError):  # the last resort: everything
        git.run(*quiet, "--", wanted.url, "+refs/*:refs/remotes/*", git_dir=mirror)
    if not _has(git, mirror, found.commit):
        message = f"{wanted.url}: the commit {found.commit} can't be fetched"
        raise problem or NotFound(message, kind="commit", name=found.commit)


def _has(git: Git, mirror: str, commit: str) -> bool:
    return git.succeeds("cat-file", "-e", f"{commit}^{{commit}}", git_dir=mirror)


def _place(git: Git, mirror: str, folder: str, wanted: Repository, found: Resolved) -> None:
    """The files of the commit in ``folder``."""
    modules = wanted.submodules and git.succeeds("cat-file", "-e", f"{found.commit}:.gitmodules", git_dir=mirror)
    if modules or wanted.keep_git_dir:
        _clone(git, mirror, folder, wanted.url, found)
        if modules:
            git.run("-C", folder, "submodule", "--quiet", "update", "--init", "--recursive", "--checkout", "--depth=1")
        if not wanted.keep_git_dir:
            _strip(folder)
    else:
        # Plumbing: it makes the files and does nothing else.
        try:
            git.run("read-tree", found.commit, git_dir=mirror, work_tree=folder)
            git.run("checkout-index", "--all", git_dir=mirror, work_tree=folder)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}.index")
    if wanted.commit_times:
        when = int(git.output("show", "--no-patch", "--format=%ct", found.commit, git_dir=mirror))
        for top, folders, files in os.walk(folder, topdown=False):
            for name in (*files, *folders):
                os.utime(f"{top}/{name}", (when, when), follow_symlinks=False)


def _clone(git: Git, mirror: str, folder: str, url: str, found: Resolved) -> None:
    """A repository of its own in ``folder``, as a shallow clone of ``url`` would have made it."""
    git.run("init", "--quiet", "--template=", "--", folder)
    git.run("-C", folder, "remote", "add", "--", "origin", url)
    tag = found.ref.startswith("refs/tags/")
    what = f"+{found.tag or found.commit}:{found.ref}" if tag else found.commit
    options = ("--quiet", "--no-tags", "--depth=1", "--update-shallow", "--no-write-fetch-head")
    git.run("-C", folder, "fetch", *options, "--", f"file://{mirror}", what, local=True)
    git.run("-C", folder, "checkout", "--quiet", "--detach", "--force", found.commit)
    git.run("-C", folder, "reflog", "expire", "--expire=now", "--all")


def _strip(folder: str) -> None:
    """Take away ``.git`` everywhere: the folder at the top, the files in submodules."""
    from buildlib.snapshot.tree import remove_tree

    for top, folders, files in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
            remove_tree(f"{top}/.git")
        elif ".git" in files:
            os.unlink(f"{top}/.git")


def _inside(folder: str, wanted: Repository) -> str:
    """The subdirectory, looked up within the folder: a link in the repository leads nowhere else."""
    from buildlib.linux.beneath import open_in_root

    if not wanted.subdir:
        return folder
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(root, wanted.subdir, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        message = f"{wanted}: there is no directory {wanted.subdir} in the repository"
        raise CopyError(message, path=wanted.subdir) from error
    finally:
        os.close(root)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
