"""Tasks in threads: each after what it needs, several at once, one error, and nobody left behind."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from bud.schedule import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Task:
    def __init__(self, number: int, needs: Sequence[int] = (), work: Callable[[Task], None] | None = None) -> None:
        self.number = number
        self.needs = tuple(needs)
        self.work = work
        self.cancelled = threading.Event()
        self.thread: threading.Thread | None = None

    def run(self) -> None:
        self.thread = threading.current_thread()
        if self.work is not None:
            self.work(self)
        done.append(self.number)

    def cancel(self) -> None:
        self.cancelled.set()


done: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    done.clear()


def fail(task: Task) -> None:
    raise ValueError(task.number)


def wait(task: Task) -> None:
    assert task.cancelled.wait(60)
    raise RuntimeError("cancelled")


def test_each_comes_after_what_it_needs() -> None:
    run_all([Task(4, [2, 3]), Task(0), Task(1, [0]), Task(2, [0]), Task(3, [1, 9])], 4)
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert done[0] == 0
    assert done[-1] == 4
    assert done.index(1) < done.index(3)


def test_they_run_at_once() -> None:
    barrier = threading.Barrier(3, timeout=60)
    run_all([Task(number, work=lambda _: (barrier.wait(), None)[1]) for number in range(3)], 3)
    assert sorted(done) == [0, 1, 2]


def test_not_more_than_allowed() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def work(_: Task) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    run_all([Task(number, work=work) for number in range(8)], 2)
    assert most[0] == 2
    run_all([Task(number, work=work) for number in range(3)], 1)
    assert most[0] == 2


def test_what_runs_alone_needs_no_thread() -> None:
    tasks = [Task(0), Task(1, [0]), Task(2, [1])]
    run_all(tasks, 4)
    assert {task.thread for task in tasks} == {threading.current_thread()}


def test_the_first_error_is_raised_and_the_others_are_cancelled_and_waited_for() -> None:
    other, later = Task(1, work=wait), Task(2, [1])
    with pytest.raises(ValueError, match="0"):
        run_all([Task(0, work=fail), other, later], 4)
    assert other.cancelled.is_set()
    assert other.thread is not None
    other.thread.join(60)
    assert done == []
    assert later.thread is None


def test_ctrl_c_ends_all() -> None:
    both = threading.Barrier(2, timeout=60)

    def interrupt(task: Task) -> None:
        both.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        wait(task)

    def other(task: Task) -> None:
        both.wait()
        wait(task)

    tasks = [Task(0, work=interrupt), Task(1, work=other)]
    with pytest.raises(KeyboardInterrupt):
        run_all(tasks, 4)
    assert all(task.cancelled.is_set() for task in tasks)
