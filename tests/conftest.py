"""Fixtures that all tests share: a fresh store, root file systems, and a watch for what the tests leave behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildlib.image import Image
    from buildlib.store import Store

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "BUILDLIB_TEST_SESSION"
"""Every process that a test starts inherits this variable, so that a left-over one is known as ours."""

# Whoever runs the tests in the background of a shell ignores Ctrl-C, and so would all processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
"""
GROUP = """\
root:x:0:
daemon:x:1:
app:x:1000:
video:x:44:app
"""


# --- stores ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A fresh, empty store in a folder of the test's own; closed at the end, so that its worker and mounts are gone."""
    from buildlib.store import Store

    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def busybox_image(store: Store, busybox_tar: str) -> Image:
    """``localhost/busybox:latest`` in ``store``: one layer, ``sh`` and all other applets, a user ``app``."""
    with store.from_image(f"tarball:{busybox_tar}") as container:
        container.config(cmd=["/bin/sh"])
        return container.commit("localhost/busybox:latest")


# --- root file systems ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a root file system of about 2 MB: a static busybox, links for its applets, users, /tmp."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("busybox is not installed: apt-get install busybox-static")
    if b"/ld-" in Path(program).read_bytes()[:4096]:  # an ELF interpreter: it needs libraries from the root it runs in
        pytest.skip(f"{program} is not statically linked: apt-get install busybox-static")
    return _once(tmp_path_factory, "busybox.tar", lambda path: _write_busybox(path, program))


@pytest.fixture(scope="session")
def debian_tar(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a real Debian root file system as a plain tar (about 170 MB), made once and kept in the user's cache."""
    made = subprocess.run([ROOT / ".ci" / "rootfs"], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no Debian root file system: {made.stderr.strip()}")
    return made.stdout.strip()


@pytest.fixture(scope="session")
def python_tar() -> str:
    """The same with Python and pip in it."""
    made = subprocess.run([ROOT / ".ci" / "rootfs", "python3-pip,python3-venv"], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"no root file system with Python: {made.stderr.strip()}")
    return made.stdout.strip()


def _write_busybox(path: Path, program: str) -> None:
    applets = subprocess.run([program, "--list-full"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:

        def entry(name: str, mode: int, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
            tar.addfile(info, BytesIO(data))

        for name, mode in [
            ("bin", 0o755), ("etc", 0o755), ("home", 0o755), ("root", 0o700), ("sbin", 0o755), ("tmp", 0o1777),
            ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755), ("var", 0o755), ("var/tmp", 0o1777),
        ]:  # fmt: skip
            entry(name, mode, tarfile.DIRTYPE)
        entry("bin/busybox", 0o755, data=Path(program).read_bytes())
        entry("etc/passwd", 0o644, data=PASSWD.encode())
        entry("etc/group", 0o644, data=GROUP.encode())
        for applet in sorted({name for name in applets if name.count("/") and not name.endswith("/busybox")}):
            if applet.startswith(("bin/", "sbin/", "usr/bin/", "usr/sbin/")):
                entry(applet, 0o777, tarfile.SYMTYPE, link="/bin/busybox")


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> str:
    """The path of a file that the first of the parallel test processes makes and all others find."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = shared / name
    with (shared / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            half = shared / f".{name}.half"
            make(half)
            half.rename(path)
    return str(path)


# --- root, and what is left behind ------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Mark this run's processes before any is started (the controller of a parallel run comes first)."""
    os.environ.setdefault(TOKEN, secrets.token_hex(8))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that needs root says so when it is skipped, and one that takes minutes how it is run."""
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if item.get_closest_marker("huge") and not config.option.markexpr:
            item.add_marker(pytest.mark.skip(reason="takes minutes and 20 GB of disk: pytest -m slow"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when it leaves a process or a mount behind. Asked once, after all parallel processes are gone."""
    if hasattr(session.config, "workerinput"):
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    for _ in range(20):  # a process that was told to die may need a moment
        left = [*_processes(os.environ[TOKEN]), *_mounts(str(factory.getbasetemp()))]
        if not left:
            return
        time.sleep(0.1)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.section("left behind by the tests", red=True)
        reporter.write("\n".join(left) + "\n")
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _processes(token: str) -> Iterator[str]:
    """Living processes other than this one that carry the mark of this run."""
    mark = f"{TOKEN}={token}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield f"process {folder.name}: {command}"
        except OSError:  # gone meanwhile, a zombie, or another user's
            continue


def _mounts(base: str) -> Iterator[str]:
    """Mount points beneath the temporary folder of this run, in this mount namespace."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(base + "/"):
            yield f"mount {point}"
