"""The twenty RUN steps as an ordinary user: beside buildah as the same user, and beside ourselves as root.

The user is made up: its processes live in a mount namespace in which the files of /etc know it and its subordinate
ids, and in which it can reach Python. Entering that costs both sides the same 4 ms.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure
from bench.place import ROOT, Place, bases, busybox

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample

    Sides = dict[str, Callable[[int], Sample]]

UID, NAME = 61190, "bencher"
SUBORDINATE = f"{NAME}:1500200000:65536\n"


class UserPlace(Place):
    """A corner of a place that belongs to the made-up user, and whose commands are run by it."""

    def __init__(self, place: Place) -> None:
        folder = place.folder / "user"
        folder.mkdir()
        super().__init__(folder)
        (folder / "runtime").mkdir(mode=0o700)
        self.environment |= {"XDG_RUNTIME_DIR": str(folder / "runtime"), "USER": NAME}
        subprocess.run(["chown", "-R", f"{UID}:{UID}", folder], check=True)
        keeper = self._keep_namespace(place.folder)
        place.serve(keeper)
        self._prefix = [
            "nsenter", f"--mount=/proc/{keeper.pid}/ns/mnt", f"--wdns={folder}",
            "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
        ]  # fmt: skip

    def _keep_namespace(self, folder: Path) -> subprocess.Popen[bytes]:
        texts = {
            "passwd": f"root:x:0:0::/root:/bin/sh\n{NAME}:x:{UID}:{UID}::{self.folder}/home:/bin/sh\n",
            "subuid": SUBORDINATE,
            "subgid": SUBORDINATE,
        }
        lines = ["set -e"]
        for name, text in texts.items():
            (folder / name).write_text(text)
            lines.append(f"mount --bind {folder / name} /etc/{name}")
        lines += _open_the_way(folder / "ways", sys.prefix, sys.base_prefix, str(ROOT))
        script = "\n".join([*lines, "echo ready", "exec sleep infinity"])
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        keeper = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert keeper.stdout is not None
        if not keeper.stdout.readline():
            raise measure.CommandFailed("the place of the ordinary user could not be made")
        return keeper

    def measure(self, argv: list[str]) -> Sample:
        """As its user."""
        return super().measure([*self._prefix, *argv])

    def output(self, argv: list[str]) -> str:
        """As its user."""
        return super().output([*self._prefix, *argv])


def _open_the_way(ways: Path, *paths: str) -> list[str]:
    """Shell lines that let everybody reach ``paths``: folders that only root may enter are hidden."""
    lines: list[str] = []
    closed: dict[Path, list[tuple[str, str]]] = {}
    for number, path in enumerate(dict.fromkeys(paths)):
        first = next((f for f in reversed(Path(path).parents) if not f.stat().st_mode & 0o001), None)
        if first is not None:
            way = shlex.quote(f"{ways}/{number}")
            lines += [f"mkdir -p {way}", f"mount --rbind {shlex.quote(path)} {way}"]
            closed.setdefault(first, []).append((shlex.quote(path), way))
    for folder, shown in closed.items():
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(folder))}")
        for path, way in shown:
            lines += [f"mkdir -p {path}", f"mount --rbind {way} {path}"]
    return lines


def _context(place: Place, steps: int) -> str:
    folder = place.folder / "context"
    folder.mkdir()
    runs = "".join(f"RUN echo {i} > /f_{i}\n" for i in range(steps))
    (folder / "Dockerfile").write_text("FROM localhost/base\n" + runs)
    os.chmod(folder, 0o755)  # noqa: PTH101
    return str(folder)


def beside_buildah(steps: int) -> Callable[[Place], Sides]:
    """Both as the same user, nothing from the cache."""

    def sides(place: Place) -> Sides:
        _reachable(place)
        context = _context(place, steps)
        busybox(place.folder)
        (place.folder / "busybox.tar").rename(place.folder / "context.tar")
        user = UserPlace(place)
        (user.folder / "busybox.tar").symlink_to(place.folder / "context.tar")
        bases(user)

        def theirs(isolation: str) -> Callable[[int], Sample]:
            flags = ["--layers", "--no-cache", "--network", "host", "--isolation", isolation]
            return lambda r: user.measure(user.buildah("bud", *flags, "-t", f"localhost/{isolation}{r}", context))

        ours = lambda r: user.measure(user.buildlib("build", "--no-cache", "-t", f"localhost/t{r}", context))  # noqa: E731
        return {"buildlib": ours, "buildah rootless": theirs("rootless"), "buildah chroot": theirs("chroot")}

    return sides


def beside_root(steps: int) -> Callable[[Place], Sides]:
    """Ourselves without root and with it."""

    def sides(place: Place) -> Sides:
        _reachable(place)
        context = _context(place, steps)
        bases(place)
        user = UserPlace(place)
        (user.folder / "busybox.tar").symlink_to(place.folder / "busybox.tar")
        bases(user)
        words = ("build", "--no-cache", "-t")
        return {
            "as a user": lambda r: user.measure(user.buildlib(*words, f"localhost/t{r}", context)),
            "as root": lambda r: place.measure(place.buildlib(*words, f"localhost/t{r}", context)),
        }

    return sides


def _reachable(place: Place) -> None:
    """The folder of the benchmark is a temporary one, which is for its owner alone."""
    for folder in (place.folder.parent, place.folder):
        folder.chmod(0o755)
