"""What a build is asked for, as values."""

from __future__ import annotations

from bud.caching import CacheOptions
from bud.plan import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NamedTuple

    from bud.stages import Dockerfile
    from buildlib import IgnorePatterns, Platform, RunOptions
else:
    from bud.value import NamedTuple

INSECURE, DEVICE = "security.insecure", "device"
"""What RUN may ask for only if the caller allows it; ``device=NAME`` allows that one device."""


class SecretSource(NamedTuple):
    """Where a secret comes from: the ``name`` of a file, or of a variable of this process."""

    kind: str
    name: str


class SshSource(NamedTuple):
    """An SSH agent: the path of its ``socket``, or else the paths of the ``keys`` that one is to hold."""

    socket: str = ""
    keys: tuple[str, ...] = ()


class Request(NamedTuple):
    """All that a build is asked for. The additional contexts are those of ``plan``."""

    dockerfile: Dockerfile
    context: str
    """The folder that COPY and ADD take from."""
    ignore: IgnorePatterns
    plan: Options = Options()
    platform: Platform | None = None
    """Asked for explicitly; None: what the bases have for this machine."""
    platforms: tuple[Platform, ...] = ()
    """Several that were asked for; ``platform`` is the first of them. Their images become one index."""
    all_platforms: bool = False
    """All that the bases have, instead of those."""
    manifest: str = ""
    """The name of an index to which the images are added."""
    index_annotations: Mapping[str, str] = {}
    names: tuple[str, ...] = ()
    layers: bool = True
    """A layer for each step, and every step memoised; else one layer for all of a stage."""
    no_cache: bool = False
    pull: str = "missing"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    env: tuple[tuple[str, str], ...] = ()
    unset_env: tuple[str, ...] = ()
    unset_labels: tuple[str, ...] = ()
    os_version: str = ""
    os_features: tuple[str, ...] = ()
    secrets: Mapping[str, SecretSource] = {}
    ssh: Mapping[str, SshSource] = {}
    allow: frozenset[str] = frozenset()
    """See :data:`INSECURE`, :data:`DEVICE`."""
    proxy: Mapping[str, str] = {}
    """Variables that every RUN sees and no key contains."""
    run: RunOptions | None = None
    """How commands are run: limits, namespaces, volumes …"""
    stdin: bool = False
    """Commands read this process's standard input; they are not cached then."""
    format: str = "oci"
    omit_history: bool = False
    history: str = "docker"
    """Whose way the history is written in: "docker" (BuildKit) or "buildah"."""
    squash: bool = False
    """One layer of all new layers; those of the base stay."""
    squash_all: bool = False
    """One layer of everything."""
    timestamp: int | None = None
    source_date_epoch: int | None = None
    rewrite_timestamp: bool = False
    jobs: int = 0
    """How many stages are built at the same time; 0: as many as there are processors."""
    on_error: str = "keep"
    """What becomes of the container of a RUN that failed: "keep" it, "fail" removes it, "shell" opens it first."""
    fetched: str = ""
    """What the context was fetched from; "" for a folder of this machine."""
    caching: CacheOptions = CacheOptions()
    access: Callable[[], Any] | None = None
    """Makes the :class:`buildlib.Access` that registries are reached with; asked when one has to be."""

    @property
    def all_names(self) -> tuple[str, ...]:
        """What the image, or the index, can be pushed by."""
        return self.names or ((self.manifest,) if self.manifest else ())

    def on(self, platforms: tuple[Platform, ...]) -> Request:
        """The same for several platforms."""
        return self._replace(platform=platforms[0], platforms=platforms, all_platforms=False)

    def for_each_platform(self) -> list[Request]:
        """The requests of one platform each that it is made of; their images are nameless, the index gets the names."""
        if not self.platforms:
            return [self]
        return [
            self._replace(platform=one, platforms=(), names=(), plan=self.plan._replace(platform=str(one)))
            for one in self.platforms
        ]
