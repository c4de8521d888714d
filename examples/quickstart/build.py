"""The Dockerfile beside this file as a Python script: the same calls, the same layers.

For instance: ``python build.py tarball:debian.tar localhost/quickstart``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import buildlib

if TYPE_CHECKING:
    from buildlib import Image, Store

HERE = Path(__file__).resolve().parent


def build(store: Store, base: str, name: str, timestamp: int | None = None) -> Image:
    """Build it on ``base``; what was built before in this store comes from the cache."""
    with store.from_image(base, cache=True) as container:
        container.run("useradd --uid 1000 --create-home greeter")
        container.mkdir("/srv/greet")
        container.config(workdir="/srv/greet")
        container.copy("app/", "./", context=str(HERE), chown="greeter:greeter", ignore=["**/*.draft"])
        container.run("sort --unique words.txt > words.sorted && rm words.txt")
        container.config(
            env={"GREETING": "Hello"},
            labels={"org.opencontainers.image.title": "quickstart"},
            user="greeter",
            entrypoint=["/srv/greet/greet"],
            cmd=["world"],
        )
        return container.commit(name, timestamp=timestamp)


def main() -> None:
    """Read the arguments, build, print the image's id."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="image to build on, such as tarball:debian.tar")
    parser.add_argument("name", help="name of the new image")
    parser.add_argument("--root", help="folder of the store")
    parser.add_argument("--timestamp", type=int, help="time of everything that is new, in seconds since 1970")
    options = parser.parse_args()
    with buildlib.Store.open(options.root) as store:
        print(build(store, options.base, options.name, options.timestamp).id)


if __name__ == "__main__":
    main()
