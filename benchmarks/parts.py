"""The parts of the benchmarks. Each yields rows, plain dictionaries, as they are measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.card import AGREE_UPDATES
from benchmarks.card_kernels import QUEUED, Call
from benchmarks.runner import OWN, How, Worker, cold, others, own, precision, turns, workers
from micrornn.bench.cases import LENGTH, MODELS, Layer, Model
from micrornn.bench.measure import speed

UPDATES = 20  # from which the losses are compared
Row = dict[str, Any]


def layers(cases: Iterable[Layer], threads: int, most: float, how: How) -> Iterator[Row]:
    """Forward and backward of single layers."""
    with workers(how, threads) as together:
        for case in cases:
            row = turns(together, "layer", case, how)
            ours = speed(case.flops, row["median"][OWN], most)
            yield {"case": case.name, "cell": case.cell, "threads": threads} | row | ours


def models(cases: Iterable[Model], threads: int, most: float, how: How) -> Iterator[Row]:
    """Whole training: time, losses, memory. Each model has processes of its own: a peak of memory is of one model."""
    for case in cases:
        with workers(how, threads) as together:
            losses = {worker.peer: worker.ask("model", case, calls=UPDATES)["values"] for worker in together}
            row = turns(together, "model", case, how)
            peak = {w.peer: w.ask("model", case, calls=0)["memory"]["peak"] for w in together}
            empty = {worker.peer: worker.memory for worker in together}
        ours = speed(case.flops, row["median"][OWN], most)
        rates = {peer: case.tokens / seconds for peer, seconds in row["median"].items()}
        yield {
            "case": case.name, "threads": threads, "tokens_per_second": rates, "peak": peak, "imported": empty,
            "losses": losses, "apart": apart(losses),
        } | row | ours  # fmt: skip


def apart(losses: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The largest relative difference between the losses of each other and ours in its precision."""
    return {
        peer: float(np.abs(np.array(losses[own(peer)]) / np.array(losses[peer]) - 1).max())
        for peer in others(list(losses))
    }


def sampling(cases: Iterable[Model], threads: int, how: How) -> Iterator[Row]:
    """Character by character in one lane."""
    with workers(how, threads) as together:
        for case in cases:
            row = turns(together, "sample", case, how)
            rates = {peer: LENGTH / seconds for peer, seconds in row["median"].items()}
            yield {"case": case.name, "threads": threads, "characters_per_second": rates} | row


def start(threads: int, how: How, case: Model = MODELS[0]) -> Iterator[Row]:
    """From the start of the process to the end of the first update: twice, then with nothing compiled. Only micrornn
    keeps compiled code from one process to the next."""
    for peer in how.peers:
        if precision(peer) != "float32":
            continue
        _first(peer, threads, how, case, None)  # so that files are in the system's cache, and kernels in ours
        runs = [_first(peer, threads, how, case, None) for _ in range(min(3, how.rounds))]
        row = {"peer": peer, "case": case.name, "threads": threads}
        yield row | {"cold": False} | min(runs, key=lambda run: run["first_update"])
        if peer == OWN:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                yield row | {"cold": True} | _first(peer, threads, how, case, cold(folder))


def _first(peer: str, threads: int, how: How, case: Model, environment: dict[str, str] | None) -> Row:
    worker = Worker(peer, threads, how.python, environment, how.device)
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


def limits(how: How) -> Row:
    """What the card is, and what it can do at most, measured in a process of its own."""
    with _one(how.device, how) as worker:
        return worker.ask("limits", None, calls=1)["values"][0]


def kernels(calls: Iterable[Call], most: Mapping[str, Any], how: How) -> Iterator[Row]:
    """Every kernel by itself: bytes and operations per second, and the larger of their shares of the card's limits."""
    with _one(how.device, how) as worker:
        for call in calls:
            found = turns([worker], "kernel", call.name, how)
            seconds = found["median"][OWN] / QUEUED
            shares = {
                "bandwidth": call.moved / seconds / most["bytes_per_second"],
                "arithmetic": call.operations / seconds / 1e9 / most["gflops"],
            }
            bound = max(shares, key=lambda name: shares[name])
            yield {
                "case": call.name, "seconds": seconds, "least": found["least"][OWN] / QUEUED, "moved": call.moved,
                "operations": call.operations, "share": shares[bound], "bound": bound,
            }  # fmt: skip


def agree(case: Model, how: How, updates: int = AGREE_UPDATES) -> Iterator[Row]:
    """The same training on the processor, and twice on the card: losses, and a hash of the parameters each time."""
    losses, hashes = [], []
    for device in ("cpu", "cuda", "cuda"):
        with _one(device, how) as worker:
            values = worker.ask("train", case, calls=updates)["values"]
        losses.append(np.array([loss for loss, _ in values]))
        hashes.append([state for _, state in values])
    distance = np.abs(losses[1] - losses[0])
    differ = [n for n, (one, again) in enumerate(zip(*hashes[1:]), start=1) if one != again]
    yield {
        "case": case.name, "updates": updates, "apart": float(distance.max()),
        "relative": float((distance / losses[0]).max()), "differ": differ[0] if differ else None,
        "losses": {"cpu": losses[0].tolist(), "cuda": losses[1].tolist()},
    }  # fmt: skip


@contextmanager
def _one(device: str, how: How) -> Iterator[Worker]:
    """micrornn alone, in float32."""
    with workers(replace(how, peers=(OWN,), device=device), 0) as (worker,):
        yield worker


def straight(sizes: Sequence[float], seconds: Sequence[float]) -> dict[str, float]:
    """{"fixed", "each", "off"} of the straight line `fixed + each * size` that is nearest in relative terms, and the
    largest relative distance from it."""
    x, y = np.array(sizes, float), np.array(seconds, float)
    (fixed, each), *_ = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(x)))
    return {"fixed": float(fixed), "each": float(each), "off": float(np.abs((fixed + each * x) / y - 1).max())}
