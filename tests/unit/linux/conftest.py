"""Running a piece of a test in a child of its own, where it may change namespaces and credentials."""

from __future__ import annotations

import os
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.linux import mount, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def in_child() -> Callable[[Callable[[], Any]], Any]:
    """Run a function in a forked child with a private mount namespace; its result, or its failure, comes back."""

    def run(function: Callable[[], Any]) -> Any:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                namespaces.unshare(namespaces.NEWNS)
                mount.make_private()
                answer = (True, function())
            except BaseException:
                answer = (False, traceback.format_exc())
            with os.fdopen(writer, "wb") as file:
                pickle.dump(answer, file)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            data = file.read()
        os.waitpid(pid, 0)
        good, result = pickle.loads(data)
        assert good, result
        return result

    return run
