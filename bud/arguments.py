"""From the flags of the command line to a request: reads files, environment and standard input for it."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager

from bud import contexts, told
from bud.request import DEVICE, INSECURE, Request, SecretSource, SshSource
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildlib import Platform, Store
    from buildlib.cli.flags import Arguments

DOCKERFILES = ("Containerfile", "Dockerfile")
"""What a context's Dockerfile may be called, in the order of buildah."""

STDIN = "-"
_EVERYTHING = 1 << 16
_PLACES = ("index", "manifest", "index-descriptor", "manifest-descriptor")
"""Where docker can put an annotation."""
_PULL = {"true": "always", "always": "always", "false": "missing", "missing": "missing", "ifmissing": "missing",
         "newer": "newer", "ifnewer": "newer", "never": "never"}  # fmt: skip


def check(args: Arguments) -> None:
    """Raise :class:`UsageError` for values that a flag does not know, and for flags that do not go together."""
    for name, allowed in (
        ("format", ("oci", "docker")),
        ("history", ("docker", "buildah")),
        ("call", ("build", "check", "lint")),
        ("progress", told.KINDS),
        ("on_error", ("keep", "fail", "shell")),
    ):
        if args.values[name] not in allowed:
            shown = name.replace("_", "-")
            raise UsageError(f"--{shown} can't be {args.values[name]!r}", hint=f"one of {', '.join(allowed)}")
    for name in ("provenance", "sbom"):
        if args.values[name] not in (None, "", "false", "0"):
            raise UsageError(f"--{name}: there are no attestations yet", hint=f"--{name}=false is known")
    if not all("disabled=true" in each.split(",") for each in args.attest):
        raise UsageError("--attest: there are no attestations yet", hint="only disabled=true is known")
    if args.on_error == "shell" and not (os.isatty(0) and os.isatty(1)):
        raise UsageError("--on-error=shell needs a terminal", hint="use keep, and look into the container afterwards")
    if where(args) == STDIN and args.file == STDIN:
        raise UsageError("context and Dockerfile can't both come from standard input")


def where(args: Arguments) -> str:
    """The context as it was given."""
    return str(args.positionals[0]) if args.positionals else "."


def is_here(args: Arguments) -> bool:
    """Whether the context is a folder of this machine."""
    return where(args) != STDIN and not contexts.is_remote(where(args))


@contextmanager
def fetched(store: Store, args: Arguments, text: bytes | None = None) -> Iterator[Request]:
    """The request with a context that is fetched, or read from standard input, for the length of the block."""
    from bud.logins import authorization

    given, secrets = where(args), _secrets(args.secret)
    keep_git_dir = _build_args(args).get("BUILDKIT_CONTEXT_KEEP_GIT_DIR") in ("1", "true") or None
    login = authorization([given], secrets)
    with store.context(0 if given == STDIN else given, authorization=login, keep_git_dir=keep_git_dir) as context:
        yield request_of(args, context.path, only=context.file, text=text)


def request_of(
    args: Arguments, folder: str | None = None, only: str | None = None, text: bytes | None = None
) -> Request:
    """The request for a context in ``folder``, by default the one that was given; ``only``: the one file in it.

    ``text`` is the Dockerfile, where it is not to be read from anywhere.

    Raises :class:`UsageError`, and :class:`bud.errors.DockerfileError` for what is wrong with the Dockerfile.
    """
    from bud import dockerignore
    from bud.plan import Options, is_proxy
    from bud.stages import read_dockerfile
    from buildlib import Platform

    context = folder if folder is not None else _folder(where(args))
    if text is not None:
        path, data, name = None, text, "Dockerfile"
    else:
        path, data, name = _dockerfile(context, args.file or only, is_fetched=folder is not None)
    if only is not None and args.file is None:
        os.unlink(os.path.join(context, only))  # it was the Dockerfile, and nothing else is there
    dockerfile = read_dockerfile(data, name)
    # docker applies the ignore file of a folder only, not that of an archive or a repository.
    ignored = args.ignorefile if folder is not None else dockerignore.find(context, path, args.ignorefile)
    host, platforms = Platform.host(), _platforms(args)
    platform = platforms[0] if platforms else None
    annotations, of_index = _annotations(args.annotation, [str(each) for each in platforms])
    epoch, build_args = _epoch(args), _build_args(args)
    if epoch is not None:
        build_args.setdefault("SOURCE_DATE_EPOCH", str(epoch))
    environment = os.environ if args.http_proxy else {}
    proxy = {name: value for name, value in (*environment.items(), *build_args.items()) if is_proxy(name)}
    options = Options(
        build_args,
        args.target or "",
        str(platform or host),
        str(host),
        contexts.read_names(_pairs(args.build_context, "--build-context")),
        args.values["from"] or "",
        all_stages=not args.skip_unused_stages,
    )
    return Request(
        dockerfile,
        context,
        dockerignore.read(ignored),
        options,
        platform,
        _several(platforms or (host,), build_args),
        args.all_platforms,
        args.manifest or "",
        names=tuple(args.tag),
        layers=args.layers,
        no_cache=args.no_cache,
        pull=_pull(args),
        labels=_pairs(args.label, "--label"),
        annotations=annotations,
        index_annotations=of_index,
        env=tuple(_from_environment(args.env).items()),
        unset_env=tuple(args.unsetenv),
        unset_labels=tuple(args.unsetlabel),
        os_version=args.os_version or "",
        os_features=tuple(args.os_feature),
        omit_history=args.omit_history,
        history=args.history,
        stdin=args.stdin,
        secrets=_secrets(args.secret),
        ssh=_ssh(args.ssh),
        allow=_allowed(args.allow),
        proxy=proxy,
        format=args.format,
        squash=args.squash,
        timestamp=args.timestamp,
        source_date_epoch=epoch,
        rewrite_timestamp=args.rewrite_timestamp,
        jobs=_jobs(args.jobs),
        on_error="fail" if args.force_rm else args.on_error,
        fetched=where(args) if folder is not None else "",
    )


