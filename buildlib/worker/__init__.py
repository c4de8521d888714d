"""The process that does what needs privilege: one for each open store, single-threaded, forking once per request.

``start(root)`` gives a :class:`Worker`, which takes requests from any thread. A request is the name of an operation,
plain data and file descriptors; the answer is plain data, or an error that is raised again here. The worker lives and
dies with this process: when either end is gone, so are its children, their containers and their mounts.

This package's client side imports little; what the operations need is imported by the worker.
"""

from __future__ import annotations

from buildlib.worker.client import Pending, Worker, start

__all__ = ["Pending", "Worker", "start"]
