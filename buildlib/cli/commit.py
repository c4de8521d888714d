"""``buildlib commit``: makes an image of a working container."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Flag, Verb
from buildlib.cli.registry_flags import REGISTRY_FLAGS
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Image, Store, WorkingContainer
    from buildlib.cli.flags import Arguments

SBOM_FLAGS = tuple(
    Flag(f"sbom{name}", help, metavar=metavar, kind=kind, later=True)
    for name, help, kind, metavar in (
        ("", "a preset of how to make a bill of materials", "string", "PRESET"),
        ("-image-output", "where the image gets the bill of materials", "string", "PATH"),
        ("-image-purl-output", "where the image gets the list of package URLs", "string", "PATH"),
        ("-merge-strategy", "how several are joined", "string", "NAME"),
        ("-output", "file for the bill of materials", "string", "FILE"),
        ("-purl-output", "file for the list of package URLs", "string", "FILE"),
        ("-scanner-command", "command of the scanner", EACH, "COMMAND"),
        ("-scanner-image", "image of the scanner", "string", "IMAGE"),
    )
)

VERB = Verb(
    "commit",
    "Create an image from a working container",
    accepts="CONTAINER [IMAGE]",
    positionals=(1, 2),
    missing="container ID must be specified",
    example="buildlib commit debian-working-container localhost/site:1.2\n"
    "buildlib commit --change 'CMD [\"nginx\"]' --change 'ENV PORT=80' $ctr site\n"
    "buildlib commit --rm --squash $ctr oci-archive:site.tar:1.2",
    details="Prints the id of the image. IMAGE is a name, or a transport and what it needs, as for `push`.\n"
    "What --add-file, --change, --config and --unsetenv do is in the image, not in the container.",
    flags=(
        Flag("add-file", "a file of the host for the image: owned by root, mode 0644", kind=EACH,
             metavar="SOURCE[:TARGET]"),
        Flag("annotation", "an annotation of the manifest, KEY=VALUE", short="a", kind=EACH, metavar="KEY=VALUE"),
        Flag("blob-cache", "accepted; the store keeps blobs", metavar="DIR", no_op=True, hidden=True),
        Flag("change", "an instruction of a Dockerfile to apply, like 'CMD [\"sh\"]'", short="c", kind=EACH,
             metavar="INSTRUCTION"),
        Flag("compression-format", "gzip, zstd or none, where the image is pushed", metavar="FORMAT"),
        Flag("compression-level", "level of the compression", kind=NUMBER, metavar="LEVEL"),
        Flag("config", "a file with a config, as JSON, whose values the image gets", metavar="FILE"),
        Flag("created-annotation", "an annotation says when the image was made", kind=BOOL, default=True),
        Flag("cw", "make a confidential workload", metavar="OPTIONS", later=True),
        Flag("disable-compression", "do not compress layers; in the store none is", short="D", kind=BOOL,
             default=True),
        Flag("encrypt-layer", "layers to encrypt", kind=LIST, later=True),
        Flag("encryption-key", "key to encrypt with", kind=LIST, later=True),
        Flag("force-compression", "accepted; --compression-format always does", kind=BOOL, no_op=True),
        Flag("format", "oci or docker", short="f", metavar="FORMAT", env="BUILDAH_FORMAT"),
        Flag("identity-label", "accepted; no label names the builder", kind=BOOL, default=True, no_op=True),
        Flag("iidfile", "write the image's id to this file instead of stdout", metavar="FILE"),
        Flag("manifest", "an index to add the image to; it is made if it is not there", metavar="NAME"),
        Flag("metadata-file", "write digests and names of the image to this file, as JSON", metavar="FILE"),
        Flag("omit-history", "leave the history out", kind=BOOL),
        Flag("omit-timestamp", "the same as --timestamp 0", kind=BOOL, hidden=True),
        Flag("pull", "accepted; there are no images of scanners to be fetched", metavar="POLICY", bare="true",
             no_op=True),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("reference-time", "the time of this file is the --timestamp", metavar="FILE", hidden=True),
        Flag("rewrite-timestamp", "give no file a later time than --source-date-epoch", kind=BOOL),
        Flag("rm", "remove the container when the image is made", kind=BOOL),
        *SBOM_FLAGS,
        Flag("sign-by", "sign with this key", metavar="FINGERPRINT", later=True),
        Flag("source-date-epoch", "the time of the image and its history, in seconds", kind=NUMBER,
             metavar="SECONDS", env="SOURCE_DATE_EPOCH"),
        Flag("squash", "make an image of one layer", kind=BOOL),
        Flag("timestamp", "the time of the image, its history and all new files, in seconds", kind=NUMBER,
             metavar="SECONDS"),
        Flag("unsetannotation", "an annotation to leave out of the image", kind=EACH, metavar="KEY"),
        Flag("unsetenv", "a variable to leave out of the image", kind=LIST, metavar="NAME"),
        *REGISTRY_FLAGS,
    ),
)  # fmt: skip


_FORMATS = {"v2s2": "docker"}
_CREATED = "org.opencontainers.image.created"


def run(args: Arguments) -> int:
    """Commit, and print the id of the image or write it to a file."""
    from buildlib.cli.place import open_store
    from buildlib.cli.registry_flags import has_transport

    name, *rest = args.positionals
    destination = rest[0].removeprefix("containers-storage:") if rest else None
    elsewhere = destination is not None and has_transport(destination)
    options = _options(args)
    with open_store(args) as store:
        container = store.container(name, soon="commit")
        if destination is not None and elsewhere:
            image = _send(store, container, destination, options, args)
        else:
            image = _commit(container, destination, options, args)
        if args.metadata_file is not None:
            _tell(args.metadata_file, image, destination)
        if args.rm:
            container.remove()
        id = image.id
    if args.iidfile is not None:
        with open(args.iidfile, "w", encoding="ascii") as file:
            file.write(f"sha256:{id}")
    elif not elsewhere:
        print(id)
    return 0


def _commit(container: WorkingContainer, name: str | None, options: dict[str, Any], args: Arguments) -> Image:
    """Make the image, of a copy of the container if it is to be other than the container is."""
    fields, files = _fields(args), _files(args.add_file)
    if not fields and not files:
        return _listed(container.commit(name, **options), args)
    with container.fork(temporary=True) as other:
        for each in fields:
            other.config(**each)
        for target, data in files:
            folder, _, base = target.rpartition("/")
            other.copy(dest=f"{folder}/", contents={base: data})
        if files and not options["squash"]:
            options["squash"] = "new"
        return _listed(other.commit(name, **options), args)


def _listed(image: Image, args: Arguments) -> Image:
    """Add the image to the index of ``--manifest``."""
    if args.manifest is not None:
        from buildlib.errors import NotFound

        try:
            image.store.manifest_list(args.manifest).add(image)
        except NotFound:
            image.store.create_manifest_list(args.manifest, [image])
    return image


def _fields(args: Arguments) -> list[dict[str, Any]]:
    """What is to be set in the config, in order."""
    from buildlib.cli.changes import from_file, from_instruction

    fields = [from_file(args.config)] if args.config is not None else []
    fields += [from_instruction(line) for line in args.change]
    for key, name in (("unsetenv", "env"), ("unsetannotation", "annotations")):
        if args.values[key]:
            fields.append({name: [f"{word}-" for word in args.values[key]]})
    return fields


def _files(words: list[str]) -> list[tuple[str, bytes]]:
    """Targets and contents of ``--add-file``."""
    import os

    found = []
    for word in words:
        source, _, target = word.partition(":")
        try:
            with open(source, "rb") as file:
                data = file.read()
        except OSError as error:
            raise UsageError(f"--add-file {source}: {error.strerror}") from None
        found.append((os.path.join("/", target or os.path.abspath(source)), data))
    return found


def _send(
    store: Store, container: WorkingContainer, destination: str, options: dict[str, Any], args: Arguments
) -> Image:
    """Commit to somewhere else; the store keeps the image only if it had it before, or an index has it now."""
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import access_to

    compression = args.compression_format
    if compression is None and "disable_compression" in args.given and args.disable_compression:
        compression = "none"
    packing = {"compression": compression, "level": args.compression_level}
    given = {name: value for name, value in packing.items() if value is not None}
    before = {image.id for image in store.images()}
    image = _commit(container, None, options, args)
    try:
        with Progress(args.quiet) as progress:
            image.push(destination, progress=progress, **given, **access_to(args, destination))
    finally:
        if image.id not in before and not image.lists:
            _ = image.manifest, image.config  # read while it is there
            image.remove()
    return image


def _tell(path: str, image: Image, name: str | None) -> None:
    """The file of ``--metadata-file``, with the fields of docker buildx."""
    import json

    described = {
        "mediaType": image.manifest.media_type,
        "digest": image.digest,
        "size": len(image.manifest.raw),
        "platform": {"architecture": image.architecture, "os": image.os},
    }
    fields = {
        "containerimage.config.digest": f"sha256:{image.id}",
        "containerimage.descriptor": described,
        "containerimage.digest": image.digest,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(fields | ({"image.name": name} if name else {}), file, indent=2)
        file.write("\n")


def _options(args: Arguments) -> dict[str, Any]:
    timestamp = _timestamp(args)
    if timestamp is not None and "source_date_epoch" in args.given:
        raise UsageError("--timestamp and --source-date-epoch may not be used together")
    return {
        "squash": args.squash,
        "timestamp": timestamp,
        "source_date_epoch": args.source_date_epoch,
        "rewrite_timestamp": args.rewrite_timestamp,
        "format": _FORMATS.get(args.format, args.format),
        "annotations": _annotations(args),
        "omit_history": args.omit_history,
    }


def _timestamp(args: Arguments) -> int | None:
    if args.omit_timestamp:
        return 0
    if args.reference_time is not None:
        import os

        try:
            return int(os.stat(args.reference_time).st_mtime)
        except OSError as error:
            raise UsageError(f"--reference-time {args.reference_time}: {error.strerror}") from None
    timestamp: int | None = args.timestamp
    return timestamp


def _annotations(args: Arguments) -> dict[str, str | None] | None:
    """None is the value of one that is not to be there."""
    notes: dict[str, str | None] = dict(word.partition("=")[::2] for word in args.annotation)
    if not args.created_annotation:
        notes[_CREATED] = None
    return notes or None
