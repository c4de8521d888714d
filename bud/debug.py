"""A shell in the container of a RUN that failed, with its mounts and its environment."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bud.build import Build
    from bud.errors import StepFailed

_NOT_THE_SHELLS = ("created_by", "comment")


def open_shell(build: Build, error: StepFailed) -> None:
    """Run a shell on the terminal of this process, where the command of ``error`` failed. It changes no layer."""
    container, call = error.container, error.call
    assert container is not None
    assert call is not None
    config = container.image_config.config
    shell = [config.shell[0] if config.shell else "/bin/sh"]
    build.progress.write(f"{error.message}\n{shell[0]} in {container.name}; leave it with exit\n")
    options = {name: value for name, value in call.options.items() if name not in _NOT_THE_SHELLS}
    # Ctrl-C is for what runs in the shell.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        wanted = call._replace(args=(shell,), options=options)
        build.invoke(container, wanted, stdin=0, stdout=1, stderr=2, check=False, cache=False)
    finally:
        signal.signal(signal.SIGINT, before)
