"""What is written to a descriptor, read as a stream: ahead of the reader, with errors where the end would be."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from buildlib.streamed import Streamed

DATA = os.urandom(5_000_000)


def write(fd, data=DATA):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:100_000]) :]
    return "done"


@pytest.mark.parametrize("ahead", [0, 1, 1 << 20, 64 << 20])
@pytest.mark.parametrize("size", [-1, 1000, 1 << 22])
def test_everything_is_read_in_order(ahead, size):
    with Streamed(write, ahead) as stream:
        parts = [stream.read()] if size < 0 else list(iter(lambda: stream.read(size), b""))
        assert b"".join(parts) == DATA
        assert stream.read(10) == b""
        assert stream.result == "done"
        assert size < 0 or max(map(len, parts)) <= size


def test_it_is_made_before_anybody_reads():
    made = threading.Event()

    def produce(fd):
        write(fd)
        made.set()

    with Streamed(produce, 64 << 20) as stream:
        assert made.wait(30)
        assert stream.read() == DATA


def test_no_more_is_held_than_was_allowed():
    made = threading.Event()

    def produce(fd):
        write(fd)
        made.set()

    with Streamed(produce, 1 << 20) as stream:
        assert not made.wait(0.3), "the pipe and what is held are full"
        assert stream.read() == DATA


@pytest.mark.parametrize("ahead", [0, 64 << 20])
def test_an_error_comes_where_the_end_would_be(ahead):
    def produce(fd):
        os.write(fd, b"some")
        raise ValueError("broken")

    with Streamed(produce, ahead) as stream:
        assert stream.read(10) == b"some"
        with pytest.raises(ValueError, match="broken"):
            stream.read(10)


@pytest.mark.parametrize("ahead", [0, 1 << 20, 64 << 20])
def test_who_stops_reading_ends_the_one_who_writes(ahead):
    ended = []

    def produce(fd):
        try:
            while True:
                os.write(fd, bytes(100_000))
        except BrokenPipeError:
            ended.append(True)

    stream = Streamed(produce, ahead)
    stream.read(10)
    stream.close()
    stream.close()
    assert ended == [True]


def test_descriptors_are_given_back():
    before = opened()
    for ahead in (0, 1 << 20):
        for read in (0, 10, -1):
            with Streamed(write, ahead) as stream:
                stream.read(read)
    assert opened() == before


def opened():
    return {path.name for path in Path("/proc/self/fd").iterdir()}
