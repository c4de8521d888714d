"""Builds of Dockerfiles: what is cached, what is large, what may go on at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.place import bases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.measure import Sample
    from bench.place import Place

    Sides = dict[str, Callable[[int], Sample]]

FILES = 30_000
MEGABYTES = 512
SECONDS = 2
"""How long each of the stages sleeps that do not need each other."""

LAYERS = ("bud", "--layers", "--network", "host", "--isolation", "chroot")


def three_stages(place: Place) -> Path:
    """A context of three stages and twenty steps, of all kinds that are usual, and its base in both stores."""
    bases(place)
    folder = place.folder / "stages"
    folder.mkdir()
    for number in range(50):
        (folder / f"file{number}").write_text(f"{number}\n" * 100)
    first = [f"RUN echo {i} > /first_{i}" for i in range(5)]
    second = [f"RUN echo {i} > /second_{i}" for i in range(4)]
    third = [f"RUN echo {i} > /third_{i}" for i in range(3)]
    lines = [
        *("FROM localhost/base AS first", "COPY . /src", *first),
        *("FROM localhost/base AS second", "ENV KIND=second", "COPY --from=first /first_1 /in/", *second),
        *("FROM localhost/base", "WORKDIR /work", *third, "COPY --from=second /second_1 /in/"),
        *("LABEL team=web", 'CMD ["sh"]'),
    ]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    return folder


def cached_stages(place: Place) -> Sides:
    """Three stages again, every step from the cache."""
    folder = str(three_stages(place))
    return _again(place, folder)


def _again(place: Place, folder: str) -> Sides:
    ours = place.buildlib("build", "-t", "localhost/t", folder)
    theirs = place.buildah(*LAYERS, "-t", "localhost/t", folder)
    place.output(ours)
    place.output(theirs)
    return {"buildlib": lambda _: place.measure(ours), "buildah": lambda _: place.measure(theirs)}


def small_files(place: Place) -> str:
    """A context of thirty thousand small files, which is copied as a whole."""
    folder = place.folder / "small"
    for number in range(FILES):
        path = folder / f"{number // 1000}" / f"{number // 100 % 10}"
        if number % 100 == 0:
            path.mkdir(parents=True)
        (path / f"file{number}").write_text(f"{number}\n" * 40)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /data/\n")
    return str(folder)


def copy(place: Place) -> Sides:
    """Copy them into stores that are empty."""
    folder = small_files(place)
    return _fresh(place, lambda corner, program: program(*_build(corner, program), "-t", "localhost/t", folder))


def copy_again(place: Place) -> Sides:
    """Find that nothing has changed."""
    return _again(place, small_files(place))


def large_file(place: Place) -> Sides:
    """A step that writes half a gibibyte."""
    folder = place.folder / "large"
    folder.mkdir()
    step = f"RUN dd if=/dev/zero of=/large bs=1M count={MEGABYTES}"
    (folder / "Dockerfile").write_text(f"FROM localhost/base\n{step}\n")

    def command(corner: Place, program: Callable[..., list[str]]) -> list[str]:
        bases(corner)
        return program(*_build(corner, program), "-t", "localhost/t", str(folder))

    return _fresh(place, command)


def _build(corner: Place, program: Callable[..., list[str]]) -> tuple[str, ...]:
    return ("build",) if program == corner.buildlib else LAYERS


def _fresh(place: Place, command: Callable[[Place, Callable[..., list[str]]], list[str]]) -> Sides:
    """Both sides, with a store of its own for each round."""

    def side(name: str) -> Callable[[int], Sample]:
        def run(round_: int) -> Sample:
            corner = place.corner(f"{name}{round_}")
            return place.measure(command(corner, getattr(corner, name)))

        return run

    return {"buildlib": side("buildlib"), "buildah": side("buildah")}


def independent(place: Place) -> Sides:
    """Three stages that do not need each other, and one that copies from them; each time anew."""
    bases(place)
    folder = place.folder / "independent"
    folder.mkdir()
    names = ("one", "two", "three")
    lines = [f"FROM localhost/base AS {name}\nRUN sleep {SECONDS}; echo {name} > /{name}" for name in names]
    lines += ["FROM localhost/base", *(f"COPY --from={name} /{name} /" for name in names)]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    flags = ("--no-cache", "--jobs", "3", "-t", "localhost/t", str(folder))
    ours, theirs = place.buildlib("build", *flags), place.buildah(*LAYERS, *flags)
    return {"buildlib": lambda _: place.measure(ours), "buildah": lambda _: place.measure(theirs)}
