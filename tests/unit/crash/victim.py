"""Changes a store in every way there is, and kills itself at the line whose number it is given. Not a test.

    victim.py STORE LAYOUT LINE

Lines are counted in the modules that change the store. With 0 it lives, and prints how many lines it has executed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from buildlib import Store

ROOT, LAYOUT, FATAL = sys.argv[1], sys.argv[2], int(sys.argv[3])

WATCHED = {
    *("store", "layers", "measuring", "recovery", "exchange", "transfer", "image", "garbage", "leases", "database"),
    *("content", "overlay", "tree", "creating"),
}

lines = iter(range(1, 1 << 60))


def trace(frame, event, arg):
    if not isinstance(frame.f_code.co_filename, str) or Path(frame.f_code.co_filename).stem not in WATCHED:
        return None
    if event == "line" and next(lines) == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)
    return trace


def work(store):
    container = store.container("worker")
    key, below = container.id, container.layers
    store.worker.call("prepare", {"key": key, "parents": list(below)})
    (Path(store.root) / "containers" / key / "upper" / "precious").write_text("precious")
    layer = store.layers.seal(key, below)
    store.layers.measure(layer)
    store.layers.measured(layer)
    with store.lease() as lease:
        store.layers.retimed(layer, lease, timestamp=0)
        store.layers.squash([layer], lease)
    image = store.pull(LAYOUT, names=["pulled"])
    image.tag("another")
    image.push(f"oci:{ROOT}-out:app")
    image.remove("another")
    with store.from_image("pulled", "passing", temporary=True):
        pass
    image.remove("pulled")
    store.gc(everything=True)


with Store.open(ROOT) as store:
    store.worker  # noqa: B018 - it is forked before there is anything to count
    threading.settrace(trace)
    sys.settrace(trace)
    work(store)
    sys.settrace(None)
print(next(lines) - 1)
