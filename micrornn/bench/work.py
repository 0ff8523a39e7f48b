"""What a case means in micrornn: functions to be timed.

layer(case)               forward and backward over one batch
training(case, tokens)    a `Training`; its update() is what is timed
sampling(case, vocab)     draws characters one by one

The first two also on a graphics card, device="cuda"; what they have queued there need not be done when they return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.bench.cases import LR, Layer, Model
from micrornn.config import Config
from micrornn.data import Tokens, Vocab
from micrornn.parameters import Flat
from micrornn.recurrent import Recurrent
from micrornn.sampling import sample
from micrornn.tape import Tape, Tensor
from micrornn.tasks import find
from micrornn.train import Training


def layer(case: Layer, device: str = "cpu") -> Callable[[], None]:
    """Forward and backward of one layer: the gradients of the input and of all weights."""
    rng, table = np.random.default_rng(0), kernels.for_device(device)
    net = Recurrent(case.cell, case.input, case.hidden)
    net.to(device)
    flat = Flat(net.parameters())
    sizes = (case.input, case.hidden)
    numbers, dy = (table.asarray(rng.standard_normal((case.steps, case.batch, n)), np.float32) for n in sizes)
    x = Tensor(numbers, requires_grad=True)

    def run() -> None:
        flat.zero_grad()
        x.grad = None
        with Tape(guard=False) as tape:  # as the training loop does
            y, _ = net(x)
        tape.backward(y, dy)

    return run


def config(case: Model, device: str = "cpu", precision: str = "float32") -> Config:
    """The settings of a case: Adam at a constant learning rate, the gradient's norm clipped at 1."""
    return Config(
        hidden_size=case.hidden, num_layers=case.layers, embedding_size=case.embedding, batch_size=case.batch,
        num_steps=case.steps, level=case.level, lr=LR, schedule="constant", clip_norm=1.0, val_fraction=0.0,
        device=device, matmul_precision=precision,
    )  # fmt: skip


def training(case: Model, tokens: Tokens, device: str = "cpu", precision: str = "float32") -> Training:
    """Training as `micrornn train` does it."""
    return Training(config(case, device, precision), tokens)


def sampling(case: Model, vocab: Vocab, length: int, model: Any | None = None) -> Callable[[], None]:
    """Draws `length` tokens, each from what came before it."""
    net = model or find().from_meta(config(case), {"vocab": vocab.to_dict()}).network()

    def run() -> None:
        for _ in sample(net, vocab, length=length):
            pass

    return run
