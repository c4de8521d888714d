"""Runs tasks that need each other in threads: each after what it needs, several at once, and all or none.

When one fails or the user gives up, the others are cancelled and waited for, and one error is reported: the first.
"""

from __future__ import annotations

from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Task(Protocol):
        """A piece of work; ``needs`` are the numbers of others."""

        number: int
        needs: tuple[int, ...]

        def run(self) -> None:
            """Do it, in whatever thread."""

        def cancel(self) -> None:
            """Let :meth:`run` end soon, with an error. Called from another thread."""


BREATH = 0.2
"""Seconds."""


def run_all(tasks: Sequence[Task], jobs: int) -> None:
    """Run ``tasks``, at most ``jobs`` at once; needs that are none of them are done.

    Raises what the first to fail raised. A task beside which nothing else can run is run in the calling thread.
    """
    _Run(tasks, jobs).run()


class _Run:
    def __init__(self, tasks: Sequence[Task], jobs: int) -> None:
        self.waiting = {task.number: task for task in tasks}
        self.running: dict[int, Task] = {}
        self.jobs = jobs
        self.failure: BaseException | None = None

    def run(self) -> None:
        while self.waiting and self.failure is None:
            ready = self.ready()
            if len(ready) == 1 or self.jobs == 1:
                del self.waiting[ready[0].number]
                ready[0].run()
            else:
                self.at_once()
        if self.failure is not None:
            raise self.failure

    def ready(self) -> list[Task]:
        unfinished = self.waiting.keys() | self.running.keys()
        return [task for task in self.waiting.values() if not unfinished & set(task.needs)]

    def at_once(self) -> None:
        """Threads, as long as there is more than one thing to do."""
        from queue import Empty, SimpleQueue
        from threading import Thread

        finished: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()

        def next_one() -> tuple[int, BaseException | None]:
            while True:  # a Ctrl-C that comes a moment before the wait begins would not be seen until its end
                with suppress(Empty):
                    return finished.get(timeout=BREATH)

        def work(task: Task) -> None:
            try:
                task.run()
            except BaseException as error:  # raised again in the calling thread
                finished.put((task.number, error))
            else:
                finished.put((task.number, None))

        try:
            while True:
                for task in self.ready()[: self.jobs - len(self.running)] if self.failure is None else ():
                    del self.waiting[task.number]
                    self.running[task.number] = task
                    Thread(target=work, args=(task,), name=f"stage {task.number}", daemon=True).start()
                if not self.running:
                    return
                self.take(*next_one())
        except BaseException:
            self.cancel()
            while self.running:
                self.take(*next_one())
            raise

    def take(self, number: int, error: BaseException | None) -> None:
        """One is over."""
        del self.running[number]
        if error is not None and self.failure is None:
            self.failure = error
            self.cancel()

    def cancel(self) -> None:
        for task in self.running.values():
            task.cancel()
