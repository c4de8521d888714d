"""Flags of the verbs that move images: which platform, and how to talk to a registry."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, LIST, NUMBER, Flag
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from buildlib import Access, Platform, Store
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

PUSH_FLAGS = (
    Flag("compression-format", "gzip, zstd or none", metavar="FORMAT"),
    Flag("compression-level", "level of the compression", kind=NUMBER, metavar="LEVEL"),
    Flag("digestfile", "write the digest of what was pushed to this file", metavar="FILE"),
    Flag("force-compression", "accepted; --compression-format always does", kind=BOOL, no_op=True),
    Flag("format", "type of the manifests: oci or v2s2 (docker)", short="f", metavar="FORMAT"),
    Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
    Flag("remove-signatures", "do not copy signatures", kind=BOOL, no_op=True),
    Flag("rm", "remove the index afterwards", kind=BOOL),
    Flag("sign-by", "sign with this key", metavar="FINGERPRINT", later=True),
    *REGISTRY_FLAGS,
)
"""Those of ``push`` and ``manifest push``."""


def place_flags(side: str = "") -> tuple[Flag, ...]:
    """The flags of skopeo for a place of images; ``side`` is "src" or "dest" where a verb has two of them."""
    front, of = (f"{side}-", {"src": " of the source", "dest": " of the destination"}[side]) if side else ("", "")
    own = (Flag("authfile", "file with logins for registries", metavar="FILE", env="REGISTRY_AUTH_FILE"),)
    return (
        *(own if not side else (Flag(f"{front}authfile", f"file with logins for the registry{of}", metavar="FILE"),)),
        Flag(f"{front}cert-dir", f"folder with certificates for the registry{of}", metavar="DIR"),
        Flag(f"{front}creds", f"user and password for the registry{of}", metavar="USER[:PASSWORD]"),
        Flag(f"{front}daemon-host", f"address of the docker daemon{of}; else $DOCKER_HOST", metavar="HOST"),
        Flag(f"{front}no-creds", f"use no login for the registry{of}", kind=BOOL),
        Flag(f"{front}password", f"password for the registry{of}", metavar="PASSWORD"),
        Flag(f"{front}registry-token", f"bearer token for the registry{of}", metavar="TOKEN"),
        Flag(f"{front}shared-blob-dir", f"folder of blobs that layouts share{of}", metavar="DIR"),
        Flag(f"{front}tls-verify", f"require HTTPS and verify certificates{of}", kind=BOOL, default=True),
        Flag(f"{front}username", f"user for the registry{of}", metavar="USER"),
    )


RETRY_TIMES = Flag("retry-times", "how often to try again", kind=NUMBER, metavar="COUNT", default=3)
RETRY_FLAGS = (Flag("retry-delay", "how long to wait before that, like 2s", metavar="DURATION"), RETRY_TIMES)


def place_access(args: Arguments, side: str = "") -> Access:
    """How the registry of a place is reached, by the flags of :func:`place_flags`."""
    import os

    from buildlib import Access, Credential

    front = f"{side}_" if side else ""

    def given(name: str) -> Any:
        return args.values.get(front + name)

    settings: dict[str, Any] = {"tls_verify": given("tls_verify"), "cert_dir": given("cert_dir")}
    settings["retries"] = args.values.get("retry_times", 3)
    if args.values.get("retry_delay"):
        settings["retry_delay"] = _seconds(args.retry_delay)
    file = given("authfile") or args.values.get("authfile")
    if file:
        settings["auth_files"] = (file,)
    if given("no_creds"):
        settings["auth_files"] = ()
    elif given("registry_token"):
        settings["credential"] = Credential(registry_token=given("registry_token"))
    elif given("creds"):
        settings["credential"] = Credential.parse(given("creds"))
    elif given("username"):
        settings["credential"] = Credential(given("username"), given("password") or "")
    return Access.from_environment(os.environ, os.geteuid(), **settings)


def place_options(args: Arguments, name: str, side: str = "") -> dict[str, Any]:
    """The options of the transport that ``name`` begins with."""
    front = f"{side}_" if side else ""
    transport, given = name.partition(":")[0], args.values
    if transport == "docker-daemon":
        tls = {"cert_dir": given.get(f"{front}cert_dir"), "tls_verify": given.get(f"{front}tls_verify", True)}
        host = given.get(f"{front}daemon_host")
        return {**tls, "daemon_host": host} if host else {**tls, **_daemon_of_environment()}
    folder = given.get(f"{front}shared_blob_dir")
    return {"shared_blobs": folder} if transport == "oci" and folder else {}


def _daemon_of_environment() -> dict[str, Any]:
    """The daemon that ``$DOCKER_HOST`` names; as docker has it, ``tcp://`` is TLS only with ``$DOCKER_TLS_VERIFY``."""
    import os

    host = os.environ.get("DOCKER_HOST")
    if not host:
        return {}
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return {"daemon_host": host.replace("tcp://", "http://", 1)}
    folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    return {"daemon_host": host, "cert_dir": folder}


LOCAL_TRANSPORTS = frozenset(
    ("containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "tarball")
)

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def has_transport(name: str) -> bool:
    """Whether ``name`` says by itself where it leads, as ``oci:folder`` or ``docker://host/name`` do."""
    transport = name.partition(":")[0]
    return transport in LOCAL_TRANSPORTS or name.startswith("docker://")


def access_to(args: Arguments, name: str) -> dict[str, Any]:
    """The option ``access`` for what leads to a registry, with this user's logins and settings; for docker's daemon
    where it is; else nothing.

    It is not made when it is not needed: the registry client costs more than most verbs take in all.
    """
    transport = name.partition(":")[0]
    if transport in LOCAL_TRANSPORTS:
        return _daemon_of_environment() if transport == "docker-daemon" else {}
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


def key_values(flag: str, words: Sequence[str]) -> dict[str, str]:
    """The map that words like ``key=value`` give; raises :class:`UsageError` for others."""
    for word in words:
        if "=" not in word:
            raise UsageError(f"--{flag} {word}: no value given", hint=f"write {word}=VALUE")
    return dict(word.partition("=")[::2] for word in words)


def platforms(args: Arguments) -> list[Platform]:
    """All platforms that ``--platform`` names, several of them or none."""
    from buildlib import Platform

    return [Platform.parse(each) for each in args.platform]


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
