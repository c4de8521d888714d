"""How a call that may change files is performed: looked up, or executed and made a layer, or just executed.

With the cache on, a call either has happened, and then the container has one layer more, or it has not: what it left
in the upper when it failed stays to be looked at until the next call that has to execute clears it away.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress

from buildlib import cache
from buildlib.cache import Record
from buildlib.container.state import CHANGED, CLEAN, FAILED, Entry
from buildlib.errors import BuildlibError, NotCached, NotFound, StoreFull
from buildlib.oci.value import NamedTuple, evolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from buildlib.cache import Step
    from buildlib.container import WorkingContainer
    from buildlib.container.state import State
    from buildlib.store import Store


class Call(NamedTuple):
    """One call on a container that may change its files."""

    step: Callable[[], Step]
    """Computes what the call depends on; asked only when the cache is on."""
    execute: Callable[[], Any]
    """Does it, in the prepared container; what it returns comes back to the caller."""
    created_by: str
    """For the history."""
    comment: str = ""
    recorded: bool = False
    """Whether the history gets an entry also when the call makes no layer of its own."""
    memoise: bool = True
    """False: executed as if the cache was off."""
    keeps: Callable[[Any], Sequence[str] | None] | None = None
    """What of the result the cache record keeps, for a call whose output is wanted again."""
    wants_kept: bool = False
    """Whether a record without that is of no use."""
    verify: Callable[[Any, Step], bool] | None = None
    """Whether the result belongs to the step: False if the inputs changed meanwhile, so that all is to be done anew."""
    good: Callable[[Any], bool] | None = None
    """Whether the result may be remembered; what did not go well becomes part of the container, but of no record."""


class Outcome(NamedTuple):
    """What became of a call."""

    cached: bool
    result: Any
    """What ``execute`` returned, or else what a record kept."""


ATTEMPTS = 3
"""How often a call is begun anew whose inputs change while it runs."""


def perform(container: WorkingContainer, call: Call) -> Outcome:
    """Perform ``call``. What ``execute`` raises is passed on."""
    with container.lock:
        container.refresh()
        if not (container.state.cache and call.memoise):
            _may_execute(container, call)
            return Outcome(False, _plainly(container, call))
        for _ in range(ATTEMPTS):
            outcome = _memoised(container, call)
            if outcome is not None:
                return outcome
        from buildlib.errors import CopyError

        raise CopyError(f"{call.created_by}: its sources keep changing", hint="stop what writes to them", path=None)


def record(container: WorkingContainer, verb: str, given: Mapping[str, Any]) -> None:
    """Write down a call that was made on a container that keeps what was done to it."""
    if container.state.calls is not None:
        from buildlib.container.calls import note

        with container.lock, suppress(StoreFull):  # what was done is done, also where there is no room to say so
            note(container, verb, given)


def _plainly(container: WorkingContainer, call: Call) -> Any:
    with executing(container):
        # Where the leavings of a failed cached call lie, they are looked at, and not made part of the container.
        leavings = container.state.upper == FAILED and container.state.cache
        make_ready(container, FAILED if leavings else CHANGED)
        result = call.execute()
        if call.recorded:
            entry = Entry(call.created_by, call.comment, time.time(), empty_layer=True, files=not leavings)
            container.save(container.state.evolve(history=(*container.state.history, entry)))
        return result


def _memoised(container: WorkingContainer, call: Call) -> Outcome | None:
    """The outcome, or None if it has to be tried again."""
    settle(container)
    parent = container.state.state_key
    step = call.step()
    key = cache.key(parent, step)
    records = container.store.cache
    state = container.state
    record = None if state.no_cache else records.seek(key, container.layers, state.max_age)
    if record is not None:
        kept = records.printed(key) if call.wants_kept else None
        if not (call.wants_kept and kept is None) and _take(container, key, record, call):
            if records.watch is not None:
                records.watch(cache.Looked(container.id, call.created_by, hit=True))
            return Outcome(True, kept)
    if records.watch is not None:
        records.watch(cache.Looked(container.id, call.created_by, hit=False, why=_reasons(container, parent, step)))
    _may_execute(container, call)
    with executing(container):
        try:
            clear_leavings(container)
            make_ready(container, FAILED)
            result = call.execute()
            if call.verify is not None and not call.verify(result, step):
                return None
            if call.good is not None and not call.good(result):
                container.save(container.state.evolve(upper=CHANGED))
                _note(container, call)
            else:
                _remember(container, call, key, step, result)
        except StoreFull:
            _make_room(container)
            raise
        return Outcome(False, result)


def _reasons(container: WorkingContainer, parent: str, step: Step) -> tuple[str, ...]:
    """Why a step is not cached, for people."""
    if container.state.no_cache:
        return ("it was not to be looked up",)
    nearest = container.store.cache.explain(parent, step)
    if nearest is None:
        return ("its parent changed",) if container.store.cache.knows_elsewhere(step) else ()
    return nearest.differences or ("what was cached is too old, or incomplete",)


def _make_room(container: WorkingContainer) -> None:
    """On a full disk not even a row can be written: what the call left goes at once, before it is written down."""
    from buildlib.recovery import remove_paths

    if container.state.upper == FAILED and container.mount_point is None:
        with suppress(BuildlibError):
            remove_paths(container.store, [f"containers/{container.id}"])


def _may_execute(container: WorkingContainer, call: Call) -> None:
    container.requests.check()
    if container.only_cached:
        raise NotCached(f"{call.created_by}: the cache does not have its outcome")


def _note(container: WorkingContainer, call: Call) -> None:
    entry = Entry(call.created_by, call.comment, time.time(), empty_layer=True, files=True)
    container.save(container.state.evolve(history=(*container.state.history, entry)))


def _take(container: WorkingContainer, key: str, record: Record, call: Call) -> bool:
    """Put the layer of a record on top; False if it has just been collected."""
    db, state = container.store.db, container.state
    with db.transaction() as conn:
        if conn.execute("SELECT 1 FROM layers WHERE id = ?", (record.layer,)).fetchone() is None:
            return False
        entry = Entry(call.created_by, call.comment, record.created)
        row = (container.id, len(container.layers), record.layer)
        conn.execute("INSERT INTO container_layers VALUES (?, ?, ?)", row)
        container.store.cache.use(key)
        container.write(state.evolve(state_key=record.result, history=(*state.history, entry)))
    container.layers = (*container.layers, record.layer)
    return True


def graft(container: WorkingContainer, other: WorkingContainer, call: Call) -> None:
    """Put what ``other`` has made of nothing on top of the container: it is a layer that depends on none below."""
    with container.lock:
        container.refresh()
        settle(container)
        state, (layer,) = container.state, other.layers
        entry = Entry(call.created_by, call.comment, other.state.history[-1].created)
        key = cache.changed_state(state.state_key, other.state.state_key)
        with container.store.db.transaction() as conn:
            conn.execute("INSERT INTO container_layers VALUES (?, ?, ?)", (container.id, len(container.layers), layer))
            container.write(state.evolve(state_key=key, history=(*state.history, entry)))
        container.layers = (*container.layers, layer)


def _remember(container: WorkingContainer, call: Call, key: str, step: Step, result: Any) -> None:
    """Make what was written a layer and record it; keep an older layer instead where that one is equal."""
    store, state, parent = container.store, container.state, container.state.state_key
    created = time.time()
    kept = call.keeps(result) if call.keeps is not None else None
    history = (*state.history, Entry(call.created_by, call.comment, created))
    before = store.cache.find(key)  # it is there when it was not to be looked up, or was too old

    def record(layer: str) -> None:
        store.cache.add(key, parent, step, Record(layer, key, created), kept)

    layer = seal(container, state.evolve(state_key=key, history=history), record)
    others = store.cache.siblings(parent, step.kind, layer)
    older = _equal(store, layer, others if before is None else [before, *others])
    if older is None and before is not None:
        # Same step, other outcome: what follows must not be taken for what followed the outcome of before.
        content = store.layers.measured(layer).content_digest or layer
        new = Record(layer, cache.changed_state(key, content), created)
        with store.db.transaction():
            store.cache.add(key, parent, step, new, kept)
            container.write(container.state.evolve(state_key=new.result))
    if older is not None:
        store.cache.add(key, parent, step, older, kept, checked=created)
        entry = evolve(history[-1], created=older.created)
        _replace(container, layer, older, (*history[:-1], entry))


def _equal(store: Store, layer: str, others: Sequence[Record]) -> Record | None:
    """The first of ``others`` whose layer has the content of ``layer``. It waits for digests if there are any."""
    store.layers.measure(layer)
    if not others:
        return None
    content = store.layers.measured(layer).content_digest
    for other in others:
        try:
            if content is not None and store.layers.measured(other.layer).content_digest == content:
                return other
        except NotFound:  # collected meanwhile
            continue
    return None


def _replace(container: WorkingContainer, layer: str, older: Record, history: tuple[Entry, ...]) -> None:
    """Put the older layer where the new, equal one stands on top, and delete that one."""
    from buildlib.recovery import remove_paths

    store = container.store
    with store.db.transaction() as conn:
        row = (older.layer, container.id, len(container.layers) - 1)
        conn.execute("UPDATE container_layers SET layer = ? WHERE container = ? AND position = ?", row)
        container.write(container.state.evolve(state_key=older.result, history=history, prepared=older.layer))
        # Another process may have taken it meanwhile; then it stays, and is garbage later.
        sql = (
            "DELETE FROM layers WHERE id = ? AND id NOT IN (SELECT layer FROM container_layers) "
            "AND id NOT IN (SELECT layer FROM image_layers) AND id NOT IN (SELECT layer FROM cache)"
        )
        deleted = conn.execute(sql, (layer,)).rowcount
    container.layers = (*container.layers[:-1], older.layer)
    if deleted:
        remove_paths(store, [f"layers/{layer}"])


# --- the upper --------------------------------------------------------------------------------------------------------


@contextmanager
def executing(container: WorkingContainer) -> Iterator[None]:
    """Nobody else executes in the container within the block; raises :class:`StoreBusy` if somebody does.

    The container's lock has to be held. A block within a block is fine.
    """
    if container.executing:
        yield
        return
    if container.execution is None:
        container.execution = container.store.lease(f"execution:{container.id}", exclusive=True)
    container.executing = True
    try:
        yield
    finally:
        container.executing = False
        # On a full disk a row can't even be deleted; the lease is kept then, for the next time.
        with suppress(StoreFull):
            container.execution.drop()
            container.execution = None


def make_ready(container: WorkingContainer, mark: str) -> None:
    """Have the folders on disk made for the container's stack, and its upper marked as ``mark``."""
    state = container.state
    top = container.layers[-1] if container.layers else ""
    there = state.prepared == top and os.path.lexists(upper_of(container))
    if not there:
        worker = container.store.worker
        if state.prepared is not None:
            worker.call("remove", {"keys": [container.id], "layers": [], "paths": []})
        worker.call("prepare", {"key": container.id, "parents": list(container.layers)})
    if not there or state.upper != mark:
        container.save(state.evolve(prepared=top, upper=mark))


