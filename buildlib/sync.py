"""Keeping images in one place as they are in another: registries, folders of images, and lists of them in YAML.

It is planned first, as a list of copies with where each comes from and goes to; then they are made one after the other.
Sources, names at the destination and the YAML are those of ``skopeo sync``; on top of it, it can be a true mirror.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import attrs
from attrs import field, frozen

from buildlib.errors import BuildlibError, FormatError, NotFound, TransportError, UsageError
from buildlib.events import Log, silent
from buildlib.oci import Reference
from buildlib.registry.auth import Credential
from buildlib.remote import copy_image, list_tags, own_access, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from buildlib.events import Sink
    from buildlib.registry.access import Access

MANIFEST_FILE = "manifest.json"
KINDS = ("docker", "dir", "yaml")
KINDS_HINT = "images are synced from docker, dir or yaml to docker or dir"


@frozen
class Copy:
    """One image to copy. ``source`` and ``destination`` name transports."""

    source: str
    destination: str
    access: Access | None = field(default=None, repr=False)
    """How the source's registry is reached."""


@frozen
class Report:
    """What was done, by the destinations' names; ``failed`` are those that could not be copied, with the error."""

    copied: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    failed: tuple[tuple[str, BuildlibError], ...] = ()


@frozen
class Source:
    """One repository or folder, with the references of its images that are wanted."""

    name: str
    """What all its images' names begin with."""
    images: tuple[str, ...]
    """``docker://…`` or ``dir:…``."""
    whole: bool
    """Whether everything that is there is wanted."""
    access: Access | None = field(default=None, repr=False)


def sync_images(
    source: str,
    destination: str,
    *,
    source_kind: str,
    destination_kind: str,
    source_access: Access | None = None,
    destination_access: Access | None = None,
    scoped: bool = False,
    append_suffix: str = "",
    all: bool = False,
    if_missing: bool = False,
    delete: bool = False,
    dry_run: bool = False,
    keep_going: bool = False,
    progress: Sink = silent,
    tmp: str | None = None,
    **options: Any,
) -> Report:
    """Copy the images of ``source`` to ``destination``; what is there already in the same form is left alone.

    ``source_kind``: "docker" (a repository with all its tags, or one image), "dir" (a folder with images in folders),
    "yaml" (a file as in skopeo-sync(1)). ``destination_kind``: "docker" (a registry, and what names shall begin with)
    or "dir" (a folder). An image is called by the last part of its name, or with ``scoped`` by all of it;
    ``append_suffix`` is put behind its tag. ``all``: indexes with all their images, else the image for this machine.

    ``if_missing`` copies no image whose name is there, whatever it is. ``delete`` makes a mirror: images that are in a
    repository (or folder) of the destination but not in the source are deleted, where all of the source was wanted.
    ``dry_run`` only says what would be done. With ``keep_going`` an image that can't be copied does not stop the
    others; nothing is deleted then. ``options`` are those of :func:`buildlib.remote.copy_image`. Raises as that does.
    """
    if source_kind not in KINDS or destination_kind not in KINDS[:2]:
        raise UsageError(
            f"can't sync from {source_kind!r} to {destination_kind!r}", hint="docker, dir or yaml to docker or dir"
        )
    here = destination_access or own_access()
    sources = list(_sources(source, source_kind, source_access))
    plan = [c for one in sources for c in copies(one, destination, destination_kind, scoped, append_suffix)]
    if all:
        options["multi_arch"] = "all"
    runner = _Runner(here, if_missing, dry_run, keep_going, progress, tmp, options)
    report = runner.copy(plan)
    if delete and not report.failed:
        wanted = {c.destination for one in sources if one.whole
                  for c in copies(one, destination, destination_kind, scoped, append_suffix)}  # fmt: skip
        return attrs.evolve(report, deleted=tuple(runner.delete(wanted, append_suffix)))
    return report


# --- what is wanted ---------------------------------------------------------------------------------------------------


def _sources(source: str, kind: str, access: Access | None) -> Iterator[Source]:
    if kind == "docker":
        yield repository(source.removeprefix("docker://"), access or own_access())
    elif kind == "dir":
        yield folder(source)
    else:
        yield from listed(source, access or own_access())


