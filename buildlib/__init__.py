"""Build container images from Python: no daemon, no container engine, no root needed.

::

    import buildlib

    with buildlib.from_("debian:bookworm-slim") as c:
        c.run("apt-get update && apt-get install -y nginx", mounts=[buildlib.Cache("/var/cache/apt")])
        c.copy("site/", "/usr/share/nginx/html/", chown="www-data:www-data")
        c.config(cmd=["nginx", "-g", "daemon off;"], ports=["80/tcp"])
        image = c.commit("registry.example.com/team/site:1.2")

The names of this module are all that is public. Each is imported when it is first used (PEP 562).
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.container import WorkingContainer
    from buildlib.container.mounts import Bind, Cache, Content, Secret, Ssh, Tmpfs
    from buildlib.container.run import RunResult
    from buildlib.container.run_options import RunOptions
    from buildlib.contexts import Context
    from buildlib.emulation import can_run
    from buildlib.errors import BuildlibError
    from buildlib.image import Image
    from buildlib.logins import logged_in, login, logout
    from buildlib.manifest_list import ManifestList
    from buildlib.mount_words import parse_mount, parse_volume
    from buildlib.oci import Descriptor, Digest, ImageConfig, Manifest, Platform, Reference
    from buildlib.patterns import IgnorePatterns
    from buildlib.registry.access import Access
    from buildlib.registry.auth import Credential
    from buildlib.remote import copy_image, delete_image, inspect_image, list_tags, read_document
    from buildlib.rootless import unshare
    from buildlib.source_image import add_source, create_source_image, source_manifest
    from buildlib.store import Store
    from buildlib.sync import sync_images
    from buildlib.terminal import in_front

__all__ = [
    "Access",
    "Bind",
    "BuildlibError",
    "Cache",
    "Content",
    "Context",
    "Credential",
    "Descriptor",
    "Digest",
    "IgnorePatterns",
    "Image",
    "ImageConfig",
    "Manifest",
    "ManifestList",
    "Platform",
    "Reference",
    "RunOptions",
    "RunResult",
    "Secret",
    "Ssh",
    "Store",
    "Tmpfs",
    "WorkingContainer",
    "add_source",
    "build",
    "can_run",
    "copy_image",
    "create_source_image",
    "delete_image",
    "errors",
    "events",
    "from_",
    "in_front",
    "inspect_image",
    "list_tags",
    "logged_in",
    "login",
    "logout",
    "open_store",
    "parse_mount",
    "parse_volume",
    "read_document",
    "shared_store",
    "source_manifest",
    "sync_images",
    "unshare",
]

_HOMES = {
    "Access": "registry.access",
    "Bind": "container.mounts",
    "BuildlibError": "errors",
    "Cache": "container.mounts",
    "Content": "container.mounts",
    "Context": "contexts",
    "Credential": "registry.auth",
    "Descriptor": "oci",
    "Digest": "oci",
    "IgnorePatterns": "patterns",
    "Image": "image",
    "ImageConfig": "oci",
    "Manifest": "oci",
    "ManifestList": "manifest_list",
    "Platform": "oci",
    "Reference": "oci",
    "RunOptions": "container.run_options",
    "RunResult": "container.run",
    "Secret": "container.mounts",
    "Ssh": "container.mounts",
    "Store": "store",
    "Tmpfs": "container.mounts",
    "WorkingContainer": "container",
    "can_run": "emulation",
    "add_source": "source_image",
    "copy_image": "remote",
    "create_source_image": "source_image",
    "source_manifest": "source_image",
    "delete_image": "remote",
    "errors": "",
    "events": "",
    "in_front": "terminal",
    "inspect_image": "remote",
    "list_tags": "remote",
    "logged_in": "logins",
    "login": "logins",
    "logout": "logins",
    "parse_mount": "mount_words",
    "parse_volume": "mount_words",
    "read_document": "remote",
    "sync_images": "sync",
    "unshare": "rootless",
}


def open_store(root: str | None = None, **options: Any) -> Store:
    """The store at ``root``, made if it is not there; by default the one of this user. See :meth:`Store.open`."""
    from buildlib.store import Store

    return Store.open(root, **options)


def from_(
    image: Image | str = "scratch", name: str | None = None, *, store: Store | None = None, **options: Any
) -> WorkingContainer:
    """A new working container on ``image``, in ``store`` or else in a store that is opened for it.

    See :meth:`Store.from_image` for the options. A store that was opened for it is the same for all such calls of
    this process, and is closed at its end.
    """
    return (store or shared_store()).from_image(image, name, **options)


def build(
    context: str = ".", *, text: str | None = None, progress: Any = None, store: Store | None = None, **flags: Any
) -> Image | ManifestList:
    """Build the image that a Dockerfile describes, and return it; an index for several platforms.

    ``context`` is what COPY takes from: a folder, a git repository with ``#ref:folder``, or the URL of an archive.
    The Dockerfile is the one in it, or the path ``file``, or ``text``. All other keywords are the flags of ``bud``
    with values as Python has them: ``tag=["app:1"]``, ``build_arg={"VERSION": "2"}``, ``target="test"``,
    ``secret=["id=token,env=TOKEN"]``. ``progress``: "plain" or "auto" tells on stderr how it goes on; or an object
    with the methods of ``bud.progress.Progress``. Without ``store`` it is that of :func:`from_`.

    Raises :class:`UsageError`, ``bud.errors.DockerfileError`` (file, line and what was expected), and for a RUN that
    failed :class:`RunError`, whose ``container`` is there to be looked at.
    """
    if not _builders:
        from importlib.metadata import entry_points

        (found,) = entry_points(group="buildlib.builders", name="dockerfile")
        _builders.append(found.load())
    image: Image | ManifestList = _builders[0](store or shared_store(), context, text, progress, flags)
    return image


_builders: list[Any] = []
"""What builds Dockerfiles; to look for it takes a third as long as a build that is all cached."""

_shared: list[Store] = []


def shared_store() -> Store:
    """The store that calls without a ``store`` use, opened once for this process and closed at its end."""
    if not _shared:
        import atexit

        _shared.append(open_store())
        atexit.register(_shared[0].close)
    return _shared[0]


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext buildlib`` calls: the magics; see :mod:`buildlib.jupyter`."""
    from buildlib.jupyter import load

    load(shell)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Not by importlib, which brings in more than most of what is imported so.
    module = f"{__name__}.{home}" if home else f"{__name__}.{name}"
    __import__(module)
    value = getattr(sys.modules[module], name) if home else sys.modules[module]
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
