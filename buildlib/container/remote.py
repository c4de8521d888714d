"""Sources of ADD that lie elsewhere: a file on the web, a git repository. Asked for once, fetched only when needed.

What the cache knows them by: a file by its content, name and mode, as if it lay here; a repository by its commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from buildlib.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.container.requests import Requests
    from buildlib.fetch import Download
    from buildlib.git import Repository
    from buildlib.git.checkout import Resolved
    from buildlib.registry.access import Access
    from buildlib.store import Store
    from buildlib.worker.copying.request import Request

MODE = 0o600
"""Of a file that came from the web, as docker has it."""


def remote(
    store: Store,
    source: str,
    *,
    checksum: str | None = None,
    keep_git_dir: bool | None = None,
    authorization: str | None = None,
    access: Access | None = None,
    requests: Requests,
) -> Web | Git | None:
    """What is at ``source``, None for a path. ``checksum``: a digest, or a commit. Raises :class:`UsageError`."""
    from buildlib import git
    from buildlib.fetch import is_url

    if ":" not in source:
        return None
    wanted = git.parse(source)
    if wanted is not None:
        if checksum:
            wanted = wanted._replace(commit=git.checked_commit(checksum))
        if keep_git_dir is not None:
            wanted = wanted._replace(keep_git_dir=keep_git_dir)
        return Git(store, wanted, authorization, requests)
    if is_url(source):
        if keep_git_dir:
            raise UsageError(f"{source}: only a git repository has a .git directory to keep")
        return Web(store, source, checksum, authorization, access, requests)
    if source.startswith(("ftp://", "file://")):
        raise UsageError(f"{source}: can't be fetched", hint="http, https and git are known")
    return None


class Web:
    """A file at a URL."""

    verifiable = True
    """Whether the digest is that of the files themselves."""

    def __init__(
        self,
        store: Store,
        url: str,
        checksum: str | None,
        authorization: str | None,
        access: Access | None,
        requests: Requests,
    ) -> None:
        from buildlib.fetch import file_name, without_login

        self.what = without_login(url)
        self.name = file_name(url)
        self._url = url
        self._store = store
        self._answers = requests.answers
        self._options: dict[str, Any] = {"checksum": checksum, "authorization": authorization, "check": requests.check}
        if access is not None:
            self._options["access"] = access

    @property
    def _found(self) -> Download:
        from buildlib.fetch import fetch

        key = ("web", self._url, self._options["checksum"])
        if key not in self._answers:
            self._answers[key] = fetch(self._store, self._url, **self._options)
        found: Download = self._answers[key]
        return found

    @property
    def sources(self) -> tuple[str, ...]:
        """The name of the file in the folder of :meth:`open`, as a pattern that matches nothing else."""
        from buildlib.container.inputs import literal

        return (literal(self.name),)

    def digest(self, request: Request) -> tuple[str, dict[str, str]]:
        """As of the file itself, without having it at hand."""
        from buildlib.worker.copying.digest import TreeDigest

        tree = TreeDigest(request.effect())
        info = os.stat_result((stat.S_IFREG | MODE, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        tree.file(self.name, self.name, info, self._found.digest.partition(":")[2])
        return tree.finish(), {self.what: self._found.digest[7:19]}

    @contextmanager
    def open(self) -> Iterator[str]:
        """A folder that holds the file."""
        from buildlib.fetch import as_file, fetch

        with ExitStack() as stack:
            try:
                folder = stack.enter_context(as_file(self._store, self._found, MODE))
            except NotFound:  # it was collected since we asked for it
                again = fetch(self._store, self._url, **self._options)
                folder = stack.enter_context(as_file(self._store, again, MODE))
            yield folder


class Git:
    """The files of a git repository."""

    verifiable = False
    sources = (".",)

    def __init__(self, store: Store, wanted: Repository, authorization: str | None, requests: Requests) -> None:
        self.what = str(wanted)
        self._store = store
        self._wanted = wanted
        self._answers = requests.answers
        self._options: dict[str, Any] = {"authorization": authorization, "check": requests.check}

    @property
    def _found(self) -> Resolved:
        from buildlib.git.checkout import resolve

        key = ("git", self._wanted)
        if key not in self._answers:
            self._answers[key] = resolve(self._store, self._wanted, **self._options)
        found: Resolved = self._answers[key]
        return found

    def digest(self, request: Request) -> tuple[str, dict[str, str]]:
        """A commit never changes; neither do its files."""
        wanted = self._wanted
        parts = [
            "git", self._found.commit, wanted.subdir, bool(wanted.keep_git_dir), wanted.submodules, request.exclude,
        ]  # fmt: skip
        if wanted.keep_git_dir:
            parts += [wanted.url, self._found.ref, self._found.tag]  # they are written in it
        text = json.dumps(parts, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest(), {self.what: self._found.commit[:12]}

    @contextmanager
    def open(self) -> Iterator[str]:
        """A folder that holds the files."""
        from buildlib.git.checkout import checkout

        with checkout(self._store, self._wanted, self._found, **self._options) as folder:
            yield folder
