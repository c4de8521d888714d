"""The command ``bud``, which is ``buildlib build`` too: reads flags and files, builds, prints the image's id.

With :mod:`bud.arguments` the only part of ``bud`` that reads environment, working directory and standard input.
Progress goes to stderr.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import nullcontext

from bud import results
from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Flag, HelpWanted, Verb, parse
from buildlib.cli.registry_flags import PLATFORM_FLAGS, REGISTRY_FLAGS
from buildlib.cli.run_flags import LIMIT_FLAGS, NAMESPACE_FLAGS, RIGHTS_FLAGS
from buildlib.errors import BuildlibError, RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from typing import TextIO

    from bud.progress import Progress
    from bud.request import Request
    from buildlib import Image, ManifestList, Store
    from buildlib.cli.flags import Arguments

OWN_FAILURE = 125
INTERRUPTED = 130
VERB = Verb(
    "build",
    "Build an image from a Dockerfile",
    accepts="[CONTEXT]",
    positionals=(0, 1),
    aliases=("bud",),
    example="bud -t localhost/site:1.4 .\nbud --target test --build-arg VERSION=2 -f docker/Dockerfile .",
    details="CONTEXT is what COPY and ADD take from: a folder (by default the current one), a git repository with\n"
    "#REF:FOLDER, the URL of an archive or a Dockerfile, or - for either from stdin. Prints the id of the image;\n"
    "what goes on is told on stderr. The exit code is that of a RUN that failed.\n"
    "With the word explain before its flags (bud explain -t …) it builds nothing: it says for each step whether\n"
    "the cache has it, and if not which file, ARG or parent changed.",
    flags=(
        Flag("all-platforms", "build for all platforms that the bases have in common", kind=BOOL),
        Flag("allow", "what RUN may ask for: security.insecure, device or device=NAME", kind=EACH, metavar="RIGHT"),
        Flag("annotation", "an annotation of the manifest, KEY=VALUE", kind=EACH, metavar="KEY=VALUE"),
        Flag("attest", "attestations: type=sbom|provenance; only disabled=true is known", kind=EACH, metavar="WHAT"),
        Flag("build-arg", "a value for an ARG; NAME alone takes the one of the environment", kind=EACH,
             metavar="NAME[=VALUE]"),
        Flag("build-arg-file", "a file with NAME=VALUE lines", kind=EACH, metavar="FILE"),
        Flag("build-context", "an additional build context: a folder, URL, git repository, docker-image://IMAGE, "
             "oci-layout://FOLDER or target:STAGE", kind=EACH, metavar="NAME=WHERE"),
        Flag("builder", "accepted; there is one kind", metavar="NAME", no_op=True),
        Flag("cache-from", "also look steps up there: HOST/NAME, type=registry,ref=HOST/NAME or type=local,src=DIR; "
             "an image with an inline cache serves too. Its author is trusted with what is built", kind=EACH,
             metavar="CACHE"),
        Flag("cache-repo", "the same as --cache-from and --cache-to of it, with all stages", metavar="HOST/NAME"),
        Flag("cache-to", "write the cache there: HOST/NAME, type=registry,ref=…, type=local,dest=DIR (each with "
             "mode=max for all stages) or type=inline, into the image. It shows commands and ARGs", kind=EACH,
             metavar="CACHE"),
        Flag("cache-ttl", "take nothing from the cache that is older, like 24h; 0 is the same as --no-cache",
             metavar="DURATION"),
        Flag("call", "build, or check (which is --check)", metavar="WHAT", default="build"),
        Flag("check", "only look for what is better written otherwise (`bud check` is the same; --format json for "
             "programs); the exit code is 1 when there is something", kind=BOOL),
        Flag("compress", "accepted", kind=BOOL, no_op=True),
        Flag("disable-compression", "layers are stored unpacked anyway", short="D", kind=BOOL, no_op=True),
        Flag("disable-content-trust", "accepted", kind=BOOL, no_op=True),
        Flag("cpp-flag", "flag for a C preprocessor of Dockerfiles", kind=EACH, later=True),
        Flag("decryption-key", "key for encrypted images", kind=LIST, later=True),
        Flag("digest-file", "write the digest of the image's manifest to this file", metavar="FILE"),
        Flag("dry-run", "print the plan and do nothing", kind=BOOL),
        Flag("emit-python", "print a Python script that builds the same image, and do nothing", kind=BOOL),
        Flag("env", "a variable of the image", kind=EACH, metavar="NAME[=VALUE]"),
        Flag("explain", "say of each step that is executed why the cache did not have it", kind=BOOL),
        Flag("file", "the Dockerfile; - reads it from stdin", short="f", metavar="FILE"),
        Flag("force-rm", "remove the container of a failed RUN as well", kind=BOOL),
        Flag("format", "oci or docker", metavar="FORMAT", default="oci", env="BUILDAH_FORMAT"),
        Flag("from", "replaces the image of the first FROM", metavar="IMAGE"),
        Flag("history", "in whose way the steps are written down in the image: docker or buildah", metavar="WAY",
             default="docker"),
        Flag("hooks-dir", "folders with OCI hooks", kind=EACH, later=True),
        Flag("identity-label", "accepted; no label says what built the image", kind=BOOL, no_op=True),
        Flag("ignorefile", "the ignore file, instead of .dockerignore", metavar="FILE"),
        Flag("iidfile", "write the id of the image to this file instead of stdout", metavar="FILE"),
        Flag("jobs", "how many stages are built at once, by default one a processor; 0: all that can be", kind=NUMBER,
             metavar="N"),
        Flag("label", "a label of the image, KEY=VALUE", kind=EACH, metavar="KEY=VALUE"),
        Flag("layers", "a layer and a cache record for each step", kind=BOOL, default=True, env="BUILDAH_LAYERS"),
        Flag("load", "also hand the image to the docker daemon, as -o type=docker does", kind=BOOL),
        Flag("logfile", "tell there how it goes on, instead of stderr", metavar="FILE"),
        Flag("logsplit", "a log file for each platform", kind=BOOL, later=True),
        Flag("manifest", "add the images to this index, which is made where it is not there yet", metavar="NAME"),
        Flag("metadata-file", "write digests and names of the image to this file, as JSON", metavar="FILE"),
        Flag("no-cache", "look nothing up in the cache", kind=BOOL),
        Flag("no-cache-filter", "look these up nowhere: names of stages, lines (12) or ranges of lines (12-20)",
             kind=LIST, metavar="STAGE|LINE"),
        Flag("omit-history", "give the image no history", kind=BOOL),
        Flag("on-error", "what becomes of the container of a failed RUN: keep, fail (remove it) or shell (look in)",
             metavar="WHAT", default="keep"),
        Flag("os-feature", "a feature of the operating system that the image needs", kind=EACH, metavar="FEATURE"),
        Flag("os-version", "the version of the operating system that the image is for", metavar="VERSION"),
        Flag("output", "also write the result there: DIR, - (tar to stdout) or "
             "type=local|tar|oci|docker|image|registry with dest=PATH or name=NAME; several are fine", short="o",
             kind=EACH, metavar="OUTPUT"),
        Flag("platform", "os/arch[/variant] of the image; several make an index of images", kind=LIST,
             metavar="PLATFORM[,PLATFORM]"),
        Flag("progress", "auto (live on a terminal), plain, tty, rawjson (events for programs) or quiet",
             metavar="KIND", default="auto", env="BUILDLIB_PROGRESS"),
        Flag("provenance", "how it was built, as an attestation; only false is known", metavar="false", bare="true"),
        Flag("pull", "when to fetch base images: always, missing, newer or never", metavar="POLICY", default="missing",
             bare="always"),
        Flag("pull-always", "the same as --pull=always", kind=BOOL),
        Flag("pull-never", "the same as --pull=never", kind=BOOL),
        Flag("push", "push the image by all its names when it is built", kind=BOOL),
        Flag("quiet", "do not tell how it goes on", short="q", kind=BOOL),
        Flag("reproducible", "accepted; layers always are, and with --timestamp or --source-date-epoch the image is",
             kind=BOOL, no_op=True),
        Flag("rewrite-timestamp", "give no file a later time than --source-date-epoch", kind=BOOL),
        Flag("rm", "remove the containers of a build that went well", kind=BOOL, default=True, no_op=True),
        Flag("runtime", "accepted; commands run in our own sandbox", env="BUILDAH_RUNTIME", no_op=True),
        Flag("runtime-flag", "accepted", kind=LIST, no_op=True),
        Flag("sbom", "what the image holds, as an attestation; only false is known", metavar="false", bare="true"),
        Flag("secret", "a secret for RUN --mount=type=secret", kind=EACH, metavar="id=ID,src=FILE|env=NAME"),
        Flag("sign-by", "sign with this key", metavar="FINGERPRINT", later=True),
        Flag("single-snapshot", "the same as --squash", kind=BOOL),
        Flag("skip-unused-stages", "build only what the target needs", kind=BOOL, default=True),
        Flag("source-date-epoch", "the time of the image and its history, in seconds (or $SOURCE_DATE_EPOCH)",
             kind=NUMBER, metavar="SECONDS"),
        Flag("squash", "make one layer of all new layers", kind=BOOL),
        Flag("squash-all", "make one layer of everything, the base included", kind=BOOL),
        Flag("ssh", "an SSH agent or keys for RUN --mount=type=ssh", kind=EACH, metavar="ID[=SOCKET|KEY[,KEY]]"),
        Flag("stdin", "commands read standard input; they are not cached then", kind=BOOL),
        Flag("tag", "a name for the image", short="t", kind=EACH, metavar="NAME"),
        Flag("tar-path", "also write the image there: the same as -o type=docker,dest=FILE", metavar="FILE"),
        Flag("target", "the stage to build, by default the last", metavar="STAGE"),
        Flag("timestamp", "the time of the image, its history and all new files, in seconds", kind=NUMBER,
             metavar="SECONDS"),
        Flag("unsetenv", "a variable to take out of the image", kind=LIST, metavar="NAME"),
        Flag("unsetlabel", "a label to take out of the image", kind=LIST, metavar="KEY"),
        Flag("volume", "a folder of the host for commands, SOURCE:TARGET[:ro]", short="v", kind=EACH, metavar="VOLUME"),
        *LIMIT_FLAGS,
        *NAMESPACE_FLAGS,
        *(flag for flag in PLATFORM_FLAGS if flag.name != "platform"),
        *REGISTRY_FLAGS,
        *RIGHTS_FLAGS,
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; ``argv`` is without the program's name.

    0, the exit code of a RUN that failed, 125 for wrong usage and all else, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["check"]:
        words[0] = "--check"
    usual = gc.get_threshold()
    gc.set_threshold(20_000, *usual[1:])  # importing makes much that stays: looking through it takes 3 ms
    try:
        # ``buildlib`` puts its own flags in front, each as one word.
        first = next((i for i, word in enumerate(words) if not (word.startswith("--") and "=" in word)), 0)
        only_explain = words[first : first + 1] == ["explain"]
        if only_explain:
            del words[first]
        args = parse(VERB, words, os.environ)
        args.values["only_explain"] = only_explain
        return _build(args)
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
    finally:
        gc.set_threshold(*usual)


def _report(error: BuildlibError) -> int:
    from bud.errors import DockerfileError, visible

    lines = [f"Error: {visible(error.message)}"]
    if isinstance(error, DockerfileError) and error.excerpt():
        lines.append(error.excerpt())
    if isinstance(error, RunError) and error.output:
        lines += ["the last lines it printed:", *(f"    {visible(line)}" for line in error.output.splitlines())]
    if getattr(error, "log", None):
        lines.append(f"all that it printed: {error.log}")  # type: ignore[attr-defined]  # of StepFailed
    if error.hint:
        lines.append(f"hint: {error.hint}")
    sys.stderr.write("\n".join(lines) + "\n")
    return error.exit_code if isinstance(error, RunError) and error.exit_code else OWN_FAILURE


def _build(args: Arguments) -> int:
    from bud import arguments
    from bud.errors import StepFailed
    from buildlib.cli.place import open_store

    args.values["check"] = args.check or args.call in ("check", "lint")
    if args.check:
        args.values["check"] = "json" if args.format == "json" else "text"
        args.values["format"] = "oci" if args.format in ("json", "text") else args.format
    arguments.check(args)
    # What is wrong with a folder, a Dockerfile or a flag is found before there is a store.
    request = arguments.request_of(args) if arguments.is_here(args) else None
    try:
        with open_store(args) as store:
            if request is not None:
                return _with(store, request, args)
            with arguments.fetched(store, args) as request:
                return _with(store, request, args)
    except StepFailed as error:
        if args.root and error.hint:
            error.hint = error.hint.replace("buildlib run", f"buildlib --root {args.root} run")
        raise


def _with(store: Store, request: Request, args: Arguments) -> int:
    """Do what is asked for: build, or only tell."""
    from bud import check, told

    if args.check:
        text, code = check.report(store, request, args.check)
        sys.stdout.write(text)
        return code
    request = results.extend(request, args)
    if args.values.get("only_explain"):
        from bud.explain import explain

        sys.stdout.writelines(one.describe() for one in explain(store, request))
        return 0
    with _stream(args) as out:
        shown = told.progress(_how(args), out, os.environ, os.path.join(store.root, "logs"))
        try:
            image = _run(store, request, shown, args)
        finally:
            shown.close()
    if image is not None:
        results.finish(store, image, request.all_names, args)
    return 0


def _run(store: Store, request: Request, shown: Progress, args: Arguments) -> Image | ManifestList | None:
    """What was built; None where only the plan is wanted, or a script."""
    from bud import check
    from bud.builds import Builds

    with Builds(store, request, shown) as builds:
        if args.dry_run:
            sys.stdout.write(builds.describe())
            return None
        if args.emit_python:
            from bud.emit import script

            sys.stdout.write(script(builds))
            return None
        with check.around(store, request, shown, _how(args)):
            return builds.run()


def _how(args: Arguments) -> str:
    """Which kind of progress is wanted."""
    if args.quiet:
        return "quiet"
    return "rawjson" if args.log_format == "json" and args.progress == "auto" else str(args.progress)


def _stream(args: Arguments) -> AbstractContextManager[TextIO]:
    """Where it is told how the build goes on."""
    if args.logfile:
        return open(args.logfile, "w", encoding="utf-8", errors="surrogateescape")
    return nullcontext(sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