# --- context and Dockerfile -------------------------------------------------------------------------------------------


def _folder(path: str) -> str:
    if not os.path.isdir(path):
        problem = "is not a folder" if os.path.exists(path) else "is not there"
        raise UsageError(f"the context {path} {problem}", hint="give the folder that COPY and ADD take from")
    return path


def _dockerfile(context: str, file: str | None, *, is_fetched: bool) -> tuple[str | None, bytes, str]:
    """Path (None for standard input), content and the name for messages."""
    if file == STDIN:
        return None, sys.stdin.buffer.read(), "stdin"
    if file is None:
        candidates = [os.path.join(context, name) for name in DOCKERFILES]
        path = next((path for path in candidates if os.path.exists(path)), None)
        if path is None:
            shown = "it" if is_fetched else context
            raise UsageError(f"there is no Dockerfile in {shown}", hint="name another with --file")
    else:
        # Like buildah: seen from here, else from the context. What was fetched has only its own.
        path = file if not is_fetched and os.path.exists(file) else os.path.join(context, file)
    if is_fetched:
        _check_within(context, path)
    with open(path, "rb") as opened:
        return path, opened.read(), os.path.relpath(path, context) if file is None else file


def _check_within(context: str, path: str) -> None:
    """A link in what was fetched leads nowhere else."""
    top, real = os.path.realpath(context), os.path.realpath(path)
    if not real.startswith(f"{top}/"):
        raise UsageError(f"the Dockerfile {os.path.relpath(path, context)} leads out of the build context")


# --- values of flags --------------------------------------------------------------------------------------------------


def _build_args(args: Arguments) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in args.build_arg_file:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = (line.strip() for line in file)
            found.update(_from_environment([line for line in lines if line and not line.startswith("#")]))
    found.update(_from_environment(args.build_arg))
    return found


