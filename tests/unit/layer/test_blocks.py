"""Blocks that pass through stages on threads: order, errors and ends."""

import os
import random
import threading
import time

import pytest

from buildlib.layer.blocks import LARGE, SIZE, BlockStream, Stage


def run(stages, count):
    with BlockStream(stages) as stream:
        for number in range(count):
            stream.put(number.to_bytes(4, "big") * (SIZE // 4))
        stream.put(b"rest")
    return stream.size


def first(block):
    return int.from_bytes(block.data[:4], "big")


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_every_stage_sees_every_block_in_order(count):
    seen = [[], []]
    size = run(
        [Stage(lambda block: seen[0].append(first(block))), Stage(lambda block: seen[1].append(first(block)))], count
    )
    expected = [*range(count), int.from_bytes(b"rest", "big")]
    assert seen == [expected, expected]
    assert size == count * SIZE + 4


def test_behind_a_parallel_stage_the_order_is_the_same_again():
    numbers, busy, most = [], [], []

    def slow(block):
        busy.append(1)
        most.append(len(busy))
        time.sleep(random.random() / 200)
        block.packed = block.data[:4]
        busy.pop()

    def collect(block):
        numbers.append(int.from_bytes(block.packed, "big"))

    run([Stage(lambda block: None), Stage(slow, parallel=3), Stage(collect)], 40)
    assert numbers[:-1] == list(range(40))
    assert max(most) == 3


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_in_a_stage_is_raised_where_the_blocks_come_from_and_ends_all_threads(place):
    def fail(block):
        if first(block) == 5:
            raise KeyError("five")

    stages = [Stage(lambda block: None), Stage(lambda block: None, parallel=2), Stage(lambda block: None)]
    stages[place] = Stage(fail, stages[place].parallel)
    before = threading.active_count()
    with pytest.raises(KeyError, match="five"):
        run(stages, 100)
    assert threading.active_count() == before


def test_an_error_of_the_writer_ends_all_threads():
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), BlockStream([Stage(lambda block: None)]) as stream:
        stream.zeros(10 * SIZE)
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_a_stream_of_one_block_starts_no_thread():
    counts = []
    with BlockStream([Stage(lambda block: counts.append(threading.active_count()))]) as stream:
        stream.zeros(SIZE)
    assert counts == [threading.active_count()]


@pytest.mark.parametrize("size", [0, 1, 511, 512, SIZE - 700, SIZE, 3 * SIZE + 1])
def test_a_file_is_read_and_filled_up_to_whole_units_wherever_a_block_ends(size, tmp_path):
    (tmp_path / "file").write_bytes(data := random.randbytes(size))
    seen = bytearray()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with BlockStream([Stage(lambda block: seen.extend(block.content))]) as stream:
        stream.put(b"before".ljust(512))
        assert stream.padded(fd, size) == size
        os.lseek(fd, 0, os.SEEK_SET)
        assert stream.padded(fd, size + 100) == size  # shorter than was said
    os.close(fd)
    padded = data + bytes(-size % 512)
    assert seen[512:].startswith(padded + data)
    assert seen[512 + len(padded) :].rstrip(b"\0") == data.rstrip(b"\0")


def test_blocks_may_be_larger_where_nothing_depends_on_where_they_end():
    lengths = []
    with BlockStream([Stage(lambda block: lengths.append(block.length))], LARGE) as stream:
        stream.put(bytes(LARGE + 5))
    assert lengths == [LARGE, 5]
