"""``buildlib prune`` (also ``gc``): frees what nothing needs."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, Flag, Verb
from buildlib.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildlib import Store
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "prune",
    "Remove images without a name, unused layers and blobs",
    example="buildlib prune --all --force\nbuildlib prune --keep-storage 10GB --filter until=72h",
    details="The cache of build steps stays, but for what --keep-storage and --filter say, or with --all alone: then\n"
    "all of it goes, and the contents of cache mounts too.",
    aliases=("gc",),
    flags=(
        Flag("all", "remove every image that no container uses, and all build caches", short="a", kind=BOOL),
        Flag("filter", "until=TIME: only images made, and cache records last used, before that (72h ago, or a date)",
             kind=EACH, metavar="until=TIME"),
        Flag("force", "also images that containers use, with the containers", short="f", kind=BOOL),
        Flag("keep-storage", "keep at most so much of what only the cache needs; what was used last stays",
             metavar="SIZE"),
    ),
)  # fmt: skip

_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def run(args: Arguments) -> int:
    """Remove, and print the ids of the images that are gone."""
    import time

    from buildlib.cli.many import each
    from buildlib.cli.place import open_store

    now = time.time()
    until = _until(args.filter, now)
    limit = None if args.keep_storage is None else parse_size(args.keep_storage)
    with open_store(args) as store:

        def remove(id: str) -> None:
            store.image(id).remove(force=args.force or args.all)
            print(id)

        code = each(_chosen(store, args, until), remove)
        age = None if until is None else max(now - until, 0.0)
        everything = args.all and age is None and limit is None
        store.gc(everything=everything, cache_age=age, cache_bytes=limit)
    return code


def _chosen(store: Store, args: Arguments, until: float | None) -> list[str]:
    used = {container.image_id for container in store.containers()}
    return [
        image.id
        for image in store.images()
        if (args.all or not image.names)
        and (args.force or image.id not in used)
        and (until is None or image.created < until)
    ]


def parse_size(text: str) -> int:
    """Bytes in ``500MB``, ``1.5g`` (powers of 1000) or ``2GiB`` (of 1024). Raises :class:`UsageError`."""
    import re

    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", text.strip().lower())
    if found is None:
        raise UsageError(f"{text!r} is no size", hint="write it like 500MB or 2GiB")
    factor = _UNITS[found[2]]
    if found[3]:
        factor = 1024 ** "bkmgt".index(found[2] or "b")
    return int(float(found[1]) * factor)


def _until(words: tuple[str, ...], now: float) -> float | None:
    """Seconds since 1970."""
    if not words:
        return None
    from buildlib.cli.listing import parse_filters

    return min(parse_time(value, now) for value in parse_filters(words, ("until",))["until"])


def parse_time(text: str, now: float) -> float:
    """A moment in seconds since 1970: a Go duration before ``now``, a number of seconds, or a date as ISO 8601."""
    import re
    from datetime import datetime

    parts = re.findall(r"(\d+(?:\.\d+)?)(h|m|s)", text)
    if parts and "".join(map("".join, parts)) == text:
        return now - sum(float(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"until={text}: is no time", hint="write 72h, a date, or seconds since 1970") from None