def repository(name: str, access: Access, wanted: Callable[[str], bool] | None = None) -> Source:
    """A repository with all its tags, or with those that are ``wanted``; or the image that ``name`` is."""
    reference = Reference.parse(name)
    if reference.tag or reference.digest:
        return Source(str(reference), (f"docker://{reference}",), whole=False, access=access)
    tags = list_tags(f"docker://{reference.name}", access=access)
    images = tuple(f"docker://{reference.name}:{tag}" for tag in tags if wanted is None or wanted(tag))
    return Source(reference.name, images, whole=True, access=access)


def folder(path: str) -> Source:
    """All images in a folder, however deep; or the one that it is itself."""
    top = os.path.abspath(path)
    found = sorted(base for base, _, files in os.walk(top) if MANIFEST_FILE in files)
    if not found:
        raise NotFound(f"{path}: no image in it", kind="image", name=path)
    return Source(top, tuple(f"dir:{each}" for each in found), whole=True)


def listed(path: str, access: Access) -> Iterator[Source]:
    """The repositories in a YAML file: ``images``, ``images-by-tag-regex``, ``images-by-semver`` of each registry."""
    for registry, settings in _document(path).items():
        where = f"{path}: {registry}"
        reached = _access(settings, access, where)
        for image, tags in _mapping(settings.get("images"), where).items():
            if not tags:
                yield repository(f"{registry}/{image}", reached)
                continue
            names = [f"{registry}/{image}{'@' if ':' in str(tag) else ':'}{tag}" for tag in _strings(tags, where)]
            yield Source(
                f"{registry}/{image}", tuple(f"docker://{Reference.parse(name)}" for name in names), False, reached
            )
        for image, pattern in _mapping(settings.get("images-by-tag-regex"), where).items():
            yield repository(f"{registry}/{image}", reached, _matching(str(pattern), where))
        for image, constraint in _mapping(settings.get("images-by-semver"), where).items():
            yield repository(f"{registry}/{image}", reached, _allowed(str(constraint)))


def _document(path: str) -> dict[str, dict[str, Any]]:
    import yaml

    try:
        with open(path, "rb") as file:
            document = yaml.safe_load(file)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}", kind="file", name=path) from error
    except yaml.YAMLError as error:
        raise FormatError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    return {str(key): _mapping(value, f"{path}: {key}") for key, value in _mapping(document, path).items()}


def _mapping(value: object, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a mapping", hint="skopeo-sync(1) describes the file")
    return value


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list):
        raise FormatError(f"{where}: expected a list of tags", hint="skopeo-sync(1) describes the file")
    for each in value:
        if not isinstance(each, str):
            raise FormatError(f"{where}: the tag {each!r} is not text", hint="put it in quotes")
    return value


def _access(settings: Mapping[str, Any], access: Access, where: str) -> Access:
    """How the registry is reached, with what its entry in the file overrules."""
    login = _mapping(settings.get("credentials"), where)
    if login:
        credential = Credential(str(login.get("username") or ""), str(login.get("password") or ""))
        access = attrs.evolve(access, credential=credential)
    if settings.get("cert-dir"):
        access = attrs.evolve(access, cert_dir=str(settings["cert-dir"]))
    if settings.get("tls-verify") is not None:
        access = attrs.evolve(access, tls_verify=bool(settings["tls-verify"]))
    return access


def _matching(pattern: str, where: str) -> Callable[[str], bool]:
    import re

    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise FormatError(f"{where}: {pattern!r} is no regular expression: {error}") from error
    return lambda tag: compiled.search(tag) is not None


def _allowed(text: str) -> Callable[[str], bool]:
    from buildlib.versions import Constraint, Version

    constraint = Constraint.parse(text)

    def allowed(tag: str) -> bool:
        version = Version.parse(tag)
        return version is not None and constraint.allows(version)

    return allowed


# --- where it goes ----------------------------------------------------------------------------------------------------


def copies(source: Source, destination: str, kind: str, scoped: bool, suffix: str) -> Iterator[Copy]:
    """The copies to make of the images of one source."""
    for image in source.images:
        if image.startswith("docker://"):
            name = image.removeprefix("docker://")
        else:
            path = image.removeprefix("dir:")
            name = os.path.relpath(path, source.name) if path != source.name else os.path.basename(path)
        name = name if scoped else PurePosixPath(name).name
        if kind == "dir":
            target = f"dir:{os.path.join(destination, name)}{suffix}"
        else:
            target = f"docker://{_named(destination, name, suffix)}"
        yield Copy(image, target, source.access)


def _named(destination: str, name: str, suffix: str) -> Reference:
    """The reference of an image in the destination's registry."""
    text = f"{destination.removeprefix('docker://').rstrip('/')}/{name}"
    digest = "@" in name
    if suffix and digest:
        raise UsageError(f"{name}: a suffix can't be put behind a digest")
    _, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        text = f"{text}:latest"
    return Reference.parse(text + suffix)


