"""What becomes of a built image besides its place in the store: folders, archives, registries, a file of metadata."""

from __future__ import annotations

import os

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, NamedTuple

    from buildlib import Image, ManifestList, Store
else:
    from bud.value import NamedTuple

_FIELDS = {
    "local": ("dest",),
    "tar": ("dest",),
    "oci": ("dest", "tar", "name", "compression", "compression-level"),
    "docker": ("dest", "tar", "name"),
    "image": ("name", "push", "compression", "compression-level"),
    "registry": ("name", "compression", "compression-level"),
}
"""Type of an output → what it takes."""

_ACCEPTED = ("oci-mediatypes", "force-compression", "rewrite-timestamp", "context", "store", "unpack")
"""Settings of BuildKit's exporters that change nothing here, or have flags of their own."""

STDOUT = "-"


class Output(NamedTuple):
    """One ``--output``."""

    type: str
    dest: str = ""
    """A path; ``-`` is standard output."""
    names: tuple[str, ...] = ()
    push: bool = False
    packed: bool = True
    """For ``oci`` and ``docker``: an archive; else a folder."""
    compression: str | None = None
    level: int | None = None


def parse_output(text: str) -> Output:
    """Read ``type=…,dest=…,name=…`` as docker and buildah do; a bare word is a folder, ``-`` an archive to stdout.

    Raises :class:`UsageError`.
    """
    if "=" not in text:
        if not text:
            raise UsageError("--output without a value", hint="write -o DIR or -o type=…")
        return Output("tar", STDOUT) if text == STDOUT else Output("local", text)
    pairs = [(name.strip(), value) for name, _, value in (part.partition("=") for part in _split(text))]
    fields = dict(pairs)
    kind = fields.pop("type", "local" if "dest" in fields else "image")
    if kind not in _FIELDS:
        raise UsageError(f"--output {text}: unknown type {kind!r}", hint=f"one of {', '.join(_FIELDS)}")
    unknown = [name for name in fields if name not in (*_FIELDS[kind], *_ACCEPTED)]
    if unknown:
        raise UsageError(
            f"--output {text}: {kind} takes no {unknown[0]!r}", hint=f"it takes {', '.join(_FIELDS[kind])}"
        )
    dest, packed = fields.get("dest", ""), _boolean(fields.get("tar", "true"), text)
    if (not dest and kind in ("local", "tar", "oci")) or (dest == STDOUT and (kind == "local" or not packed)):
        raise UsageError(f"--output {text}: where to?", hint="write dest=PATH" + (" or dest=-" if packed else ""))
    names = tuple(name for field, value in pairs if field == "name" for name in value.split(",") if name)
    return Output(
        kind, dest, names, kind == "registry" or _boolean(fields.get("push", "false"), text), packed,
        fields.get("compression"), _level(fields.get("compression-level"), text),
    )  # fmt: skip


def _split(text: str) -> list[str]:
    """At commas; quotes as in CSV keep one together: ``type=image,"name=a,b"``."""
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text]))


def _boolean(text: str, whole: str) -> bool:
    if text not in ("true", "false", "1", "0"):
        raise UsageError(f"--output {whole}: {text!r} is neither true nor false")
    return text in ("true", "1")


def _level(text: str | None, whole: str) -> int | None:
    if text is None or text.isdigit():
        return int(text) if text else None
    raise UsageError(f"--output {whole}: {text!r} is not a level")


def check(outputs: Sequence[Output], *, several: bool = False) -> None:
    """Refuse what can't be done together, or with ``several`` platforms, before anything is built."""
    if sum(output.dest == STDOUT for output in outputs) > 1:
        raise UsageError("only one output can go to standard output")
    for output in outputs if several else ():
        if output.type == "tar" or (output.type == "docker" and output.packed):
            hint = "type=local makes a folder for each platform, type=oci an archive with all of them"
            raise UsageError(f"an output of type={output.type} can't hold several platforms", hint=hint)


def names_of(outputs: Iterable[Output]) -> tuple[str, ...]:
    """What outputs want the image to be called in the store."""
    return tuple(name for output in outputs if output.type in ("image", "registry") for name in output.names)


