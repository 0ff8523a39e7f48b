"""micrornn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.cases import Layer, Model
from micrornn import __version__ as version  # noqa: F401
from micrornn import kernels
from micrornn.config import Config
from micrornn.ops import cross_entropy
from micrornn.optim import Optimizer, clip_scale, global_norm
from micrornn.parameters import Flat
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import LanguageModel

threads = kernels.set_threads


def layer(case: Layer) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    net = Recurrent(case.cell, case.input, case.hidden)
    flat = Flat(net.parameters())
    x = Tensor(rng.standard_normal((case.steps, case.batch, case.input)), requires_grad=True, dtype=np.float32)
    dy = rng.standard_normal((case.steps, case.batch, case.hidden)).astype(np.float32)

    def run() -> None:
        flat.zero_grad()
        x.grad = None
        with Tape() as tape:
            y, _ = net(x)
        tape.backward(y, dy)

    return run


def model(case: Model) -> Callable[[], float]:
    settings = Config(
        hidden_size=case.hidden, num_layers=case.layers, embedding_size=case.embedding,
        batch_size=case.batch, num_steps=case.steps,
    )  # fmt: skip
    net = LanguageModel(settings, case.vocab)
    optimizer = Optimizer(net.flat, "adam")
    ids = np.random.default_rng(0).integers(0, case.vocab, (case.steps + 1, case.batch)).astype(np.int32)
    state = None

    def run() -> float:
        nonlocal state
        with Tape() as tape:
            logits, last = net(ids[:-1], state)
            loss = cross_entropy(logits, targets=ids[1:])
        net.flat.zero_grad()
        tape.backward(loss)
        optimizer.update(1e-3, clip_scale(global_norm(net.flat), 1.0))
        state = tuple(Tensor(s.data) for s in last)
        return loss.item()

    return run
