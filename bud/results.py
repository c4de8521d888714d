"""The flags of ``bud`` about caches and outputs: what they ask for before a build, and what is done after it."""

from __future__ import annotations

import os
import sys

from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bud.outputs import Output
    from bud.request import Request
    from buildlib import Image, ManifestList, Store
    from buildlib.cli.flags import Arguments


def extend(request: Request, args: Arguments) -> Request:
    """The request with what these flags say. Raises :class:`UsageError`."""
    from bud import outputs
    from bud.caching import CacheOptions, check_filters, parse_duration
    from buildlib.cli.configuration import container_defaults
    from buildlib.cli.run_flags import run_options

    wanted = _outputs(args)
    outputs.check(wanted, several=bool(request.platforms) or request.all_platforms)
    squash = args.squash or args.single_snapshot
    if squash and args.squash_all:
        raise UsageError("--squash and --squash-all may not be used together")
    if any(each.dest == outputs.STDOUT for each in wanted) and os.isatty(1):
        raise UsageError("an archive is not written to a terminal", hint="redirect standard output")
    names = dict.fromkeys((*request.names, *outputs.names_of(wanted)))
    if args.push and not names and not request.manifest:
        raise UsageError("--push needs a name to push by", hint="give one with --tag")
    ttl = parse_duration(args.cache_ttl) if args.cache_ttl is not None else None
    check_filters(args.no_cache_filter, [stage.label for stage in request.dockerfile.stages])
    sources, targets = list(args.cache_from), list(args.cache_to)
    if args.cache_repo is not None:
        sources.append(f"type=registry,ref={args.cache_repo}")
        targets.append(f"type=registry,ref={args.cache_repo},mode=max")
    remote = [*sources, *targets]
    options = CacheOptions(
        tuple(sources), tuple(targets), ttl, tuple(args.no_cache_filter), args.explain,
        _access(args) if any("type=local" not in where and "type=inline" not in where for where in remote) else None,
    )  # fmt: skip
    if not request.layers:
        options = options._replace(sources=(), targets=())  # as buildah: there is nothing to look up
    if (squash or args.squash_all) and options.inline:
        raise UsageError("a squashed image can't hold its cache", hint="use type=registry or type=local")
    return request._replace(
        names=tuple(names),
        caching=options,
        squash=squash,
        squash_all=args.squash_all,
        no_cache=request.no_cache or ttl == 0,
        access=lambda: _access(args),
        run=run_options(args, **container_defaults(args)),
    )


def _outputs(args: Arguments) -> list[Output]:
    from bud import outputs

    found = [outputs.parse_output(text) for text in args.output]
    if args.tar_path is not None:
        found.append(outputs.parse_output(f"type=docker,dest={args.tar_path}"))
    return [*found, outputs.Output("docker")] if args.load else found


def write(store: Store, image: Image | ManifestList, names: tuple[str, ...], args: Arguments) -> bool:
    """Write what was asked for; whether standard output got it."""
    from bud import outputs

    wanted = _outputs(args)
    access: dict[str, Any] = {"access": _access(args)} if args.push or any(each.push for each in wanted) else {}
    sys.stdout.flush()
    stdout = sys.stdout.fileno() if wanted else 1
    outputs.write(store, image, wanted, stdout, names, os.environ.get("DOCKER_HOST"), **access)
    if args.push:
        outputs.push(image, names, None, None, **access)
    if args.metadata_file is not None:
        outputs.write_metadata(args.metadata_file, image, names)
    if args.digest_file is not None:
        with open(args.digest_file, "w", encoding="ascii") as file:
            file.write(str(image.digest))
    if args.iidfile is not None:
        with open(args.iidfile, "w", encoding="ascii") as file:
            file.write(f"sha256:{image.id}")
    return any(each.dest == outputs.STDOUT for each in wanted)


def finish(store: Store, image: Image | ManifestList, names: tuple[str, ...], args: Arguments) -> None:
    """The same, and print the id unless it is in a file or standard output got something else."""
    if not write(store, image, names, args) and args.iidfile is None:
        sys.stdout.write(f"{image.id}\n")
        sys.stdout.flush()


def _access(args: Arguments) -> Any:
    """How registries are reached, with this user's logins and settings."""
    from buildlib.cli.registry_flags import access_to

    return access_to(args, "docker://")["access"]