def write(
    store: Store,
    image: Image | ManifestList,
    outputs: Sequence[Output],
    stdout: int,
    names: Sequence[str] = (),
    daemon: str | None = None,
    **options: Any,
) -> None:
    """Write all of them.

    ``names`` are those that were asked for: docker knows no localhost/, so it gets them as they are. ``daemon`` is its
    address, ``options`` are those of pushing, such as ``access``.
    """
    from buildlib import Image

    for output in outputs:
        if output.type == "local":
            _local(store, image, output.dest)
        elif output.type == "tar":
            assert isinstance(image, Image)
            _tar(store, image, output.dest, stdout)
        elif output.type in ("oci", "docker"):
            if output.type == "docker":
                output = output._replace(names=output.names or tuple(names))
            _archive(store, image, output, stdout, {"daemon_host": daemon} if daemon else {})
        elif output.push:
            push(image, output.names or image.names, output.compression, output.level, **options)


def _local(store: Store, image: Image | ManifestList, dest: str) -> None:
    """The files of an image; of an index, as docker has it, a folder for each platform."""
    from buildlib import ManifestList

    if not isinstance(image, ManifestList):
        store.export_files(image, dest)
        return
    for each in image.images:
        store.export_files(each, os.path.join(dest, str(each.platform).replace("/", "_")))


def push(
    image: Image | ManifestList, names: Iterable[str], compression: str | None, level: int | None, **options: Any
) -> None:
    """Push the image by each of its names; those that no registry can have are an error."""
    names = list(names)
    if not names:
        raise UsageError("the image has no name to push it by", hint="give it one with --tag")
    for name in names:
        image.push(name if name.startswith("docker://") else f"docker://{name}", compression=compression, level=level,
                   **options)  # fmt: skip


def _tar(store: Store, image: Image, dest: str, stdout: int) -> None:
    if dest == STDOUT:
        store.export_files(image, stdout)
        return
    with _appearing(dest) as half, open(half, "wb") as file:
        store.export_files(image, file.fileno())


def _archive(store: Store, image: Image | ManifestList, output: Output, stdout: int, daemon: dict[str, Any]) -> None:
    """An image archive or an OCI layout; ``docker`` without a place goes to the docker daemon."""
    transport = "oci-archive" if output.type == "oci" else "docker-archive"
    names = output.names or image.names
    packing: dict[str, Any] = {"compression": output.compression, "level": output.level}
    if not output.dest:
        for name in names or (f"sha256:{image.id}",):
            image.push(f"docker-daemon:{name}", **daemon)
    elif not output.packed:
        layout = "oci" if output.type == "oci" else "dir"
        image.push(f"{layout}:{os.path.abspath(output.dest)}", names=names if layout == "oci" else (), **packing)
    elif output.dest == STDOUT:
        _to_stdout(store, image, transport, names, packing, stdout)
    else:
        with _appearing(output.dest) as half:
            image.push(f"{transport}:{half}", names=names, **packing)


def _to_stdout(
    store: Store,
    image: Image | ManifestList,
    transport: str,
    names: Sequence[str],
    packing: dict[str, Any],
    stdout: int,
) -> None:
    """An archive is written in no order that a pipe could take, so it is made beside the store first."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(dir=store.tmp) as folder:
        image.push(f"{transport}:{folder}/image.tar", names=names, **packing)
        with open(f"{folder}/image.tar", "rb") as made, os.fdopen(os.dup(stdout), "wb") as out:
            shutil.copyfileobj(made, out, 1 << 20)


class _appearing:  # noqa: N801 - used as a function
    """A file that is there whole or not at all; what had its name stays until then."""

    def __init__(self, dest: str) -> None:
        self.dest = dest
        self.half = f"{os.path.abspath(dest)}.{os.getpid()}.part"
        if ":" in self.half:
            raise UsageError(f"{dest}: a path with a colon can't be told from a name", hint="write elsewhere")

    def __enter__(self) -> str:
        return self.half

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            os.replace(self.half, self.dest)
        elif os.path.lexists(self.half):
            os.unlink(self.half)


def write_metadata(path: str, image: Image | ManifestList, names: Iterable[str]) -> None:
    """The file of ``--metadata-file``, with the fields of docker buildx."""
    import json

    from buildlib import ManifestList

    document = image.index if isinstance(image, ManifestList) else image.manifest
    described: dict[str, Any] = {
        "mediaType": document.media_type,
        "digest": str(document.digest),
        "size": len(document.raw),
    }
    fields: dict[str, Any] = {}
    if not isinstance(image, ManifestList):
        described["platform"] = {"architecture": image.architecture, "os": image.os}
        fields["containerimage.config.digest"] = f"sha256:{image.id}"
    fields |= {"containerimage.descriptor": described, "containerimage.digest": str(document.digest)}
    called = ",".join(names)
    if called:
        fields["image.name"] = called
    with open(path, "w", encoding="utf-8") as file:
        json.dump(fields, file, indent=2)
        file.write("\n")
