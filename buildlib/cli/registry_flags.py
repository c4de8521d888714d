"""Flags of the verbs that move images: which platform, and how to talk to a registry."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, LIST, NUMBER, Flag
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Platform
    from buildlib.cli.flags import Arguments

PLATFORM_FLAGS = (
    Flag("arch", "the architecture of the image, instead of this machine's", metavar="ARCH"),
    Flag("os", "the operating system of the image", metavar="OS"),
    Flag("platform", "os/arch[/variant] of the image", kind=LIST, metavar="PLATFORM"),
    Flag("variant", "the variant of the architecture", metavar="VARIANT"),
)

REGISTRY_FLAGS = (
    Flag("authfile", "file with credentials for registries", metavar="FILE", env="REGISTRY_AUTH_FILE", no_op=True),
    Flag("cert-dir", "folder with certificates for registries", metavar="DIR", no_op=True),
    Flag("creds", "user and password for the registry", metavar="USER[:PASSWORD]", later=True),
    Flag("retry", "how often to try again", kind=NUMBER, no_op=True),
    Flag("retry-delay", "how long to wait between", metavar="DURATION", no_op=True),
    Flag("tls-verify", "require HTTPS and verify certificates", kind=BOOL, default=True, no_op=True),
)
"""Registries are not reached yet; the flags are taken so that scripts with local images work unchanged."""


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
