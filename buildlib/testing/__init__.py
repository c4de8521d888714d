"""For tests of programs that use this library: images of a few bytes, and a registry in this process. No network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildlib.testing.registry import Registry, serve_registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildlib import Image, Store

__all__ = ["Registry", "serve_registry", "tiny_image"]

PROGRAM_MARKS = (b"\x7fELF", b"#!")


def tiny_image(store: Store, name: str = "tiny", files: Mapping[str, bytes] | None = None, **config: Any) -> Image:
    """An image with ``files`` (path → contents; by default one file) and nothing else, called ``name``.

    Programs and scripts are made executable. ``config`` are fields as :meth:`WorkingContainer.config` takes them. The
    same arguments give the same image, digest for digest. With a static program it can run::

        tiny_image(store, files={"bin/busybox": Path("/bin/busybox").read_bytes()}, cmd=["/bin/busybox", "sh"])
    """
    with store.from_image("scratch") as container:
        for path, data in ({"hello.txt": b"hello\n"} if files is None else files).items():
            mode = "0755" if data.startswith(PROGRAM_MARKS) else "0644"
            folder, base = os.path.split("/" + path.lstrip("/"))
            container.copy(dest=folder.rstrip("/") + "/", contents={base: data}, chmod=mode)
        container.config(**config)
        return container.commit(name, timestamp=0)
