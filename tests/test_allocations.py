"""In the steady state an update allocates nothing large: what it needs is there from the update before."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.kernels import host
from micrornn.train import Training

LARGE = 64 * 1024
CHARACTERS = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(700, 0, -1))
WORDS = " ".join(f"w{n}" for n in np.random.default_rng(0).integers(0, 2100, 9000)) + "\n"
RUNS = {
    "char": (CHARACTERS, {"hidden_size": 128, "num_layers": 2, "batch_size": 50, "num_steps": 50, "dropout": 0.2}),
    "segments": (CHARACTERS, {"hidden_size": 64, "batch_size": 8, "num_steps": 700, "memory_budget": 6_000_000}),
    "word": (WORDS, {"hidden_size": 64, "batch_size": 20, "num_steps": 20, "level": "word", "vocab_size": 2000}),
}


def large_allocations(work: Callable[[], Any]) -> list[tuple[str, int]]:
    """(file:line, bytes) of every line that allocates more than LARGE while `work` runs, also if it frees it again.

    tracemalloc sees what Python and NumPy allocate and keeps the highest total. Read and reset at each line, that is
    what the line before has added.
    """
    found, last, before = [], "", 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal last, before
        _, peak = tracemalloc.get_traced_memory()
        if peak - before > LARGE:
            found.append((last, peak - before))
        last = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        return trace

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        sys.settrace(trace)
        work()
    finally:
        sys.settrace(None)
        tracemalloc.stop()
    return found


def test_large_allocations_are_seen() -> None:
    def work() -> None:
        np.empty(LARGE // 8 - 100)
        x = np.zeros(LARGE // 8 + 100)
        np.add(x * x, x, out=x)  # a temporary, gone by the next line

    found = large_allocations(work)
    first = work.__code__.co_firstlineno
    assert [place for place, _ in found] == [f"{__file__}:{first + n}" for n in (2, 3)]
    assert all(LARGE < size < 1.1 * LARGE for _, size in found)


@pytest.mark.parametrize("name", RUNS)
def test_an_update_allocates_nothing_large(name: str, tmp_path: Path) -> None:
    text, settings = RUNS[name]
    config = Config(**settings)
    (tmp_path / "text.txt").write_text(text)
    training = Training(config, tokenize([tmp_path / "text.txt"], config.level, tmp_path, max_size=config.vocab_limit))
    assert (training.segment_steps < config.num_steps) == (name == "segments")
    idle = []
    for _ in range(4):
        training.update()
        idle.append(host.pool.idle.bytes)
    assert idle[1] == idle[2] == idle[3] > LARGE  # all that is used comes back, and nothing else is kept
    assert large_allocations(training.update) == []
