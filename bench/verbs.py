"""Single commands as whole processes: what a shell script that builds with working containers waits for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from bench.place import bases

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measure import Sample
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]

CONTAINERS = 20


def containers(place: Place) -> Sides:
    """List twenty working containers."""
    bases(place)
    for program in (place.buildlib, place.buildah):
        for _ in range(CONTAINERS):
            place.output(program("from", "localhost/base"))
    return _sides(place, "containers")


def from_(place: Place) -> Sides:
    """A working container on an image that is here."""
    bases(place)
    return _sides(place, "from", "localhost/base")


def config(place: Place) -> Sides:
    """Set a variable of a working container."""
    bases(place)
    numbers = itertools.count()

    def side(program: Callable[..., list[str]]) -> Callable[[int], Sample]:
        container = place.output(program("from", "localhost/base"))
        return lambda _: place.measure(program("config", "--env", f"NUMBER={next(numbers)}", container))

    return {"buildlib": side(place.buildlib), "buildah": side(place.buildah)}


def run(place: Place) -> Sides:
    """Run a command that does nothing."""
    bases(place)

    def side(program: Callable[..., list[str]], *flags: str) -> Callable[[int], Sample]:
        container = place.output(program("from", "localhost/base"))
        return lambda _: place.measure(program("run", *flags, container, "true"))

    return {
        "buildlib": side(place.buildlib),
        "buildah oci": side(place.buildah, "--isolation", "oci", "--network", "host"),
        "buildah chroot": side(place.buildah, "--isolation", "chroot"),
    }


def _sides(place: Place, *words: str) -> Sides:
    ours, theirs = place.buildlib(*words), place.buildah(*words)
    return {"buildlib": lambda _: place.measure(ours), "buildah": lambda _: place.measure(theirs)}
