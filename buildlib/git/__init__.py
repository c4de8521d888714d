"""Git repositories as sources of files: what a URL means. Pure; see ``checkout`` for the files.

What a repository holds is never executed.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from buildlib.errors import UsageError

_SCP = re.compile(r"(?:[A-Za-z0-9._][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!//)(.+)")
"""``user@host:path``, as ssh writes it."""
_HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:\]-]*")
_TRUE, _FALSE = ("", "1", "true"), ("0", "false")


class Repository(NamedTuple):
    """What of which repository is wanted."""

    url: str
    ref: str = ""
    """A branch, a tag, a full ref or a commit; "" is what the server's HEAD says."""
    subdir: str = ""
    commit: str = ""
    """The commit, or its beginning, that ``ref`` must be."""
    keep_git_dir: bool | None = None
    submodules: bool = True
    commit_times: bool = False
    """Files get the time of the commit, not that of now."""

    def __str__(self) -> str:
        wanted = f"{self.ref}:{self.subdir}" if self.subdir else self.ref
        return f"{self.url}#{wanted}" if wanted else self.url


def parse(text: str, *, context: bool = False) -> Repository | None:
    """The repository that a source means, None where it is none.

    ``git@host:path``, ``ssh://``, ``git://``, and ``http(s)://`` with a path that ends with ``.git``; with
    ``context`` also ``github.com/owner/name``. Behind it ``#ref:subdir``, or a query of ``ref``, ``tag``, ``branch``,
    ``commit`` (``checksum``), ``subdir``, ``keep-git-dir``, ``submodules``, ``mtime=commit|checkout`` (Dockerfile
    reference, "ADD", and docker's documentation of remote contexts). Raises :class:`UsageError`.

    >>> parse("https://example.com/a.git#v1:src")
    Repository(url='https://example.com/a.git', ref='v1', subdir='src', commit='', keep_git_dir=None, \
submodules=True, commit_times=False)
    """
    if context and text.startswith("github.com/"):
        text = f"https://{text}"
        if "#" not in text and "?" not in text and not text.endswith(".git"):
            text += ".git"
    where, _, fragment = text.partition("#")
    where, _, query = where.partition("?")
    if not _is_repository(where, github=context):
        return None
    _check_host(where)
    ref, _, subdir = fragment.partition(":")
    found = Repository(where, ref, _folder(unquote(subdir)))
    for name, value in parse_qsl(query, keep_blank_values=True):
        found = _with(found, name, value, text)
    if found.ref.startswith("-") or found.ref.endswith(".lock") or re.search(r"[\x00-\x20~^:?*\[\\]|\.\.", found.ref):
        raise UsageError(f"{found.ref[:100]!r} is no name for a git ref")
    return found


def _is_repository(where: str, *, github: bool) -> bool:
    if where.startswith(("http://", "https://")):
        return where.endswith(".git") or (github and bool(re.match(r"https?://github\.com/[^/]+/[^/]+/?\Z", where)))
    if "://" in where:
        return where.startswith(("git://", "ssh://"))
    return where.startswith("git@") or ("@" in where and _SCP.fullmatch(where) is not None)


def _check_host(where: str) -> None:
    """A host that begins with a dash would be an option of ssh."""
    if "://" in where:
        try:
            host = urlsplit(where).hostname or ""
        except ValueError:
            host = ""
    else:
        match = _SCP.fullmatch(where)
        host = match[1] if match else ""
    if not _HOST.fullmatch(host) or re.search(r"[\x00-\x20]", where):
        raise UsageError(f"{where[:200]!r} is no URL of a git repository")


def _with(found: Repository, name: str, value: str, text: str) -> Repository:
    """One more word of the query."""
    if name in ("ref", "tag", "branch"):
        if found.ref:
            raise UsageError(f"{text[:200]}: the ref is given twice")
        prefix = {"ref": "", "tag": "refs/tags/", "branch": "refs/heads/"}[name]
        return found._replace(ref=value if value.startswith("refs/") else prefix + value)
    if name in ("commit", "checksum"):
        return found._replace(commit=checked_commit(value))
    if name == "subdir":
        if found.subdir:
            raise UsageError(f"{text[:200]}: the subdir is given twice")
        return found._replace(subdir=_folder(value))
    if name in ("keep-git-dir", "submodules"):
        if value not in (*_TRUE, *_FALSE):
            raise UsageError(f"{name}={value[:60]} is neither true nor false")
        on = value in _TRUE
        return found._replace(keep_git_dir=on) if name == "keep-git-dir" else found._replace(submodules=on)
    if name == "mtime" and value in ("checkout", "commit"):
        return found._replace(commit_times=value == "commit")
    if name == "fetch-by-commit":  # how it is fetched makes no difference here
        return found
    hint = "there are ref, tag, branch, commit, subdir, keep-git-dir, submodules and mtime"
    raise UsageError(f"{text[:200]}: {name[:60]}={value[:60]} means nothing for a git repository", hint=hint)


def checked_commit(text: str) -> str:
    """A commit or its beginning (7 digits at least), as a checksum. Raises :class:`UsageError`."""
    if not re.fullmatch(r"[0-9a-f]{7,64}", text):
        raise UsageError(f"{text[:100]!r} is not the checksum of a git commit", hint="it is the commit in hex")
    return text


def _folder(path: str) -> str:
    return posixpath.normpath("/" + path).lstrip("/")
