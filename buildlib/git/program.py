"""Running ``git``: with an environment of our own making, and so that it can be stopped at any time.

No hooks, no settings of the machine or of the user, no questions, no protocol that reads local files or runs commands.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from buildlib.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.logAllRefUpdates": "false",
    "core.symlinks": "true",
    "credential.helper": "",
    "advice.detachedHead": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "init.defaultBranch": "main",
    "protocol.version": "2",
}
_PATIENCE = 0.1
"""Seconds between two looks whether the caller has given up."""


class Git:
    """The program, for one remote repository. ``check`` is called while it runs, and may raise to end it."""

    def __init__(self, tmp: str, url: str, authorization: str | None, check: Callable[[], None] | None) -> None:
        self._tmp = tmp
        self._check = check
        settings = dict(_SETTINGS)
        if authorization is not None:
            # By the environment: arguments are seen by every user. No redirect may lead the header elsewhere.
            settings[f"http.{url}.extraHeader"] = f"Authorization: {authorization}"
            settings["http.followRedirects"] = "false"
        self._environment = _environment(settings)

    def run(self, *words: str, git_dir: str | None = None, work_tree: str | None = None, local: bool = False) -> None:
        """Run ``git``; ``local`` permits a repository of this machine. Raises :class:`TransportError`."""
        self.output(*words, git_dir=git_dir, work_tree=work_tree, local=local)

    def succeeds(self, *words: str, git_dir: str | None = None) -> bool:
        """Whether it ends with 0."""
        code, _, _ = self._execute(words, git_dir, None, False)
        return code == 0

    def output(self, *words: str, git_dir: str | None = None, work_tree: str | None = None, local: bool = False) -> str:
        """As :meth:`run`; return what it printed."""
        code, out, err = self._execute(words, git_dir, work_tree, local)
        if code != 0:
            said = [line.strip() for line in err.splitlines() if line.strip()]
            why = next((line for line in said if line.startswith(("fatal: ", "error: "))), said[-1] if said else "")
            verb = next((word for word in words if not word.startswith(("-", "/"))), "")
            why = why.partition(": ")[2] or why or f"exit code {code}"
            raise TransportError(f"git {verb}: {why}", hint=_advice(err))
        return out

    def _execute(
        self, words: tuple[str, ...], git_dir: str | None, work_tree: str | None, local: bool
    ) -> tuple[int, str, str]:
        import subprocess

        environment = dict(self._environment)
        if git_dir is not None:
            environment["GIT_DIR"] = git_dir
        if work_tree is not None:
            environment |= {"GIT_WORK_TREE": work_tree, "GIT_INDEX_FILE": f"{work_tree}.index"}
        if local:
            environment["GIT_ALLOW_PROTOCOL"] = "file"
        try:
            process = subprocess.Popen(
                ["git", *words],
                cwd=self._tmp,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError:
            hint = "install it: apt-get install git"
            raise TransportError(
                "git is not installed, and what is wanted lies in a git repository", hint=hint
            ) from None
        with process:
            out, err = self._wait(process)
        return process.returncode, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "replace")

    def _wait(self, process: Popen[bytes]) -> tuple[bytes, bytes]:
        import signal
        import subprocess

        try:
            while True:
                try:
                    return process.communicate(timeout=_PATIENCE)
                except subprocess.TimeoutExpired:
                    if self._check is not None:
                        self._check()
        except BaseException:
            # Its helpers for HTTP and ssh are in its session, and end with it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def _environment(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in (*_KEPT, *_PROXIES, *map(str.upper, _PROXIES)) if name in os.environ}
    numbered = {
        "GIT_CONFIG_COUNT": str(len(settings)),
        **{f"GIT_CONFIG_KEY_{number}": name for number, name in enumerate(settings)},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(settings.values())},
    }
    return {
        **kept,
        **numbered,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:git",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }


def _advice(said: str) -> str | None:
    if "terminal prompts disabled" in said or "Authentication failed" in said or "403" in said:
        return "the repository wants a login, or is not there"
    if "Host key verification failed" in said:
        return "let ssh know the host first: connect to it once, or add it to known_hosts"
    if "Permission denied (publickey" in said:
        return "the SSH agent has no key that the server takes: SSH_AUTH_SOCK says which agent it is"
    return None