def clear_leavings(container: WorkingContainer) -> None:
    """Throw away what a failed call left in the upper."""
    if container.state.upper == FAILED:
        with unmounted(container):
            container.store.worker.call("remove", {"keys": [container.id], "layers": [], "paths": []})
        container.save(container.state.evolve(prepared=None, upper=CLEAN))


def settle(container: WorkingContainer) -> None:
    """Make changes that no cached call made (through a mount, say) a layer, which counts by its content.

    Without the cache this is what makes a layer of all that was done; see :func:`own`.
    """
    state = container.state
    if state.upper != CHANGED:
        return
    if is_untouched(container):
        container.save(state.evolve(upper=CLEAN if container.mount_point is None else CHANGED))
        return
    history = own(state, time.time())
    with executing(container):
        layer = seal(container, state.evolve(history=history))
    store = container.store
    if not state.cache:
        store.layers.measure(layer, content=False)
        return
    content = store.layers.measured(layer).content_digest or layer
    container.save(container.state.evolve(state_key=cache.changed_state(state.state_key, content)))


def own(state: State, now: float) -> tuple[Entry, ...]:
    """The history with the layer that is about to be made: the last step that may have changed files owns it.

    Where no step is recorded, an entry is made, as buildah makes one at commit.
    """
    history = list(state.history)
    owners = [index for index, entry in enumerate(history) if entry.files]
    if owners:
        history[owners[-1]] = evolve(history[owners[-1]], empty_layer=False, created=now)
    else:
        history.append(Entry(state.created_by or shell_of(state), state.history_comment, now))
    return tuple(evolve(entry, files=False) if entry.files else entry for entry in history)


