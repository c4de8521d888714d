"""Flags of the verbs that move images: which platform, and how to talk to a registry."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, LIST, NUMBER, Flag
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import Platform, Store
    from buildlib.cli.flags import Arguments

PLATFORM_FLAGS = (
    Flag("arch", "the architecture of the image, instead of this machine's", metavar="ARCH"),
    Flag("os", "the operating system of the image", metavar="OS"),
    Flag("platform", "os/arch[/variant] of the image", kind=LIST, metavar="PLATFORM"),
    Flag("variant", "the variant of the architecture", metavar="VARIANT"),
)

REGISTRY_FLAGS = (
    Flag("authfile", "file with logins for registries", metavar="FILE", env="REGISTRY_AUTH_FILE"),
    Flag("cert-dir", "folder with certificates for the registry", metavar="DIR"),
    Flag("creds", "user and password for the registry", metavar="USER[:PASSWORD]"),
    Flag("retry", "how often to try again", kind=NUMBER, metavar="COUNT", default=3),
    Flag("retry-delay", "how long to wait before that, like 2s", metavar="DURATION"),
    Flag("tls-verify", "require HTTPS and verify certificates", kind=BOOL, default=True),
)

LOCAL_TRANSPORTS = frozenset(
    ("containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "tarball")
)

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def has_transport(name: str) -> bool:
    """Whether ``name`` says by itself where it leads, as ``oci:folder`` or ``docker://host/name`` do."""
    transport = name.partition(":")[0]
    return transport in LOCAL_TRANSPORTS or name.startswith("docker://")


def access_to(args: Arguments, name: str) -> dict[str, Any]:
    """The option ``access`` for what leads to a registry, with this user's logins and settings; else nothing.

    It is not made when it is not needed: the registry client costs more than most verbs take in all.
    """
    if name.partition(":")[0] in LOCAL_TRANSPORTS:
        return {}
    import os

    from buildlib import Access, Credential

    settings: dict[str, Any] = {"tls_verify": args.tls_verify, "cert_dir": args.cert_dir, "retries": args.retry}
    if args.authfile:
        settings["auth_files"] = (args.authfile,)
    if args.creds:
        settings["credential"] = Credential.parse(args.creds)
    if args.retry_delay:
        settings["retry_delay"] = _seconds(args.retry_delay)
    return {"access": Access.from_environment(os.environ, os.geteuid(), **settings)}


def access_to_image(args: Arguments, store: Store, name: str, policy: str) -> dict[str, Any]:
    """The same for an image that may be in the store already."""
    if name in ("", "scratch"):
        return {}
    if policy in ("missing", "never") and not has_transport(name):
        from buildlib.errors import NotFound

        try:
            store.image(name, platform(args))
        except NotFound:
            pass
        else:
            return {}
    return access_to(args, name) if policy != "never" else {}


def _seconds(text: str) -> float:
    number = text.rstrip("mhs")
    try:
        return float(number) * _SECONDS[text[len(number) :]]
    except (ValueError, KeyError):
        raise UsageError(f'invalid retry delay "{text}"', hint="write it as 2s or 500ms") from None


def platform(args: Arguments) -> Platform | None:
    """The platform that the flags ask for; None for that of this machine."""
    if not (args.platform or args.os or args.arch or args.variant):
        return None
    from buildlib import Platform

    if args.platform:
        if len(args.platform) > 1:
            raise UsageError("one --platform at a time here", hint="several platforms are for `build`")
        if args.os or args.arch or args.variant:
            raise UsageError("--platform may not be used with --os, --arch, or --variant")
        return Platform.parse(args.platform[0])
    host = Platform.host()
    text = f"{args.os or host.os}/{args.arch or host.architecture}"
    return Platform.parse(f"{text}/{args.variant}" if args.variant else text)
