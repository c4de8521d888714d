"""Where COPY and ADD put things: names, trailing slashes, the pivot of ``--parents``. Pure text, no file is looked at.

Sources: Dockerfile reference, "COPY"; buildah-copy(1). Where the two differ, the comment says who is followed.
"""

from __future__ import annotations

import posixpath

from buildlib.errors import CopyError
from buildlib.oci.value import NamedTuple
from buildlib.patterns import IgnorePattern, IgnorePatterns, clean


class Destination(NamedTuple):
    """A destination inside a container."""

    path: str
    """Absolute and clean; symbolic links in it are still to be resolved."""
    directory: bool
    """Whether it has to be a directory: what is there must be one, and a missing one is made."""

    @classmethod
    def parse(cls, dest: str, workdir: str, count: int) -> Destination:
        """The meaning of ``dest`` for ``count`` sources; a relative one starts at ``workdir``.

        >>> Destination.parse("app/", "/srv", 1)
        Destination(path='/srv/app', directory=True)
        >>> Destination.parse("app", "/srv", 1)
        Destination(path='/srv/app', directory=False)
        """
        home = clean(posixpath.join("/", workdir or "/"))
        path = clean(posixpath.join(home, dest))
        last = dest.rpartition("/")[2]
        return cls(path, last in ("", ".", "..") or count > 1 or path == home)


def clean_source(source: str) -> str:
    """``source`` relative to its root: "../" can't leave it, a leading or trailing slash means nothing; "" is the root.

    >>> clean_source("../a/./b/")
    'a/b'
    """
    return clean("/" + source)[1:]


def split_pivot(source: str) -> tuple[str, str]:
    """The base directory and the pattern of a source of ``--parents``: the first ``/./`` divides them.

    >>> split_pivot("./x/./y/*.txt"), split_pivot("x/y")
    (('x', 'y/*.txt'), ('', 'x/y'))
    """
    text = source.removeprefix("./") if source.startswith("./") else source.lstrip("/")
    base, pivot, rest = text.partition("/./")
    if not pivot:
        base, rest = "", text
    return clean_source(base), clean_source(rest)


def only(pattern: str) -> IgnorePatterns:
    """Patterns that leave out all but ``pattern``, which is one of docker's pattern matcher, and what is below."""
    texts = (("**", False), (pattern, True)) if pattern else ()
    return IgnorePatterns(tuple(IgnorePattern(text, keep, 0, "--parents") for text, keep in texts))


def file_name(name: str) -> str:
    """Check the name of a file given by content (a heredoc, a download)."""
    base = posixpath.basename(name)
    if base in ("", ".", "..") or "\0" in name:
        raise CopyError(f"{name!r} is not a name for a file", path=name)
    return base
