"""The image that a working container starts from: one that is here, or else fetched, as a policy says.

For what is here no transport is imported, and an archive that became an image before is not read again.
"""

from __future__ import annotations

from buildlib.errors import NotFound, TransportError, UsageError
from buildlib.image import Image
from buildlib.names import LOCAL, candidates, near

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.oci import Platform
    from buildlib.store import Store

POLICIES = ("missing", "always", "never", "newer")
SCRATCH = "scratch"


def base_image(
    store: Store, image: Image | str, policy: str = "missing", platform: Platform | None = None, **options: Any
) -> tuple[Image | None, str]:
    """The image for a new container, pulled as ``policy`` says, and what it is called; (None, "scratch") for none."""
    if policy not in POLICIES:
        raise UsageError(f"no pull policy {policy!r}", hint=f"there are {', '.join(POLICIES)}")
    if isinstance(image, Image):
        return image, image.name or image.id
    if image in ("", SCRATCH):
        return None, SCRATCH
    if has_transport(image):
        found = _known_archive(store, image) or store.pull(image, platform=platform, **options)
        return found, found.name or image
    here, problem = _here(store, image, platform)
    if problem is not None and (policy == "never" or image.startswith(f"{LOCAL}/")):
        raise problem  # what was built here is in no registry
    if here is None or policy in ("always", "newer"):
        here = _fetch(store, image, platform, here if policy == "newer" else None, problem, options)
    return here, _called(here, image)


def _called(image: Image, asked: str) -> str:
    """The full name of the image that was asked for; another one, or the id, where it was asked for otherwise."""
    names = image.names
    return next((full for full in map(str, candidates(asked)) if full in names), image.name or image.id)


def _known_archive(store: Store, name: str) -> Image | None:
    if not name.startswith("tarball:"):
        return None
    from buildlib.archives import find

    return find(store, name.partition(":")[2])


def _here(store: Store, name: str, platform: Platform | None) -> tuple[Image | None, NotFound | None]:
    """The image of that name, if it is here and for the wanted platform, else why not."""
    try:
        image = store.image(name, platform)
    except NotFound as error:
        return None, error
    if platform is not None and platform.rank(image.platform) is None:
        what = f"{name!r} is here for {image.platform}, not for {platform}"
        return None, NotFound(what, hint=f"pull it for {platform}", kind="image", name=name)
    return image, None


def _fetch(
    store: Store,
    name: str,
    platform: Platform | None,
    otherwise: Image | None,
    problem: NotFound | None,
    options: dict[str, Any],
) -> Image:
    """Pull; what was wrong with what is here is said when that fails."""
    try:
        return store.pull(name, platform=platform, **options)
    except (NotFound, TransportError) as error:
        if otherwise is not None:
            return otherwise
        what, why = (problem.message, problem.hint) if problem else (f"no image is called {name!r}", None)
        hint = f"{why or near(store.db, name)} (and pulling failed: {error.message})"
        raise NotFound(what, hint=hint, kind="image", name=name) from error


def has_transport(name: str) -> bool:
    """Whether ``name`` says how to get at the image. ``docker:dind`` does not: it is the name of one, and its tag."""
    before, colon, _ = name.partition(":")
    if not colon or "/" in before or "." in before:
        return False
    from buildlib import transports

    return transports.parse(name) is not None