def shell_of(state: State) -> str:
    """What buildah writes as the step of a commit when nobody says otherwise."""
    return " ".join(state.config.config.shell) or "/bin/sh"


def seal(container: WorkingContainer, state: State, also: Callable[[str], None] | None = None) -> str:
    """Turn the upper into a layer, and ``state`` into the container's, in one transaction; return the layer."""

    def together(layer: str) -> None:
        container.write(state.evolve(upper=CLEAN, prepared=layer))
        if also is not None:
            also(layer)

    with unmounted(container):
        layer = container.store.layers.seal(container.id, container.layers, together)
        container.layers = (*container.layers, layer)
    return layer


@contextmanager
def unmounted(container: WorkingContainer) -> Iterator[None]:
    """The container is not mounted for all to see within the block, and again afterwards if it was."""
    was = container.mount_point is not None
    if was:
        container.umount()
    try:
        yield
    finally:
        if was:
            container.mount()


def upper_of(container: WorkingContainer) -> str:
    """The folder that receives what is written."""
    return f"{container.store.root}/containers/{container.id}/upper"


def is_untouched(container: WorkingContainer) -> bool:
    """Whether the upper holds nothing, and its root is as the layer below has it. When in doubt, it is not."""
    upper = upper_of(container)
    try:
        if os.listdir(upper):
            return False
        own = os.stat(upper)
        if not container.layers:
            # Root in the container is who made the folder.
            return (own.st_uid, own.st_gid, own.st_mode & 0o7777) == (os.geteuid(), os.getegid(), 0o755)
        below = os.stat(container.store.layers.path(container.layers[-1]))
    except FileNotFoundError:
        return container.state.prepared is None
    except OSError:
        return False
    return (own.st_uid, own.st_gid, own.st_mode) == (below.st_uid, below.st_gid, below.st_mode)