class _Runner:
    """Makes the copies of a plan."""

    def __init__(
        self, here: Access, if_missing: bool, dry_run: bool, keep_going: bool, progress: Sink, tmp: str | None,
        options: dict[str, Any],
    ) -> None:  # fmt: skip
        self.here = here
        self.if_missing = if_missing
        self.dry_run = dry_run
        self.keep_going = keep_going
        self.progress = progress
        self.tmp = tmp
        self.options = options

    def copy(self, plan: Iterable[Copy]) -> Report:
        """Make all copies that are needed."""
        copied: list[str] = []
        skipped: list[str] = []
        failed: list[tuple[str, BuildlibError]] = []
        for one in plan:
            try:
                (copied if self._copy(one) else skipped).append(one.destination)
            except BuildlibError as error:
                if not self.keep_going:
                    raise
                failed.append((one.destination, error))
                self._say("error", f"{one.source}: {error.message}")
        return Report(tuple(copied), tuple(skipped), (), tuple(failed))

    def _copy(self, one: Copy) -> bool:
        there = self._digest(one.destination, self.here)
        if there is not None and (self.if_missing or there == self._there(one)):
            self._say("info", f"{one.destination} is there already")
            return False
        self._say("info", f"{'would copy' if self.dry_run else 'copying'} {one.source} to {one.destination}")
        if not self.dry_run:
            copy_image(
                one.source,
                one.destination,
                source_access=one.access,
                destination_access=self.here,
                tmp=self.tmp,
                progress=self.progress,
                **self.options,
            )
        return True

    def _there(self, one: Copy) -> str | None:
        """The digest of the source, if it is to be had cheaply: a registry that is down may have mirrors."""
        try:
            return self._digest(one.source, one.access)
        except TransportError:
            return None

    def _digest(self, name: str, access: Access | None) -> str | None:
        """The digest of an image, by as little as possible; None where there is none."""
        if name.startswith("docker://"):
            return remote_digest(name, access or own_access())
        try:
            from buildlib.oci import Digest

            return Digest.of(read_document(name))
        except (NotFound, TransportError, FormatError):
            return None

    def delete(self, wanted: set[str], suffix: str) -> Iterator[str]:
        """Delete what is beside the wanted images and is not wanted."""
        from buildlib.remote import delete_image

        for name in sorted(self._beside(wanted) - wanted):
            if not name.endswith(suffix):
                continue
            self._say("info", f"{'would delete' if self.dry_run else 'deleting'} {name}")
            if self.dry_run:
                pass
            elif name.startswith("docker://"):
                delete_image(name, access=self.here)
            else:
                _remove(name.removeprefix("dir:"))
            yield name

    def _beside(self, wanted: set[str]) -> set[str]:
        """All images in the repositories and folders where the wanted ones are."""
        found: set[str] = set()
        for place in {name.rpartition(":")[0] for name in wanted if "@" not in name}:
            if place.startswith("docker://"):
                try:
                    found |= {f"{place}:{tag}" for tag in list_tags(place, access=self.here)}
                except NotFound:  # nothing was copied there, in a dry run
                    continue
            else:
                parent, base = os.path.split(place.removeprefix("dir:"))
                names = os.listdir(parent) if os.path.isdir(parent) else ()
                found |= {
                    f"dir:{parent}/{name}"
                    for name in names
                    if name.startswith(f"{base}:") and os.path.exists(f"{parent}/{name}/{MANIFEST_FILE}")
                }
        return found

    def _say(self, level: str, message: str) -> None:
        self.progress(Log(level, message))


def remote_digest(name: str, access: Access) -> str | None:
    """The digest behind ``docker://…`` by a HEAD request; None where there is no such image."""
    reference = Reference.parse(name.removeprefix("docker://"), default_tag="latest")
    endpoint = access.configuration.endpoints(reference)[-1]
    client = access.client(endpoint)
    return client.manifest_digest(endpoint.reference.repository, str(reference.digest or reference.tag))


def _remove(path: str) -> None:
    """Delete a folder with an image that ``dir:`` wrote: plain files only, so nothing else goes with it."""
    from buildlib.errors import from_os_error

    try:
        os.unlink(f"{path}/{MANIFEST_FILE}")
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)
    except OSError as error:
        raise from_os_error(error, f"deleting {path}") from error
