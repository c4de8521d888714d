"""Ten RUN steps on a Debian tree without the overlay of the kernel: in a copy of the layers, and through FUSE.

kaniko itself is no package of Debian. Beside us stands its way, in our own code: after each step the whole tree is
read and hashed (``--snapshot-mode=full``), and compared with before.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.place import ROOT, debian

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]

STEPS = 10


def beside_a_full_walk(place: Place) -> Sides:
    """The copy driver and a chroot; the same with every file hashed after every step."""
    context = _context(place)
    copy = _build(place, context, "--storage-driver", "copy", "--isolation", "chroot")
    full = [sys.executable, "-m", "bench.full_walk", *copy[1:]]
    place.environment["PYTHONPATH"] = str(ROOT)
    return {"copy": _measured(place, copy), "full walk": _measured(place, full)}


def fuse_beside_the_kernel(place: Place) -> Sides:
    """Our overlay in user space, and the kernel's."""
    context = _context(place)
    sides = {"fuse": ("--storage-driver", "fuse"), "overlay": ("--storage-driver", "overlay")}
    return {name: _measured(place, _build(place, context, *flags)) for name, flags in sides.items()}


def _context(place: Place) -> str:
    container = place.output(place.buildlib("from", f"tarball:{debian()}"))
    place.output(place.buildlib("commit", "--rm", container, "localhost/debian"))
    folder = place.folder / "context"
    folder.mkdir()
    step = "RUN echo {0} > /f_{0} && cp -r /usr/share/doc/apt /srv/{0} && rm -rf /srv/{1}\n"
    steps = "".join(step.format(i, i - 1) for i in range(STEPS))
    (folder / "Dockerfile").write_text("FROM localhost/debian\n" + steps)
    return str(folder)


def _build(place: Place, context: str, *flags: str) -> list[str]:
    program, *globals_ = place.buildlib()
    return [program, *globals_, *flags, "build", "--no-cache", "--quiet", "-t", "localhost/t", context]


def _measured(place: Place, argv: list[str]) -> Callable[[int], Sample]:
    return lambda _: place.measure(argv)