def _from_environment(words: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` as it is; a bare ``NAME`` takes the value of this process, and is left out if there is none."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise UsageError(f"{word!r} has no name", hint="write NAME=VALUE")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    pairs = dict(word.partition("=")[::2] for word in words)
    if "" in pairs:
        raise UsageError(f"{flag} has no name", hint=f"write {flag} KEY=VALUE")
    return pairs


def _platforms(args: Arguments) -> tuple[Platform, ...]:
    """Those that are asked for, each once; none: this machine's, or what the bases have for it."""
    from buildlib import Platform

    host = Platform.host()
    parts = {"os": args.os, "architecture": args.arch, "variant": args.variant}
    given = {name: value for name, value in parts.items() if value}
    if args.all_platforms and (given or args.platform):
        raise UsageError("--all-platforms goes with none of --platform, --os, --arch and --variant")
    if given and args.platform:
        raise UsageError("--platform goes with none of --os, --arch and --variant", hint="it says all of them")
    if given:
        same = args.arch in (None, "", host.architecture)
        usual = {"os": host.os, "architecture": host.architecture, "variant": host.variant if same else None}
        return (Platform(**{**usual, **given}),)
    words = dict.fromkeys(word.strip() for word in args.platform)
    return tuple(dict.fromkeys(host if word == "local" else Platform.parse(word) for word in words))


def _several(platforms: tuple[Platform, ...], build_args: Mapping[str, str]) -> tuple[Platform, ...]:
    """The platforms if they are to make an index, which docker's build argument demands of one, too."""
    return platforms if len(platforms) > 1 or build_args.get("BUILDKIT_MULTI_PLATFORM") in ("1", "true") else ()


def _annotations(words: Sequence[str], platforms: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Those of the manifest and of the index: ``KEY=VALUE``, or as docker has it ``index,manifest:KEY=VALUE``."""
    manifest: dict[str, str] = {}
    index: dict[str, str] = {}
    for word in words:
        where, colon, pair = word.partition(":")
        places = where.split(",")
        if not colon or not all(place.partition("[")[0] in _PLACES for place in places):
            places, pair = ["manifest"], word
        for place in places:
            kind, _, platform = place.rstrip("]").partition("[")
            if kind == "index":
                index |= _pairs([pair], "--annotation")
            elif kind == "manifest" and (not platform or platforms in ([], [platform])):
                manifest |= _pairs([pair], "--annotation")
            else:
                hint = "annotate manifests and the index; those of one platform where it is built alone"
                raise UsageError(f"--annotation {word}: {place} is not supported", hint=hint)
    return manifest, index


def _pull(args: Arguments) -> str:
    policy = "always" if args.pull_always else "never" if args.pull_never else _PULL.get(args.pull.lower())
    if policy is None:
        raise UsageError(f"unknown pull policy {args.pull!r}", hint="one of always, missing, newer, never")
    return policy


def _jobs(given: int | None) -> int:
    """As :attr:`Request.jobs` has it; for buildah 0 is as many as can be."""
    if given is not None and given < 0:
        raise UsageError(f"--jobs {given} is no number of stages")
    return 0 if given is None else given or _EVERYTHING


def _allowed(words: Sequence[str]) -> frozenset[str]:
    known = (INSECURE, "network.host", DEVICE)
    for word in words:
        if word not in known and not word.startswith(f"{DEVICE}="):
            raise UsageError(f"--allow {word} is not known", hint=f"there are {', '.join(known)} and {DEVICE}=NAME")
    return frozenset(words)


def _epoch(args: Arguments) -> int | None:
    """What a flag says, else the environment, which a --timestamp overrides."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if args.timestamp is not None:
        if args.source_date_epoch is not None:
            raise UsageError("--timestamp and --source-date-epoch may not be used together")
        return None
    if args.source_date_epoch is not None or not text:
        epoch: int | None = args.source_date_epoch
        return epoch
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text[:60]!r}, which is no number of seconds") from None


def _secrets(words: Sequence[str]) -> dict[str, SecretSource]:
    found: dict[str, SecretSource] = {}
    for word in words:
        fields = dict(field.partition("=")[::2] for field in word.split(","))
        id = fields.get("id", "")
        file = fields.get("src") or fields.get("source")
        kind = fields.get("type") or ("env" if "env" in fields else "file" if file else None)
        unknown = fields.keys() - {"id", "src", "source", "env", "type"}
        if not id or unknown or kind not in (None, "env", "file"):
            raise UsageError(f"--secret {word} can't be read", hint="write id=ID,src=FILE or id=ID,env=NAME")
        if kind == "file" or (kind is None and id not in os.environ):
            path = file or id
            if not os.path.exists(path):
                raise UsageError(f"the secret {id} is to be read from {path}, which is not there")
            found[id] = SecretSource("file", os.path.abspath(path))
        else:
            found[id] = SecretSource("env", fields.get("env") or file or id)
    return found


def _ssh(words: Sequence[str]) -> dict[str, SshSource]:
    """``id``, ``id=socket`` or ``id=key,key``; an id alone means the agent of this user."""
    found: dict[str, SshSource] = {}
    for word in words:
        id, _, value = word.partition("=")
        paths = value.split(",") if value else [os.environ.get("SSH_AUTH_SOCK", "")]
        if not id or not all(paths):
            hint = "start an agent and set SSH_AUTH_SOCK, or write ID=SOCKET or ID=KEY"
            raise UsageError(f"--ssh {word}: there is no SSH agent", hint=hint)
        found[id] = _agent(id, paths)
    return found


def _agent(id: str, paths: Sequence[str]) -> SshSource:
    kinds = []
    for path in paths:
        try:
            kinds.append(stat.S_ISSOCK(os.stat(path).st_mode))
        except OSError as error:
            raise UsageError(f"--ssh {id}={path}: {error.strerror}") from None
    full = tuple(os.path.abspath(path) for path in paths)
    if not any(kinds):
        return SshSource(keys=full)
    if len(full) > 1:
        raise UsageError(f"--ssh {id}: give one socket of an agent, or keys")
    return SshSource(full[0])
