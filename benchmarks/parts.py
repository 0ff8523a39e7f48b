"""The parts of the benchmarks. Each yields rows, plain dictionaries, as they are measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.runner import How, Worker, cold, turns, workers
from micrornn.bench.cases import LENGTH, MODELS, Layer, Model
from micrornn.bench.measure import speed

UPDATES = 20  # from which the losses are compared
Row = dict[str, Any]


def layers(cases: Iterable[Layer], threads: int, most: float, how: How) -> Iterator[Row]:
    """Forward and backward of single layers."""
    with workers(how, threads) as together:
        for case in cases:
            row = turns(together, "layer", case, how)
            own = speed(case.flops, row["median"][how.peers[0]], most)
            yield {"case": case.name, "cell": case.cell, "threads": threads} | row | own


def models(cases: Iterable[Model], threads: int, most: float, how: How) -> Iterator[Row]:
    """Whole training: time, losses, memory. Each model has processes of its own: a peak of memory is of one model."""
    for case in cases:
        with workers(how, threads) as together:
            losses = {worker.peer: worker.ask("model", case, calls=UPDATES)["values"] for worker in together}
            row = turns(together, "model", case, how)
            peak = {w.peer: w.ask("model", case, calls=0)["memory"]["peak"] for w in together}
            empty = {worker.peer: worker.memory for worker in together}
        own = speed(case.flops, row["median"][how.peers[0]], most)
        rates = {peer: case.tokens / seconds for peer, seconds in row["median"].items()}
        yield {
            "case": case.name, "threads": threads, "tokens_per_second": rates, "peak": peak, "imported": empty,
            "losses": losses, "apart": apart(losses, how.peers[0]),
        } | row | own  # fmt: skip


def apart(losses: dict[str, list[float]], own: str) -> dict[str, float]:
    """The largest relative difference between our losses and those of each other."""
    ours = np.array(losses[own])
    return {peer: float(np.abs(ours / np.array(other) - 1).max()) for peer, other in losses.items() if peer != own}


def sampling(cases: Iterable[Model], threads: int, how: How) -> Iterator[Row]:
    """Character by character in one lane."""
    with workers(how, threads) as together:
        for case in cases:
            row = turns(together, "sample", case, how)
            rates = {peer: LENGTH / seconds for peer, seconds in row["median"].items()}
            yield {"case": case.name, "threads": threads, "characters_per_second": rates} | row


def start(threads: int, how: How) -> Iterator[Row]:
    """From the start of the process to the end of the first update: twice, then with nothing compiled. Only micrornn
    keeps compiled code from one process to the next."""
    case = MODELS[0]
    for peer in how.peers:
        _first(peer, threads, how, case, None)  # so that files are in the system's cache, and kernels in ours
        runs = [_first(peer, threads, how, case, None) for _ in range(min(3, how.rounds))]
        row = {"peer": peer, "case": case.name, "threads": threads}
        yield row | {"cold": False} | min(runs, key=lambda run: run["first_update"])
        if peer == how.peers[0]:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                yield row | {"cold": True} | _first(peer, threads, how, case, cold(folder))


def _first(peer: str, threads: int, how: How, case: Model, environment: dict[str, str] | None) -> Row:
    worker = Worker(peer, threads, how.python, environment)
    try:
        worker.ask("model", case, calls=1)
        return {"imported": worker.started, "first_update": worker.age()}
    finally:
        worker.close()


def growth(sizes: Mapping[str, Sequence[Model]], threads: int, how: How) -> Iterator[Row]:
    """Seconds of an update against time steps and against lanes, over a factor of 16."""
    for along, cases in sizes.items():
        rows = []
        with workers(how, threads) as together:
            for case in cases:
                size = case.steps if along == "time steps" else case.batch
                rows.append({"along": along, "size": size, "threads": threads} | turns(together, "model", case, how))
        lines = {
            peer: straight([row["size"] for row in rows], [row["least"][peer] for row in rows]) for peer in how.peers
        }
        for row in rows:
            yield row | {"line": lines}


def straight(sizes: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """{"fixed", "each", "off"} of the straight line `fixed + each * size` that is nearest in relative terms, and the
    largest relative distance from it."""
    x, y = np.array(sizes, float), np.array(seconds, float)
    (fixed, each), *_ = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(x)))
    return {"fixed": float(fixed), "each": float(each), "off": float(np.abs((fixed + each * x) / y - 1).max())}
