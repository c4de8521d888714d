"""The command ``bud``, which is ``buildlib build`` too: reads flags and files, builds, prints the image's id.

The only part of ``bud`` that reads environment, working directory and standard input. Progress goes to stderr.
"""

from __future__ import annotations

import os
import sys

from buildlib.cli.flags import BOOL, EACH, NUMBER, Flag, HelpWanted, Verb, parse
from buildlib.errors import BuildlibError, RunError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bud.build import Request, SecretSource
    from buildlib.cli.flags import Arguments

OWN_FAILURE = 125
INTERRUPTED = 130
DOCKERFILES = ("Containerfile", "Dockerfile")
"""What a context's Dockerfile may be called, in the order of buildah."""

_PULL = {"true": "always", "always": "always", "false": "missing", "missing": "missing", "ifmissing": "missing",
         "newer": "newer", "ifnewer": "newer", "never": "never"}  # fmt: skip
VERB = Verb(
    "build",
    "Build an image from a Dockerfile",
    accepts="[CONTEXT]",
    positionals=(0, 1),
    aliases=("bud",),
    example="bud -t localhost/site:1.4 .\nbud --target test --build-arg VERSION=2 -f docker/Dockerfile .",
    details="CONTEXT is the folder that COPY and ADD take from, by default the current one. Prints the id of the\n"
    "image; what goes on is told on stderr. The exit code is that of a RUN that failed.",
    flags=(
        Flag("annotation", "an annotation of the manifest, KEY=VALUE", kind=EACH, metavar="KEY=VALUE"),
        Flag("authfile", "file with credentials for registries", metavar="FILE", no_op=True),
        Flag("build-arg", "a value for an ARG; NAME alone takes the one of the environment", kind=EACH,
             metavar="NAME[=VALUE]"),
        Flag("build-arg-file", "a file with NAME=VALUE lines", kind=EACH, metavar="FILE"),
        Flag("build-context", "an additional build context", kind=EACH, metavar="NAME=WHERE", later=True),
        Flag("cache-from", "where to look for cache records", kind=EACH, later=True),
        Flag("cache-to", "where to put cache records", kind=EACH, later=True),
        Flag("compress", "accepted", kind=BOOL, no_op=True),
        Flag("disable-compression", "layers are stored unpacked anyway", short="D", kind=BOOL, no_op=True),
        Flag("disable-content-trust", "accepted", kind=BOOL, no_op=True),
        Flag("env", "a variable of the image", kind=EACH, metavar="NAME[=VALUE]"),
        Flag("file", "the Dockerfile; - reads it from stdin", short="f", metavar="FILE"),
        Flag("force-rm", "remove the container of a failed RUN as well", kind=BOOL),
        Flag("format", "oci or docker", metavar="FORMAT", default="oci", env="BUILDAH_FORMAT"),
        Flag("from", "replaces the image of the first FROM", metavar="IMAGE"),
        Flag("http-proxy", "hand the proxy variables of the environment to RUN", kind=BOOL, default=True),
        Flag("ignorefile", "the ignore file, instead of .dockerignore", metavar="FILE"),
        Flag("iidfile", "write the id of the image to this file instead of stdout", metavar="FILE"),
        Flag("isolation", "accepted; there is one kind", metavar="KIND", env="BUILDAH_ISOLATION", no_op=True),
        Flag("jobs", "how many stages are built at once", kind=NUMBER, no_op=True),
        Flag("label", "a label of the image, KEY=VALUE", kind=EACH, metavar="KEY=VALUE"),
        Flag("layers", "a layer and a cache record for each step", kind=BOOL, default=True, env="BUILDAH_LAYERS"),
        Flag("network", "network of RUN: host or none", metavar="NETWORK", default="host"),
        Flag("no-cache", "look nothing up in the cache", kind=BOOL),
        Flag("output", "where to put the result", short="o", kind=EACH, later=True),
        Flag("platform", "os/arch[/variant] of the image", metavar="PLATFORM"),
        Flag("progress", "auto, plain or none", metavar="KIND", default="auto"),
        Flag("pull", "when to fetch base images: always, missing, newer or never", metavar="POLICY", default="missing",
             bare="always"),
        Flag("pull-always", "the same as --pull=always", kind=BOOL),
        Flag("pull-never", "the same as --pull=never", kind=BOOL),
        Flag("push", "push the image when it is built", kind=BOOL, later=True),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("rewrite-timestamp", "give no file a later time than --source-date-epoch", kind=BOOL),
        Flag("rm", "remove the containers of a build that went well", kind=BOOL, default=True, no_op=True),
        Flag("secret", "a secret for RUN --mount=type=secret", kind=EACH, metavar="id=ID,src=FILE|env=NAME"),
        Flag("source-date-epoch", "the time of the image and its history, in seconds (or $SOURCE_DATE_EPOCH)",
             kind=NUMBER, metavar="SECONDS"),
        Flag("squash", "make one layer of all new layers", kind=BOOL),
        Flag("ssh", "an SSH agent for RUN --mount=type=ssh", kind=EACH, later=True),
        Flag("tag", "a name for the image", short="t", kind=EACH, metavar="NAME"),
        Flag("target", "the stage to build, by default the last", metavar="STAGE"),
        Flag("timestamp", "the time of the image, its history and all new files, in seconds", kind=NUMBER,
             metavar="SECONDS"),
        Flag("tls-verify", "require HTTPS and verify certificates", kind=BOOL, default=True, no_op=True),
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; ``argv`` is without the program's name.

    0, the exit code of a RUN that failed, 125 for wrong usage and all else, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _build(parse(VERB, words, os.environ))
    except HelpWanted:
        from buildlib.cli.help import verb_help

        sys.stdout.write(verb_help(VERB))
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BuildlibError as error:
        return _report(error)
    except Exception as error:
        from buildlib.cli.failure import report

        return report(error)


def _report(error: BuildlibError) -> int:
    from bud.errors import DockerfileError, visible

    lines = [f"Error: {visible(error.message)}"]
    if isinstance(error, DockerfileError) and error.excerpt():
        lines.append(error.excerpt())
    if isinstance(error, RunError) and error.output:
        lines += ["the last lines it printed:", *(f"    {visible(line)}" for line in error.output.splitlines())]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    sys.stderr.write("\n".join(lines) + "\n")
    return error.exit_code if isinstance(error, RunError) and error.exit_code else OWN_FAILURE


# --- from flags to a request ------------------------------------------------------------------------------------------


def _build(args: Arguments) -> int:
    from bud.build import build
    from bud.errors import StepFailed
    from bud.progress import Progress

    _check(args)
    request = _request(args)
    quiet = args.quiet or args.progress in ("none", "quiet")
    from buildlib import Store

    try:
        with Store.open(args.root or None) as store:
            image = build(store, request, Progress(None if quiet else sys.stderr))
    except StepFailed as error:
        if args.root and error.hint:
            error.hint = error.hint.replace("buildlib run", f"buildlib --root {args.root} run")
        raise
    if args.iidfile is not None:
        with open(args.iidfile, "w", encoding="ascii") as file:
            file.write(f"sha256:{image.id}")
    else:
        sys.stdout.write(f"{image.id}\n")
        sys.stdout.flush()
    return 0


def _request(args: Arguments) -> Request:
    from bud import dockerignore
    from bud.build import Request
    from bud.plan import Options, is_proxy
    from bud.stages import read_dockerfile
    from buildlib import Platform

    context = _context(args.positionals[0] if args.positionals else ".")
    path, data, name = _dockerfile(context, args.file)
    dockerfile = read_dockerfile(data, name)
    ignore = dockerignore.read(dockerignore.find(context, path, args.ignorefile))
    host, platform = Platform.host(), Platform.parse(args.platform) if args.platform else None
    epoch, build_args = _epoch(args), _build_args(args)
    if epoch is not None:
        build_args.setdefault("SOURCE_DATE_EPOCH", str(epoch))
    environment = os.environ if args.http_proxy else {}
    proxy = {name: value for name, value in (*environment.items(), *build_args.items()) if is_proxy(name)}
    options = Options(build_args, args.target or "", str(platform or host), str(host), base=args.values["from"] or "")
    return Request(
        dockerfile,
        context,
        ignore,
        options,
        platform,
        tuple(args.tag),
        args.layers,
        args.no_cache,
        _pull(args),
        _pairs(args.label, "--label"),
        _pairs(args.annotation, "--annotation"),
        tuple(_from_environment(args.env).items()),
        _secrets(args.secret),
        proxy,
        "host" if args.network == "default" else args.network,
        args.format,
        args.squash,
        args.timestamp,
        epoch,
        args.rewrite_timestamp,
        not args.force_rm,
    )


def _context(path: str) -> str:
    if path == "-" or "://" in path or path.startswith("git@"):
        raise UsageError(f"the context {path} is not supported yet", hint="give a folder")
    if not os.path.isdir(path):
        problem = "is not a folder" if os.path.exists(path) else "is not there"
        raise UsageError(f"the context {path} {problem}", hint="give the folder that COPY and ADD take from")
    return path


def _dockerfile(context: str, file: str | None) -> tuple[str | None, bytes, str]:
    """Path (None for standard input), content and the name for messages."""
    if file == "-":
        return None, sys.stdin.buffer.read(), "stdin"
    if file is None:
        candidates = [os.path.join(context, name) for name in DOCKERFILES]
        path = next((path for path in candidates if os.path.exists(path)), None)
        if path is None:
            hint = "name another with --file"
            raise UsageError(f"there is no Dockerfile in {context}", hint=hint)
    else:
        # Like buildah: seen from here, else from the context.
        path = file if os.path.exists(file) else os.path.join(context, file)
    with open(path, "rb") as opened:
        return path, opened.read(), os.path.relpath(path, context) if file is None else file


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


def _pull(args: Arguments) -> str:
    policy = "always" if args.pull_always else "never" if args.pull_never else _PULL.get(args.pull.lower())
    if policy is None:
        raise UsageError(f"unknown pull policy {args.pull!r}", hint="one of always, missing, newer, never")
    return policy


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


def _check(args: Arguments) -> None:
    for name, allowed in (
        ("format", ("oci", "docker")),
        ("network", ("host", "none", "default")),
        ("progress", ("auto", "plain", "none", "quiet")),
    ):
        if args.values[name] not in allowed:
            raise UsageError(f"--{name} can't be {args.values[name]!r}", hint=f"one of {', '.join(allowed)}")


def _secrets(words: Sequence[str]) -> dict[str, SecretSource]:
    from bud.build import SecretSource

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


if __name__ == "__main__":
    sys.exit(main())
