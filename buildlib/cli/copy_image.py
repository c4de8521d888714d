"""``buildlib copy SOURCE DESTINATION`` between transports: skopeo's copy, reached through the verb ``copy``."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Flag
from buildlib.cli.registry_flags import PLATFORM_FLAGS, RETRY_TIMES, place_flags
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib.cli.flags import Arguments

IMAGE_FLAGS = (
    Flag("additional-tag", "one more name in a docker-archive", kind=LIST, metavar="NAME"),
    Flag("all", "all images of an index", short="a", kind=BOOL),
    Flag("authfile", "file with logins for registries", metavar="FILE", env="REGISTRY_AUTH_FILE"),
    Flag("decryption-key", "key to decrypt with", kind=EACH, later=True),
    Flag("dest-compress", "compress layers that are not, in a dir: too", kind=BOOL),
    Flag("dest-compress-format", "gzip or zstd", metavar="FORMAT"),
    Flag("dest-compress-level", "level of the compression", kind=NUMBER, metavar="LEVEL"),
    Flag("dest-decompress", "decompress all layers", kind=BOOL),
    Flag("dest-force-compress-format", "accepted; --dest-compress-format always does", kind=BOOL, no_op=True),
    Flag("dest-oci-accept-uncompressed-layers", "let layers of an OCI layout be uncompressed", kind=BOOL),
    Flag("dest-precompute-digests", "accepted; digests that are known are used", kind=BOOL, no_op=True),
    Flag("digestfile", "write the digest of the copy to this file", metavar="FILE"),
    Flag("encrypt-layer", "layers to encrypt", kind=LIST, later=True),
    Flag("encryption-key", "key to encrypt with", kind=EACH, later=True),
    Flag("format", "type of the manifest: oci or v2s2 (docker)", short="f", metavar="FORMAT"),
    Flag("image-parallel-copies", "so many layers at once", kind=NUMBER, metavar="COUNT"),
    Flag("multi-arch", "of an index: system, all, index-only or a list of platforms", metavar="CHOICE"),
    Flag("preserve-digests", "fail rather than change a digest", kind=BOOL),
    Flag("remove-signatures", "do not copy signatures", kind=BOOL, no_op=True),
    RETRY_TIMES,
    Flag("sign-by", "sign with this key", metavar="FINGERPRINT", later=True),
    Flag("sign-by-sigstore", "sign as this file describes", metavar="FILE", later=True),
    Flag("sign-by-sigstore-private-key", "sign with this key", metavar="FILE", later=True),
    Flag("sign-by-sq-fingerprint", "sign with this key", metavar="FINGERPRINT", later=True),
    Flag("sign-identity", "identity in the signature", metavar="NAME", later=True),
    Flag("sign-passphrase-file", "passphrase of the key", metavar="FILE", later=True),
    *(flag for side in ("src", "dest") for flag in place_flags(side)),
    *PLATFORM_FLAGS,
)

FORMATS = {"oci": "oci", "v2s2": "docker", "docker": "docker"}


def run(args: Arguments) -> int:
    """Copy the image, and write its digest where it is wanted."""
    from buildlib import copy_image
    from buildlib.cli.progress import Progress
    from buildlib.cli.registry_flags import place_access, place_options, platform

    source, destination = args.positionals
    with Progress(args.quiet) as progress:
        copied = copy_image(
            source,
            destination,
            source_access=place_access(args, "src") if source.startswith("docker:") else None,
            destination_access=place_access(args, "dest") if destination.startswith("docker:") else None,
            source_options=place_options(args, source, "src"),
            destination_options=place_options(args, destination, "dest"),
            platform=platform(args) if len(args.platform) < 2 else None,
            progress=progress,
            **options(args, destination),
        )
    if args.digestfile is not None:
        with open(args.digestfile, "w", encoding="ascii") as file:
            file.write(str(copied.digest))
    return 0


def options(args: Arguments, destination: str) -> dict[str, Any]:
    """What shall become of the image on its way."""
    found: dict[str, Any] = {
        "multi_arch": multi_arch(args),
        "preserve_digests": args.preserve_digests,
        "format": image_format(args.format),
        "compression": _compression(args, destination),
        "level": args.dest_compress_level,
    }
    if args.image_parallel_copies:
        found["parallel"] = args.image_parallel_copies
    if args.additional_tag:
        found["names"] = _names(destination, args.additional_tag)
    return found


def image_format(word: str | None) -> str | None:
    """Our word for a format of manifests."""
    if word is None:
        return None
    if word not in FORMATS:
        raise UsageError(f"unknown format {word!r}", hint="it is oci or v2s2; v2s1 is written no more")
    return FORMATS[word]


def multi_arch(args: Arguments) -> Any:
    """What is copied of an index."""
    choice = args.multi_arch
    if choice is not None and args.all:
        raise UsageError("--all and --multi-arch may not be used together")
    if len(args.platform) > 1 or choice not in (None, "system", "all", "index-only"):
        from buildlib import Platform

        words = args.platform if choice is None else choice.split(",")
        return [Platform.parse(word) for word in words]
    return "all" if args.all else choice or "system"


def _compression(args: Arguments, destination: str) -> str | None:
    if args.dest_decompress and (args.dest_compress or args.dest_compress_format):
        raise UsageError("--dest-compress and --dest-decompress may not be used together")
    if args.dest_decompress:
        return "none"
    if args.dest_compress_format:
        if args.dest_compress_format not in ("gzip", "zstd"):
            raise UsageError(f"unknown compression {args.dest_compress_format!r}", hint="it is gzip or zstd")
        return str(args.dest_compress_format)
    if args.dest_compress:
        return "compress"
    keep = args.dest_oci_accept_uncompressed_layers and destination.startswith("oci:")
    return "keep" if keep else None


def _names(destination: str, more: list[str]) -> list[str]:
    transport, _, rest = destination.partition(":")
    if transport != "docker-archive":
        raise UsageError("--additional-tag is for docker-archive:", hint="copy it once for each name")
    name = rest.partition(":")[2]
    return [*([name] if name else []), *more]
