"""What a case means in micrornn: functions to be timed.

layer(case)               forward and backward over one batch
training(case, tokens)    a `Training`; its update() is what is timed
sampling(case, vocab)     draws characters one by one
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from micrornn.bench.cases import LR, Layer, Model
from micrornn.config import Config
from micrornn.data import Tokens, Vocab
from micrornn.parameters import Flat
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import LanguageModel, sample
from micrornn.train import Training


def layer(case: Layer) -> Callable[[], None]:
    """Forward and backward of one layer: the gradients of the input and of all weights."""
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


def config(case: Model) -> Config:
    """The settings of a case: Adam at a constant learning rate, the gradient's norm clipped at 1."""
    return Config(
        hidden_size=case.hidden, num_layers=case.layers, embedding_size=case.embedding, batch_size=case.batch,
        num_steps=case.steps, level=case.level, lr=LR, schedule="constant", clip_norm=1.0, val_fraction=0.0,
    )  # fmt: skip


def training(case: Model, tokens: Tokens) -> Training:
    """Training as `micrornn train` does it."""
    return Training(config(case), tokens)


def sampling(case: Model, vocab: Vocab, length: int, model: LanguageModel | None = None) -> Callable[[], None]:
    """Draws `length` tokens, each from what came before it."""
    net = model or LanguageModel(config(case), vocab.size)

    def run() -> None:
        for _ in sample(net, vocab, length=length):
            pass

    return run
