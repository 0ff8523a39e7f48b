"""A case timed on this machine. Rows are plain dictionaries, fit for JSON.

limit(threads)                     GFLOP/s that the machine does in fused multiply-adds that touch no memory
layers(cases, threads, ...)        a row for each layer: seconds, GFLOP/s, share of the limit
updates(case, threads, ...)        whole updates of training: the same, and tokens per second
characters(case, threads, ...)     sampling at batch 1: characters per second
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from micrornn import kernels
from micrornn.bench import work
from micrornn.bench.cases import LENGTH, Layer, Model
from micrornn.bench.made import made_tokens
from micrornn.bench.timing import summary, times

Row = dict[str, Any]


def limit(threads: int, seconds: float = 0.5) -> float:
    """GFLOP/s of float32 on so many threads, at best."""
    kernels.set_threads(threads)
    from micrornn.kernels.cpu.limit import fma_limit

    return fma_limit(threads, seconds)


def speed(flops: float, seconds: float, most: float) -> Row:
    """GFLOP/s, and as a share of the limit."""
    return {"gflops": flops / seconds / 1e9, "share": flops / seconds / 1e9 / most}


def layers(cases: Iterable[Layer], threads: int, most: float, seconds: float = 0.2) -> Iterator[Row]:
    """Forward and backward of each layer, one row after the other."""
    kernels.set_threads(threads)
    for case in cases:
        found = summary(times(work.layer(case), seconds))
        yield {"case": case.name, "threads": threads} | found | speed(case.flops, found["median"], most)


def updates(case: Model, threads: int, most: float, seconds: float = 1.0) -> Row:
    """Whole updates on a made-up text."""
    kernels.set_threads(threads)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        training = work.training(case, made_tokens(case, Path(folder)))
        found = summary(times(training.update, seconds))
    per_second = {"tokens_per_second": case.tokens / found["median"]}
    return {"case": case.name, "threads": threads} | found | speed(case.flops, found["median"], most) | per_second


def characters(case: Model, threads: int, seconds: float = 1.0) -> Row:
    """Sampling at batch 1."""
    kernels.set_threads(threads)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        vocab = made_tokens(case, Path(folder)).vocab
    found = summary(times(work.sampling(case, vocab, LENGTH), seconds))
    return {"case": case.name, "threads": threads} | found | {"characters_per_second": LENGTH / found["median"]}
