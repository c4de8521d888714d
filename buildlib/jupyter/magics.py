"""The magics. Interrupting the kernel ends what runs in a container, and the container stays."""

from __future__ import annotations

import os
import sys
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

import buildlib
from buildlib.errors import BuildlibError, NotFound, UsageError
from buildlib.jupyter.words import Parser, build_flags, cut


@magics_class
class BuildlibMagics(Magics):
    """``%%dockerfile``, ``%%run``, ``%%incontainer`` and ``%buildlib``."""

    shell: Any

    @cell_magic
    def dockerfile(self, line: str, cell: str) -> Any:
        """Build the Dockerfile in the cell: ``%%dockerfile [-t NAME] [--build-arg K=V] [--into VARIABLE] [CONTEXT]``.

        Progress is shown below the cell, and then the image. Other flags of ``bud``: --build-context --secret --ssh
        --label --platform --target --network --no-cache --pull --squash --push …
        """
        from buildlib.jupyter.live import LiveProgress

        context, into, flags = build_flags(cut(line, "%%dockerfile"))
        progress = LiveProgress()
        try:
            image = self._told(buildlib.build, context, text=cell, progress=progress, store=self._store(), **flags)
        finally:
            progress.close()
        if into:
            self.shell.user_ns[into] = image
        return image

    @cell_magic
    def run(self, line: str, cell: str) -> None:
        """Run the cell in a container: ``%%run CTR [--user U] [--env K=V] [--mount type=…,target=…] [--workdir D]``.

        CTR is a variable that holds a working container or an image, or the name of a working container.
        """
        parser = _container_parser("%%run")
        found = parser.read(line)
        self._told(self._container(found.container).run, cell, stdout=sys.stdout, stderr=sys.stderr, **_options(found))

    @cell_magic
    def incontainer(self, line: str, cell: str) -> Any:
        """Run the Python in the cell inside a container: ``%%incontainer CTR [PYTHON] [--user U] [--env K=V] …``.

        The value of its last expression comes back where JSON can hold it, else what it looks like.
        """
        from buildlib.jupyter.inside import run_python

        parser = _container_parser("%%incontainer")
        parser.add_argument("interpreter", nargs="?", default="python3")
        found = parser.read(line)
        return self._told(run_python, self._container(found.container), found.interpreter, cell, **_options(found))

    @line_magic
    def buildlib(self, line: str) -> None:
        """Any command of the shell: ``%buildlib images``, ``%buildlib push site docker-archive:site.tar``."""
        import subprocess

        words = [sys.executable, "-m", "buildlib", f"--root={self._store().root}", *cut(line, "%buildlib")]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as command:
            try:
                assert command.stdout is not None
                for text in command.stdout:
                    sys.stdout.write(text)
            except KeyboardInterrupt:
                command.terminate()
                raise
        if command.returncode:
            raise UsageError(f"%buildlib {line} ended with exit code {command.returncode}")

    def _store(self) -> Any:
        """The store of the variable ``store``, where there is one, else that of :func:`buildlib.from_`."""
        own = self.shell.user_ns.get("store")
        return own if isinstance(own, buildlib.Store) else buildlib.shared_store()

    def _container(self, name: str) -> Any:
        own = self.shell.user_ns.get(name)
        if isinstance(own, buildlib.WorkingContainer | buildlib.Image):
            return own
        try:
            return self._store().container(name)
        except NotFound as error:
            error.hint = error.hint or "give a variable that holds a container, or the name of one"
            raise

    def _told(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call it; an error of the library is shown in a few lines, without the way that it came."""
        try:
            return function(*args, **options)
        except BuildlibError as error:
            shown = _lines(error)
            error._render_traceback_ = lambda: shown  # type: ignore[attr-defined]  # IPython asks for it
            raise


def _lines(error: BuildlibError) -> list[str]:
    lines = [f"{type(error).__name__}: {error.message}"]
    excerpt = getattr(error, "excerpt", None)
    if excerpt is not None:
        lines += str(excerpt()).splitlines()
    return [*lines, *([f"hint: {error.hint}"] if error.hint else [])]


def _container_parser(magic: str) -> Parser:
    parser = Parser(magic)
    parser.add_argument("container")
    parser.add_argument("--user")
    parser.add_argument("--workdir")
    parser.add_argument("--network")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--env", "-e", action="append", default=[])
    parser.add_argument("--mount", action="append", default=[])
    return parser


def _options(found: Any) -> dict[str, Any]:
    env = dict(word.partition("=")[::2] for word in found.env)
    mounts = [buildlib.parse_mount(text, os.getcwd()) for text in found.mount]
    given = {name: getattr(found, name) for name in ("user", "workdir", "network", "timeout")}
    return {"env": env, "mounts": mounts, **{name: value for name, value in given.items() if value is not None}}
