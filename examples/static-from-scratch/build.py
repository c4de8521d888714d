"""A static program, compiled by this machine, as an image of one file: ``python build.py localhost/hello``."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import buildlib

if TYPE_CHECKING:
    from buildlib import Image, Store

HERE = Path(__file__).resolve().parent


def build(store: Store, name: str) -> Image:
    """Compile and pack it; the same compiler gives the same image, digest for digest."""
    with tempfile.TemporaryDirectory() as folder, store.from_image("scratch") as container:
        program = Path(folder, "hello")
        subprocess.run(["cc", "-static", "-Os", "-s", "-o", program, HERE / "hello.c"], check=True)
        container.copy(str(program), "/hello", chmod="0555")
        container.config(entrypoint=["/hello"], user="65534")
        return container.commit(name, timestamp=0)


def main() -> None:
    """Read the arguments, build, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="name of the new image")
    parser.add_argument("--root", help="folder of the store")
    options = parser.parse_args()
    with buildlib.Store.open(options.root) as store:
        image = build(store, options.name)
        print(image.digest, f"{image.size} bytes")


if __name__ == "__main__":
    main()
