"""Compile all kernels once, so that nobody has to wait for them later.

    jobs(everything)    the work, in parts; each Job has a name and a function

Numba compiles a kernel when it is first called, once for each combination of types, and keeps the result in a folder
(kernels/cpu/jit.py). So a job calls, with tiny arrays, what will be called later. A network of a few units is trained
for one update by the same `Training` that trains a large one: on one thread, with the lanes split over several threads,
and with the weights split. So whatever training calls is called here, too.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from micrornn import kernels, ops
from micrornn.cells import CELLS
from micrornn.checks import check_cell
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.inspect import register
from micrornn.inspect.subject import Subject
from micrornn.optim import OPTIMIZERS, Optimizer
from micrornn.parameters import Flat, Parameter
from micrornn.recurrent import GRANULARITIES
from micrornn.sampling import sample
from micrornn.tape import Tape, Tensor
from micrornn.tasks.material import Sizes
from micrornn.train import Training

USUAL = (Config().cell, "gru", "rnn")  # the other cells are compiled only with `everything`
# name -> (threads, whether the weights are split, not the lanes): the forms that a recurrent kernel has
WAYS = {"one thread": (1, False), "lanes over threads": (2, False), "weights over threads": (2, True)}
TEXT = "to be, or not to be: that is the question.\n" * 20


class Job(NamedTuple):
    """A name, and a function that is to be called once."""

    name: str
    run: Callable[[], None]


def jobs(everything: bool = False) -> list[Job]:
    """What training, sampling, evaluating and inspecting need in float32; with `everything`, also in float64, and all
    cells, ops, optimizers and granularities."""
    found, cells = [], [name for name, cell in CELLS.items() if cell.derivable] if everything else USUAL
    for dtype in ("float32", "float64") if everything else ("float32",):
        found += [
            Job(f"{cell}, {dtype}, {way}", partial(_learn, cell, dtype, *WAYS[way])) for cell in cells for way in WAYS
        ]
        found.append(Job(f"inspection, {dtype}", partial(_inspect, dtype)))
        if everything:
            found.append(Job(f"all ops, {dtype}", partial(_ops, dtype)))
            found.append(Job(f"all optimizers, {dtype}", partial(_optimizers, dtype)))
    if everything:
        found += [Job(f"gradient checks, {cell}", partial(_check, cell)) for cell in cells]
        found.append(Job("the machine's limit", _limit))
    return found


@contextmanager
def _split(threads: int, wide: bool) -> Iterator[None]:
    """A block in which tiny work is split over threads as large work would be."""
    kernels.for_device("cpu")
    from micrornn.kernels.cpu import recurrent
    from micrornn.kernels.cpu import threads as cores

    before = cores.WORTH_A_THREAD, recurrent.NEAR, cores._threads
    cores.WORTH_A_THREAD = 1
    recurrent.NEAR = 0 if wide else recurrent.NEAR
    kernels.set_threads(threads)
    try:
        yield
    finally:
        cores.WORTH_A_THREAD, recurrent.NEAR = before[:2]
        kernels.set_threads(before[2])


@contextmanager
def _training(cell: str, dtype: str, **settings: float) -> Iterator[Training]:
    """A training of a few units on a few lines."""
    sizes = {"hidden_size": 8, "num_layers": 2, "embedding_size": 4, "batch_size": 4, "num_steps": 8} | settings
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # a mapped file may still be open
        text = Path(folder, "text.txt")
        text.write_text(TEXT)
        config = Config.from_dict({"cell": cell, "dtype": dtype, "val_fraction": 0.2} | sizes)
        yield Training(config, tokenize([text], "char", Path(folder)))


def _learn(cell: str, dtype: str, threads: int, wide: bool) -> None:
    """An update, a validation, and two characters."""
    with _split(threads, wide), _training(cell, dtype) as training:
        training.update()
        training.validate()
        for _ in sample(training.model, training.task.vocab, length=2):
            pass


def _inspect(dtype: str) -> None:
    """Every measure, on an untrained model. Some of them compute in float64, whatever the precision of the model."""
    with _split(1, False), _training(Config().cell, dtype) as training:
        measure_all(training)
    with _split(2, False):
        a = np.ones((100, 2))
        kernels.of(a).matmul(np.empty((100, 100)), a, a.T.copy())


def measure_all(training: Training) -> None:
    """Every measure of inspection, on a little text. The results do not matter."""
    subject = Subject(training.model, {}, training.task.material(lambda **_: training.task))
    training.model.train(False)
    with np.errstate(all="ignore"):
        for name in register.names():
            register.find(name).take(subject, Sizes(4, 8 if name != "states" else None, 4))


def _ops(dtype: str) -> None:
    """An expression with every op that has a kernel of its own, forward and backward."""
    x = Tensor(np.full((3, 4), 0.5), requires_grad=True, dtype=np.dtype(dtype).type)
    some = np.eye(3, 4) > 0
    with _split(2, False), Tape() as tape:
        y = ops.exp(x) + ops.log(x) - ops.sqrt(x) * ops.sigmoid(x) / ops.tanh(x) + ops.neg(ops.relu(ops.log_sigmoid(x)))
        y = y + ops.abs(x) + ops.pow(x, x)
        y = ops.where(y, x, mask=some) + ops.clip_message(y, limit=1.0)
        y = y + ops.dropout(x, rate=0.5, key=1)
        y = y + ops.softmax(y) + ops.log_softmax(y) + ops.max(y, axis=0) + ops.mean(y, axis=1, keepdims=True)
        y = ops.matmul(y, ops.transpose(y))
        y = y + y[[0, 1, 0]]
        flat = ops.reshape(y, shape=(-1,))
        loss = ops.mean_squared_error(flat, targets=np.zeros(9)) + ops.cosine_similarity(flat, flat)
        loss = loss + ops.binary_cross_entropy(flat, targets=np.zeros(9))
        loss = loss + ops.cross_entropy(y, targets=np.zeros(3, np.int32), mask=some[:, 0])
    tape.backward(loss)
    table = kernels.of(x.data)
    table.fill(np.empty(4, x.dtype), 0.0)  # the two that no op calls
    table.accumulate(np.zeros(4, x.dtype), np.zeros(4, x.dtype))


def _optimizers(dtype: str) -> None:
    for name in OPTIMIZERS:
        Optimizer(Flat({"p": Parameter(np.ones(4), np.dtype(dtype).type)}), name).update(0.1, 1.0, math.inf)


def _check(cell: str) -> None:
    """What `micrornn gradcheck` calls."""
    for granularity in GRANULARITIES:
        check_cell(cell, granularity, num_layers=1, hidden_size=2, input_size=2, seq_len=2, project=True)


def _limit() -> None:
    """What `micrornn bench` measures first."""
    from micrornn.kernels.cpu.limit import fma_limit

    for threads in (1, 2):
        with _split(threads, False):
            fma_limit(threads, 0.0)
