"""What is measured, and what must be reached: each scenario sets up a place and names its sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import builds, measure, pod, rootless, runtime, transfers, verbs, warm
from bench.place import bases, debian, fresh

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample, Series
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]

STEPS = 20
IMAGES = 50
PEAK = 150e6
"""Bytes that no process of ours may exceed."""


@dataclass(frozen=True)
class Scenario:
    """``sides`` prepares the place (not measured) and returns one measured call a side; the first side is ours."""

    name: str
    sides: Callable[[Place], Sides]
    rounds: int
    faster: float | None = None
    """How many times faster than the fastest other side it must be."""
    within: float | None = None
    """Seconds that it may take."""
    grows: float | None = None
    """Bytes that the store may grow by."""

    def run(self) -> dict[str, Series]:
        """Measure on a fresh file system."""
        with fresh() as place:
            return measure.interleave(self.sides(place), self.rounds)


def _context(place: Place) -> str:
    """A build context of twenty steps, and its base ``localhost/base`` in both stores."""
    bases(place)
    folder = place.folder / "context"
    folder.mkdir()
    steps = "".join(f"RUN echo {i} > /f_{i}\n" for i in range(STEPS))
    (folder / "Dockerfile").write_text("FROM localhost/base\n" + steps)
    return str(folder)


def cold(place: Place) -> Sides:
    """Twenty RUN steps, layers on, nothing from the cache."""
    context = _context(place)

    def ours(round_: int) -> Sample:
        return place.measure(place.buildlib("build", "--no-cache", "-t", f"localhost/t{round_}", context))

    def theirs(isolation: str) -> Callable[[int], Sample]:
        flags = ["--layers", "--no-cache", "--network", "host", "--isolation", isolation]
        return lambda r: place.measure(place.buildah("bud", *flags, "-t", f"localhost/{isolation}{r}", context))

    return {"buildlib": ours, "buildah oci": theirs("oci"), "buildah chroot": theirs("chroot")}


def cached(place: Place) -> Sides:
    """The same build again, every step from the cache."""
    context = _context(place)
    ours = place.buildlib("build", "-t", "localhost/t", context)
    theirs = place.buildah(
        "bud", "--layers", "--network", "host", "--isolation", "chroot", "-t", "localhost/t", context
    )
    place.output(ours)
    place.output(theirs)
    return {"buildlib": lambda _: place.measure(ours), "buildah": lambda _: place.measure(theirs)}


def commit(place: Place) -> Sides:
    """Commit of a container whose upper holds a Debian root file system."""
    tar = str(debian())

    def side(name: str) -> Callable[[int], Sample]:
        def run(round_: int) -> Sample:
            # A store that has the layer already would not store it again.
            corner = place.corner(f"{name}{round_}")
            program = getattr(corner, name)
            container = place.output(program("from", "scratch"))
            place.output(program("add", container, tar, "/"))
            before = measure.used_bytes(place.folder)
            sample = place.measure(program("commit", container, "localhost/debian"))
            sample.used = measure.used_bytes(place.folder) - before
            return sample

        return run

    return {"buildlib": side("buildlib"), "buildah": side("buildah")}


def images(place: Place) -> Sides:
    """List a store of fifty images."""
    for program in (place.buildlib, place.buildah):
        container = place.output(program("from", "scratch"))
        for i in range(IMAGES):
            place.output(program("config", "--label", f"number={i}", container))
            place.output(program("commit", "--quiet", container, f"localhost/image{i}"))
        listed = place.output(program("images", "--quiet")).split()
        if len(listed) != IMAGES:
            raise measure.CommandFailed(f"{program()[0]} lists {len(listed)} images of {IMAGES}")
    ours, theirs = place.buildlib("images"), place.buildah("images")
    return {"buildlib": lambda _: place.measure(ours), "buildah": lambda _: place.measure(theirs)}


def version(place: Place) -> Sides:
    """Start and say the version."""
    ours, theirs = place.buildlib("--version"), place.buildah("--version")
    return {"buildlib": lambda _: place.measure(ours), "buildah": lambda _: place.measure(theirs)}


SCENARIOS = [
    Scenario(f"{STEPS} RUN steps, cold", cold, rounds=5, faster=8),
    Scenario(f"{STEPS} RUN steps, cold, rootless", rootless.beside_buildah(STEPS), rounds=3, faster=5),
    Scenario(f"{STEPS} RUN steps, cold, rootless and root", rootless.beside_root(STEPS), rounds=5, faster=1 / 1.5),
    Scenario(f"{pod.STEPS} RUN steps on Debian, copied", pod.beside_a_full_walk, rounds=3, faster=3),
    Scenario(f"{pod.STEPS} RUN steps on Debian, through FUSE", pod.fuse_beside_the_kernel, rounds=3, faster=1 / 3),
    Scenario(f"{STEPS} RUN steps, cached", cached, rounds=15, faster=2.5),
    Scenario("commit of a Debian tree", commit, rounds=5, faster=10, grows=17e6),
    Scenario(f"images, {IMAGES} of them", images, rounds=25, faster=1),
    Scenario("--version", version, rounds=25, within=0.040),
    Scenario(f"containers, {verbs.CONTAINERS} of them", verbs.containers, rounds=25, faster=1),
    Scenario("from an image that is here", verbs.from_, rounds=15, faster=1 / 3),
    Scenario("config of a container", verbs.config, rounds=15, faster=1 / 3),
    Scenario("run of true", verbs.run, rounds=15, faster=2),
    Scenario("buildlib-runtime run of true", runtime.run, rounds=25, faster=1),
    Scenario("run of true, warm", warm.run, rounds=25, faster=5, within=0.008),
    Scenario("3 stages of 20 steps, cached", builds.cached_stages, rounds=15, faster=2.5, within=0.120),
    Scenario("3 stages of 20 steps, cached and warm", warm.rebuild, rounds=25, within=0.015),
    Scenario("3 stages that sleep 2 s", builds.independent, rounds=3, within=2.5),
    Scenario(f"COPY of {builds.FILES} files, cold", builds.copy, rounds=3, faster=4),
    Scenario(f"COPY of {builds.FILES} files, cached", builds.copy_again, rounds=3, faster=4, within=0.6),
    Scenario(f"RUN that writes {builds.MEGABYTES} MB", builds.large_file, rounds=3, faster=3),
    Scenario("push of a Debian tree, gzip", transfers.push("gzip"), rounds=5, faster=2.5),
    Scenario("push of a Debian tree, zstd", transfers.push("zstd"), rounds=5, faster=2.5),
    Scenario("push with nothing new", transfers.push_again, rounds=15, faster=1 / 1.5),
    Scenario("pull of a Debian tree", transfers.pull(1), rounds=5, faster=4),
    Scenario(
        f"pull of a Debian tree in {transfers.LAYERS} layers", transfers.pull(transfers.LAYERS), rounds=5, faster=4
    ),
]
