"""The magics, in a real kernel: what cells print, show and leave behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

from buildlib.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

OPEN = """\
import buildlib
store = buildlib.open_store({root!r})
%load_ext buildlib
c = store.from_image("busybox")
"""


class Kernel:
    """A kernel that executes one cell after the other, with a ``store`` and a container ``c``."""

    def __init__(self, client: Any, root: str, folder: Path) -> None:
        self.client = client
        self.root = root
        self.folder = folder
        self(OPEN.format(root=root))

    def __call__(self, source: str, *, fails: bool = False) -> list[Any]:
        """The outputs of a cell, which ends with an error if it ``fails``."""
        cells = self.client.nb.cells
        book: Any = nbformat.v4
        cells.append(book.new_code_cell(source))
        try:
            self.client.execute_cell(cells[-1], len(cells) - 1)
        except nbclient.exceptions.CellExecutionError:
            if not fails:
                raise
        else:
            assert not fails
        outputs: list[Any] = cells[-1].outputs
        return outputs

    def interrupt(self) -> None:
        """Ctrl-C, as a frontend sends it."""
        os.kill(self.client.km.provisioner.pid, signal.SIGINT)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, busybox_tar: str) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("notebook")
    root = str(folder / "store")
    with Store.open(root) as store:
        store.from_image(f"tarball:{busybox_tar}").commit("localhost/busybox:latest")
    resources = {"metadata": {"path": str(folder)}}
    book: Any = nbformat.v4
    client: Any = nbclient.NotebookClient(book.new_notebook(), timeout=120, resources=resources)
    with client.setup_kernel():
        kernel = Kernel(client, root, folder)
        yield kernel
        kernel("store.close()")


def printed(outputs: list[Any], name: str = "stdout") -> str:
    return "".join(each.text for each in outputs if each.output_type == "stream" and each.name == name)


def html(outputs: list[Any]) -> str:
    return "".join(each.data.get("text/html", "") for each in outputs if "data" in each)


def told(outputs: list[Any]) -> str:
    """The error at the end of a cell."""
    assert outputs[-1].output_type == "error"
    return "\n".join(outputs[-1].traceback)


def test_a_cell_is_run_in_a_container(kernel: Kernel) -> None:
    outputs = kernel(
        "%%run c --env WHO='you and me' --user app --mount type=tmpfs,target=/scratch\n"
        "echo hello $WHO; id -u; touch /scratch/x; echo oops >&2"
    )
    assert printed(outputs) == "hello you and me\n1000\n"
    assert printed(outputs, "stderr") == "oops\n"
    kernel("%%run c\necho hello > /made")
    assert printed(kernel("print(c.path('/made').read_text())")) == "hello\n\n"


def test_a_dockerfile_is_built_with_progress_and_shown(kernel: Kernel) -> None:
    (kernel.folder / "file").write_text("from the context")
    outputs = kernel(
        "%%dockerfile -t made:1 --build-arg V=7 --into image\nFROM busybox\nARG V\nCOPY file /f\nRUN echo $V >> /f\n"
    )
    assert "RUN echo" in html(outputs)
    assert "localhost/made:1" in html(outputs)
    assert printed(kernel("print(image.open('/f').read(), image.names)")) == (
        "from the context7\n ('localhost/made:1',)\n"
    )


def test_an_error_is_told_in_a_few_lines(kernel: Kernel) -> None:
    outputs = kernel("%%dockerfile\nFROM busybox\nRUNN x\n", fails=True)
    assert "RUNN" in told(outputs)
    assert len(outputs[-1].traceback) < 12
    assert "no container" in told(kernel("%%run nobody\ntrue", fails=True))
    assert "--mount" in told(kernel("%%run c --mount type=odd\ntrue", fails=True))
    assert kernel("%%run c\nexit 3", fails=True)[-1].ename == "RunError"


def test_any_command_of_the_shell_is_a_line(kernel: Kernel) -> None:
    assert "localhost/busybox" in printed(kernel("%buildlib images"))
    outputs = kernel("%buildlib rmi no-such-image", fails=True)
    assert "no-such-image" in printed(outputs)
    assert "exit code 1" in told(outputs)


def test_what_is_looked_at_shows_itself(kernel: Kernel) -> None:
    kernel("c.run('mkdir /new')")
    shown = "".join(html(kernel(source)) for source in ("c", "c.diff()", "c.history", "store.image('busybox')"))
    assert 'class="bar"' in shown
    assert 'class="m added"' in shown
    assert "c.run(&#x27;mkdir /new&#x27;)" in shown


def test_interrupting_the_kernel_ends_the_step_and_keeps_the_container(kernel: Kernel) -> None:
    kernel("i = store.from_image('busybox')")

    def interrupt() -> None:
        while not list(Path(kernel.root, "containers").glob("*/upper/begun")):
            time.sleep(0.05)
        kernel.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    outputs = kernel("%%run i\ntouch /begun; sleep 100; touch /ended", fails=True)
    thread.join()
    assert outputs[-1].ename == "KeyboardInterrupt"
    assert printed(kernel("print([i.path(p).exists() for p in ('/begun', '/ended')])")) == "[True, False]\n"
    assert printed(kernel("%%run i\necho still here")) == "still here\n"


def test_a_cell_of_python_runs_inside_and_its_value_comes_back(kernel: Kernel, debian_tar: str) -> None:
    # The Python of this machine, shown to a container that has none.
    mount = f"--mount type=bind,source={sys.base_prefix},target={sys.base_prefix}"
    inside = f"%%incontainer p {os.path.realpath(sys.executable)} {mount}"
    kernel(f"p = store.from_image('tarball:{debian_tar}')")
    outputs = kernel(
        f"{inside} --env A=1\nimport os\nprint('pid', os.getpid() < 10)\n{{'a': os.environ['A'], 'n': [1]}}"
    )
    assert printed(outputs) == "pid True\n"
    assert outputs[-1].data["text/plain"] == "{'a': '1', 'n': [1]}"
    assert kernel(f"{inside}\n{{1, 2}}")[-1].data["text/plain"] == "{1, 2}"
    assert kernel(f"{inside}\nx = 1\n") == []
    outputs = kernel(f"{inside}\n1 / 0", fails=True)
    assert "ZeroDivisionError" in printed(outputs, "stderr")
    assert outputs[-1].ename == "RunError"
    assert kernel("%%incontainer c no-such-python\n1", fails=True)[-1].ename == "RunError"
