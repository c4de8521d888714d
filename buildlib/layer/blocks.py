"""A byte stream cut into blocks of one size that pass through stages, each on a thread of its own. It knows no tar.

The blocks are the same whatever the speed of the stages, so what is made of each block is too.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from _queue import SimpleQueue
    from collections.abc import Callable, Sequence
    from threading import Lock
    from types import TracebackType

SIZE = 1 << 18
"""Small enough that what one core writes is still in a cache when another one reads it (a mebibyte reads at two
thirds of the speed); large enough that compressing each block on its own costs 0.2 % in size."""
LARGE = 1 << 19
"""For what is only hashed: fewer turns from thread to thread."""
_IN_FLIGHT = 12
_PATIENCE = 1.0
"""How long a stage is waited for when the stream fails: one that writes may wait for a reader that never comes."""
_ZEROS = bytes(65536)


class Block:
    """A reusable buffer on its way through the stages."""

    __slots__ = ("data", "headers", "length", "packed", "ready", "view")

    def __init__(self, capacity: int) -> None:
        self.data = bytearray(capacity)
        self.view = memoryview(self.data)
        self.length = 0
        self.headers: list[int] = []
        """Where ustar headers stand in it."""
        self.packed: bytes = b""
        """What a stage made of it for a later one."""
        self.ready: Lock | None = None

    @property
    def content(self) -> memoryview:
        """The bytes that are filled."""
        return self.view[: self.length]


class Stage:
    """A function of a block. ``parallel``: it may work on that many blocks at once, in any order."""

    __slots__ = ("parallel", "work")

    def __init__(self, work: Callable[[Block], None], parallel: int = 1) -> None:
        self.work = work
        self.parallel = parallel


class Pipeline:
    """Stages in a row. The first full block starts their threads; a stream of one block is worked on right here.

    Neither the first nor the last stage may be parallel. An error of a stage is raised by the next call.
    """

    def __init__(self, stages: Sequence[Stage], capacity: int) -> None:
        self._stages = stages
        self._capacity = capacity
        self._queues: list[SimpleQueue[Block | None]] = []
        self._free: SimpleQueue[Block] | None = None
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def exchange(self, block: Block) -> Block:
        """Pass a full block on and get an empty one, waiting until there is one."""
        if self._free is None:
            self._free = self._start()
        self._forward(0, block)
        fresh = self._free.get()
        if self._error is not None:
            raise self._error
        fresh.length = 0
        fresh.headers.clear()
        return fresh

    def finish(self, block: Block) -> None:
        """Pass the last block on and wait until every stage is through with it."""
        if self._free is None:
            for stage in self._stages:
                stage.work(block)
            return
        self._forward(0, block)
        self.stop()
        if self._error is not None:
            raise self._error

    def stop(self, patience: float | None = None) -> None:
        """Let the threads end after what they have in hand; wait for them, each for ``patience`` seconds at most."""
        if self._threads:
            self._forward(0, None)
            for thread in self._threads:
                thread.join(patience)
            self._threads.clear()

    def _start(self) -> SimpleQueue[Block]:
        from _queue import SimpleQueue  # queue itself imports what its other classes need
        from threading import Thread

        self._queues = [SimpleQueue() for _ in self._stages]
        for number, stage in enumerate(self._stages):
            target = self._run if stage.parallel == 1 else self._run_parallel
            self._threads += [Thread(target=target, args=(number, stage), daemon=True) for _ in range(stage.parallel)]
        for thread in self._threads:
            thread.start()
        free: SimpleQueue[Block] = SimpleQueue()
        for _ in range(_IN_FLIGHT):
            free.put(Block(self._capacity))
        return free

    def _forward(self, number: int, block: Block | None) -> None:
        """Give a block (or the end, None) to the stage ``number``; behind the last one it is free again."""
        if number == len(self._stages):
            if block is not None and self._free is not None:
                self._free.put(block)
            return
        many = self._stages[number].parallel
        if many > 1:
            # The stage behind gets it at once, which keeps the order, and waits until it is ready.
            if block is not None:
                from threading import Lock

                block.ready = Lock()
                block.ready.acquire()
            for _ in range(1 if block is not None else many):
                self._queues[number].put(block)
            number += 1
        self._queues[number].put(block)

    def _run(self, number: int, stage: Stage) -> None:
        while (block := self._queues[number].get()) is not None:
            if number and self._stages[number - 1].parallel > 1 and block.ready is not None:
                block.ready.acquire()
            self._work(stage, block)
            self._forward(number + 1, block)
        self._forward(number + 1, None)

    def _run_parallel(self, number: int, stage: Stage) -> None:
        while (block := self._queues[number].get()) is not None:
            self._work(stage, block)
            if block.ready is not None:
                block.ready.release()

    def _work(self, stage: Stage, block: Block) -> None:
        if self._error is None:
            try:
                stage.work(block)
            except BaseException as error:  # it is raised again in the thread that fills the blocks
                self._error = error


class BlockStream:
    """What is written is gathered in blocks, which go through the stages. Leave the context to finish the stream."""

    def __init__(self, stages: Sequence[Stage], capacity: int = SIZE) -> None:
        self._pipeline = Pipeline(stages, capacity)
        self._block = Block(capacity)
        self._capacity = capacity
        self._done = 0

    def __enter__(self) -> BlockStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pipeline.finish(self._block)
        else:
            self._pipeline.stop(_PATIENCE)

    @property
    def size(self) -> int:
        """How many bytes were written."""
        return self._done + self._block.length

    def header(self, data: bytes) -> None:
        """Write whole units of 512 bytes, the last of which is a ustar header."""
        block = self._block
        length = block.length + len(data)
        if length <= self._capacity:
            block.data[block.length : length] = data
            block.length = length
        else:
            self.put(data)
            block = self._block
        block.headers.append(block.length - 512)

    def put(self, data: bytes) -> None:
        """Write bytes."""
        view = memoryview(data)
        while view:
            block = self._room()
            count = min(self._capacity - block.length, len(view))
            block.data[block.length : block.length + count] = view[:count]
            block.length += count
            view = view[count:]

    def padded(self, fd: int, size: int) -> int:
        """:meth:`copy`, then zero bytes up to a multiple of 512."""
        block = self._block
        start = block.length
        end = start + size
        full = end + (-size & 511)
        if full > self._capacity:
            count = 0
        elif (count := os.readv(fd, [block.view[start:end]])) == size:  # as nearly always: most files are small
            block.data[end:full] = _ZEROS[: full - end]
            block.length = full
            return count
        block.length = start + count
        count += self.copy(fd, size - count)
        self.zeros(-size & 511)
        return count

    def copy(self, fd: int, size: int) -> int:
        """Read ``size`` bytes at the position of ``fd``; return how many there were."""
        left = size
        while left:
            block = self._room()
            length = block.length
            count = os.readv(fd, [block.view[length : length + left]])
            if not count:
                break
            block.length = length + count
            left -= count
        return size - left

    def zeros(self, count: int) -> None:
        """Write zero bytes."""
        while count > 0:
            block = self._room()
            part = min(count, self._capacity - block.length, len(_ZEROS))
            block.data[block.length : block.length + part] = _ZEROS[:part]
            block.length += part
            count -= part

    def _room(self) -> Block:
        """A block that has room: this one, or the next one if it is full."""
        block = self._block
        if block.length == self._capacity:
            self._done += block.length
            self._block = block = self._pipeline.exchange(block)
        return block
