"""Memory that is used again: found by who needs it, and never piled up."""

from __future__ import annotations

import numpy as np
import pytest

from micrornn import kernels, pool
from micrornn.kernels import host
from micrornn.pool import Idle, Pool

MB = 1 << 20


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(pool.time, "monotonic", lambda: now[0])
    return now


def use(idle: Idle, *sizes: int) -> int:
    """Blocks of these sizes, in use all at once; how many of them had to be made."""
    found = [idle.take(size) for size in sizes]
    for size in sizes:
        idle.put("block", size)
    return found.count(None)


def test_the_same_sizes_are_found_again(clock: list[float]) -> None:
    idle, update = Idle(), [n * MB for n in range(1, 60)] * 2
    assert use(idle, *update) == len(update)
    for _ in range(3):
        assert use(idle, *update) == 0
        use(idle, 7 * MB)  # a validation between
        clock[0] += 40
    assert idle.used == 0 and idle.bytes == sum(update)


def test_idle_memory_is_bounded_by_what_was_in_use(clock: list[float]) -> None:
    idle = Idle()
    for length in range(100, 400):  # never twice the same
        use(idle, length * MB, length * MB)
        assert idle.bytes <= idle.TIMES * 2 * length * MB
    used = 2 * 399 * MB
    assert idle.bytes > used  # the last update's and some of those before
    assert use(idle, 399 * MB, 399 * MB) == 0  # the oldest went first
    for _ in range(3):
        clock[0] += idle.SECONDS + 1
        use(idle, 40 * MB)
    assert idle.bytes <= idle.TIMES * 40 * MB  # what was large is long gone
    idle.release()
    assert idle.bytes == 0 and not idle.count()


def test_a_little_is_always_kept(clock: list[float]) -> None:
    idle = Idle()
    for length in range(1, 1000):
        use(idle, length << 10)
    assert 0.9 * idle.FEW < idle.bytes <= idle.FEW


def test_arrays_of_ever_new_sizes_and_a_way_to_empty_the_pool() -> None:
    arrays = Pool()
    for n in range(300, 900):
        arrays.empty((n, 1024), np.uint8)
    assert 0 < arrays.idle.bytes <= arrays.idle.FEW and arrays.idle.used == 0
    host.empty((1000, 1000), np.float64)
    assert host.pool.idle.bytes
    kernels.release()
    assert host.pool.idle.bytes == 0
