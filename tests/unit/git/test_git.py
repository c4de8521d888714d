"""Git repositories: what a URL means, which commit it is, and the files of that commit and nothing else."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.errors import Cancelled, CopyError, DigestMismatch, NotFound, TransportError, UsageError
from buildlib.git import Repository, parse
from buildlib.git.checkout import checkout, resolve
from buildlib.git.program import Git

if TYPE_CHECKING:
    from buildlib.store import Store
    from tests.unit.upstream import Upstream


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://h/a.git", Repository("https://h/a.git")),
        ("https://h/a.git#v1", Repository("https://h/a.git", "v1")),
        ("https://h/a.git#v1:src/x", Repository("https://h/a.git", "v1", "src/x")),
        ("https://h/a.git#:/../src/", Repository("https://h/a.git", "", "src")),
        ("git@h:o/a.git#main", Repository("git@h:o/a.git", "main")),
        ("ssh://git@h:22/a", Repository("ssh://git@h:22/a")),
        ("git://h/a", Repository("git://h/a")),
        ("https://h/a.git?branch=b&subdir=d", Repository("https://h/a.git", "refs/heads/b", "d")),
        ("https://h/a.git?tag=v1&commit=0123456", Repository("https://h/a.git", "refs/tags/v1", commit="0123456")),
        ("https://h/a.git?ref=r&keep-git-dir", Repository("https://h/a.git", "r", keep_git_dir=True)),
        ("https://h/a.git?submodules=false", Repository("https://h/a.git", submodules=False)),
        ("https://h/a.git?mtime=commit", Repository("https://h/a.git", commit_times=True)),
        ("https://h/a.tar.gz", None),
        ("https://h/a?x=.git", None),
        ("file:///a.git", None),
        ("ext::sh -c id", None),
        ("/a/b.git", None),
        ("a.git", None),
        ("github.com/o/a", None),
        ("host:path", None),
    ],
)  # fmt: skip
def test_urls(text: str, found: Repository | None) -> None:
    assert parse(text) == found


def test_a_context_may_leave_the_scheme_of_github_out() -> None:
    assert parse("github.com/o/a", context=True) == Repository("https://github.com/o/a.git")
    assert parse("github.com/o/a.git#r:d", context=True) == Repository("https://github.com/o/a.git", "r", "d")
    assert parse("https://github.com/o/a#r", context=True) == Repository("https://github.com/o/a", "r")


@pytest.mark.parametrize(
    "text",
    [
        "ssh://-oProxyCommand=id/x.git",
        "git@-oProxyCommand=id:x.git",
        "https://h/a.git#--upload-pack=id",
        "https://h/a.git#a..b",
        "https://h/a.git?nope=1",
        "https://h/a.git?ref=a&branch=b",
        "https://h/a.git?commit=xyz",
        "https://h/a.git?keep-git-dir=maybe",
        "https:///a.git",
        "git://h/a\nb",
    ],
)
def test_what_can_not_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def files(folder: str) -> dict[str, str]:
    root = Path(folder)
    return {
        str(p.relative_to(root)): p.read_text()
        for p in sorted(root.rglob("*"))
        if p.is_file() and ".git/" not in str(p)
    }


def get(store: Store, url: str, **options: object) -> dict[str, str]:
    wanted = parse(url)
    assert wanted is not None
    with checkout(store, wanted._replace(**options), resolve(store, wanted)) as folder:
        return files(folder)


def test_refs_lead_to_commits(store: Store, upstream: Upstream) -> None:
    url = upstream.repository("a")
    first = upstream.commit("a", f="1")
    upstream.git("a", "tag", "light")
    upstream.git("a", "tag", "-a", "-m", "m", "heavy")
    tag = upstream.git("a", "rev-parse", "refs/tags/heavy")
    upstream.git("a", "branch", "feature/main")
    second = upstream.commit("a", f="2")
    upstream.git("a", "branch", "light")

    def commit(ref: str) -> str:
        return resolve(store, Repository(url, ref)).commit

    assert commit("") == commit("main") == commit("refs/heads/main") == commit("heads/main") == second
    assert commit("light") == commit("feature/main") == commit("heavy") == first
    assert commit("refs/heads/light") == second
    assert commit(first) == first
    resolve(store, Repository(url, "heavy", commit=tag[:10]))
    resolve(store, Repository(url, "heavy", commit=first))
    with pytest.raises(DigestMismatch, match=first):
        resolve(store, Repository(url, "heavy", commit=second))
    with pytest.raises(NotFound, match="there is no ref nope"):
        commit("nope")


def test_the_files_of_a_commit(store: Store, upstream: Upstream) -> None:
    url = upstream.repository("a")
    first = upstream.commit("a", f="1", d__g="x", d__e__h="y")
    (upstream.folder / "a" / "f").chmod(0o755)
    upstream.commit("a", f="2")
    assert get(store, url) == {"f": "2", "d/g": "x", "d/e/h": "y"}
    assert get(store, f"{url}#{first}")["f"] == "1"
    assert get(store, f"{url}#main:d/e") == {"h": "y"}
    with checkout(store, Repository(url), resolve(store, Repository(url))) as folder:
        assert (Path(folder) / "f").stat().st_mode & 0o777 == 0o755
        assert not (Path(folder) / ".git").exists()
    assert not Path(folder).exists()
    assert list(Path(store.tmp).iterdir()) == []


def test_a_branch_that_moves_is_followed(store: Store, upstream: Upstream) -> None:
    url = upstream.repository("a")
    upstream.commit("a", f="1")
    assert get(store, url) == {"f": "1"}
    upstream.commit("a", f="2")
    assert get(store, url) == {"f": "2"}


def test_the_git_directory_can_be_kept(store: Store, upstream: Upstream) -> None:
    url = upstream.repository("a")
    commit = upstream.commit("a", f="1")
    upstream.git("a", "tag", "-a", "-m", "m", "v1")
    wanted = Repository(url, "v1", keep_git_dir=True)
    with checkout(store, wanted, resolve(store, wanted)) as folder:
        git = Git(store.tmp, url, None, None)
        assert git.output("-C", folder, "rev-parse", "HEAD").strip() == commit
        assert git.output("-C", folder, "status", "--porcelain") == ""
        assert git.output("-C", folder, "describe").strip() == "v1"
        assert git.output("-C", folder, "remote", "get-url", "origin").strip() == url
        assert store.root not in (Path(folder) / ".git" / "config").read_text()


def test_submodules_come_along(store: Store, upstream: Upstream) -> None:
    inner, url = upstream.repository("inner"), upstream.repository("a")
    upstream.commit("inner", g="in")
    upstream.commit("a", f="1")
    upstream.git("a", "submodule", "add", "--quiet", inner, "sub")
    upstream.git("a", "commit", "--quiet", "-m", "m")
    found = get(store, url)
    assert (found["f"], found["sub/g"], ".git" in found, "sub/.git" in found) == ("1", "in", False, False)
    assert "sub/g" not in get(store, url, submodules=False)


def test_no_submodule_reaches_this_machine(store: Store, upstream: Upstream, tmp_path: Path) -> None:
    url = upstream.repository("a")
    upstream.repository("secret")
    upstream.commit("secret", s="s")
    upstream.git("a", "submodule", "add", "--quiet", str(upstream.folder / "secret"), "sub")
    upstream.commit("a", f="1")
    with pytest.raises(TransportError, match="transport 'file' not allowed"):
        get(store, url)


def test_nothing_that_a_repository_holds_is_executed(store: Store, upstream: Upstream, tmp_path: Path) -> None:
    url = upstream.repository("a")
    proof = tmp_path / "proof"
    upstream.commit(
        "a", _dot_gitattributes="* filter=evil\n", hooks__post_checkout=f"#!/bin/sh\ntouch {proof}\n", f="1"
    )
    assert get(store, url)["f"] == "1"
    get(store, url, keep_git_dir=True)
    assert not proof.exists()


def test_a_link_to_the_outside_leads_nowhere(store: Store, upstream: Upstream) -> None:
    url = upstream.repository("a")
    (upstream.folder / "a" / "out").symlink_to("/etc")
    upstream.commit("a", f="1")
    with pytest.raises(CopyError, match="there is no directory out"):
        get(store, f"{url}#main:out")
    with pytest.raises(CopyError, match="there is no directory nope"):
        get(store, f"{url}#main:nope")


def test_times_can_be_those_of_the_commit(store: Store, upstream: Upstream) -> None:
    url = upstream.repository("a")
    upstream.commit("a", d__f="1")
    wanted = Repository(url, commit_times=True)
    with checkout(store, wanted, resolve(store, wanted)) as folder:
        assert {path.stat().st_mtime for path in Path(folder).rglob("*")} == {1000000000}


def test_a_repository_served_as_plain_files(store: Store, upstream: Upstream) -> None:
    upstream.repository("a")
    upstream.commit("a", f="1")
    upstream.git("a", "update-server-info")
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(upstream.folder / "a")))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        assert get(store, f"http://127.0.0.1:{server.server_port}/.git") == {"f": "1"}
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_fails_says_why(store: Store, upstream: Upstream) -> None:
    with pytest.raises(TransportError, match="git ls-remote: "):
        resolve(store, Repository(f"{upstream.url}/missing"))
    with pytest.raises(NotFound, match="no ref HEAD"):
        resolve(store, Repository(upstream.repository("empty")))


def test_it_can_be_stopped(store: Store, upstream: Upstream) -> None:
    def check() -> None:
        raise Cancelled("enough")

    git = Git(store.tmp, "", None, check)
    with pytest.raises(Cancelled):
        git.run("-c", "alias.wait=!sleep 60", "wait")
