"""Networks that several tasks are built of.

Features    recurrent layers over plain numbers, and a linear read-out of every time step or of the end
usual       a setting that all tasks share, with another default
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import field
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.config import Config
from micrornn.layers import Dropout, Linear
from micrornn.ops import concatenate
from micrornn.parameters import Flat, Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Tensor


def usual(name: str, default: Any) -> Any:
    """A row for the settings of a task: that of `Config` with this name, with another default."""
    return field(default=default, metadata=Config.__dataclass_fields__[name].metadata)


class Features(Module):
    """numbers (seq_len, batch_size, input_size) -> recurrent layers -> linear.

    every    True: outputs (seq_len, batch_size, output_size), one for each time step; False: (batch_size, output_size),
             from where the layers end, which is the first time step for those that read backward
    loss_of  an op: loss_of(outputs, targets=...), such as mean_squared_error
    """

    def __init__(self, config: Config, input_size: int, output_size: int, loss_of: Callable[..., Tensor],
                 every: bool = True):  # fmt: skip
        self.config, self.sizes, self.loss_of, self.every = config, (input_size, output_size), loss_of, every
        dtype = np.dtype(config.dtype).type
        seeds = [int(s) for s in np.random.SeedSequence(config.seed).generate_state(3)]
        self.rnn = Recurrent(
            config.cell, input_size, config.hidden_size, config.num_layers, bidirectional=config.bidirectional,
            dropout=config.dropout, granularity=config.granularity,
            forget_bias=config.forget_bias, clip_message=config.clip_message, seed=seeds[0], dtype=dtype,
        )  # fmt: skip
        self.dropout = Dropout(config.dropout, seed=seeds[1])
        width = config.hidden_size * len(self.rnn.directions)
        self.decoder = Linear(width, output_size, seed=seeds[2], dtype=dtype)
        self.to(config.device)
        self.flat = Flat(self.parameters())

    def copy(self, **settings: Any) -> Features:
        """The same network with other settings, such as dtype="float64"."""
        other = Features(dataclasses.replace(self.config, **settings), *self.sizes, self.loss_of, self.every)
        other.flat.data[...] = device.host(self.flat.data)
        return other

    def draw_dropout(self, update: int, start: int = 0) -> None:
        """New dropout masks; the same for the same update."""
        self.rnn.dropout_key = self.dropout.key = update
        self.rnn.dropout_start = self.dropout.start = start

    def __call__(self, x: np.ndarray, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        data = self.flat.data
        y, last = self.rnn(Tensor(kernels.of(data).asarray(np.asarray(x, data.dtype))), state)
        if not self.every:
            h = last[0]  # (layers * directions, batch_size, hidden_size)
            y = concatenate(h[-2], h[-1], axis=1) if len(self.rnn.directions) == 2 else h[-1]
        return self.decoder(self.dropout(y)), last

    def loss(self, inputs: np.ndarray, targets: np.ndarray,
             state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """The mean loss, and the last state."""
        outputs, last = self(inputs, state)
        return self.loss_of(outputs, targets=targets), last
