"""Networks that several tasks are built of.

Network     a module made of settings and sizes, its parameters in one row
Features    recurrent layers over numbers or ids, and a linear read-out of every time step, of the end, or of all pooled
READS       what a read-out may read
pooled      the mean or the maximum over time, of what is no padding
classes     the cross-entropy of classes, smoothed, or with some of them counting for more
embedded    an embedding, or none; of_ids: which weights are those of the ids that are read
recurrent   recurrent layers as the settings say; num_recurrent: how many numbers these learn, without making them
split       values and mask of what may be padded
number      a word of a line as a finite number; numbers: all of a line
pad_side    the setting of tasks that pad
defaults    settings that all tasks share, with other defaults
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, Self, TypeVar

import numpy as np

from micrornn import device, kernels
from micrornn.cells import find_cell
from micrornn.config import Config, setting
from micrornn.data import Padded
from micrornn.errors import CheckpointError, ConfigError, DataError, counted, instead, quoted
from micrornn.layers import Dropout, Embedding, Linear, OneHot
from micrornn.ops import concatenate, cross_entropy, log_softmax, where
from micrornn.ops import max as max_op
from micrornn.ops import sum as sum_op
from micrornn.ops.embedding import take_ids
from micrornn.parameters import Flat, Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Tensor

Kind = TypeVar("Kind", bound=Config)
READS = ("every", "last", "mean", "max")
LARGEST = 1e30  # of a number that is read: its square, and what a float32 makes of it, stay finite


def defaults(**values: Any) -> Callable[[type[Kind]], type[Kind]]:
    """Decorator of the settings of a task, below @dataclass: rows that all tasks share, with other defaults."""

    def change(kind: type[Kind]) -> type[Kind]:
        rows = {name: type(value).__name__ for name, value in values.items()}
        kind.__annotations__ = rows | vars(kind).get("__annotations__", {})
        for name, value in values.items():
            setattr(kind, name, field(default=value, metadata=Config.__dataclass_fields__[name].metadata))
        return kind

    return change


def pad_side() -> Any:
    """A row for the settings of a task that pads."""
    return setting(
        "right", "On which side shorter sequences of a batch are padded; nothing is learned of padding.",
        choices=("left", "right"),
    )  # fmt: skip


class Network(Module):
    """A subclass makes its layers between `begin` and `end`.

    config     the settings
    rnn        its recurrent layers; None: there are none
    flat       all its parameters
    dropout    on what the output layer reads; input_dropout on what the lowest layer reads, if there is any
    """

    rnn: Any
    flat: Flat
    dropout: Dropout
    input_dropout: Dropout | None = None

    def begin(self, kind: type, config: Any, *sizes: Any, seeds: int, **options: Any) -> list[int]:
        """So many random seeds for its layers. kind(config, *sizes, **options) makes it again."""
        self.config, self._made = config, (kind, sizes, options)
        return [int(seed) for seed in np.random.SeedSequence(config.seed).generate_state(seeds)]

    def end(self) -> None:
        """When all layers are there."""
        self.to(self.config.device)
        self.flat = Flat(self.parameters())

    def copy(self, **settings: Any) -> Self:
        """The same network with other settings, such as dtype="float64" or granularity="primitive"."""
        kind, sizes, options = self._made
        other: Self = kind(dataclasses.replace(self.config, **settings), *sizes, **options)
        other.flat.data[...] = device.host(self.flat.data)
        return other

    def draw_dropout(self, update: int, start: int = 0) -> None:
        """New dropout masks; the same for the same update, whatever happened before. `start`: so many time steps of
        the window come before those that the network is to read."""
        for dropout in (self.dropout, self.input_dropout):
            if dropout is not None:
                dropout.key, dropout.start = update, start
        if self.rnn is not None:
            self.rnn.dropout_key, self.rnn.dropout_start = update, start


def embedded(count: int, size: int, config: Config, seed: int) -> tuple[Embedding | OneHot, int]:
    """(what reads `count` ids, how many numbers stand for one): `size`; if that is 0, a 1 among zeros."""
    dtype = np.dtype(config.dtype).type
    if not size:
        return OneHot(count, dtype=dtype, device=config.device), count
    return Embedding(count, size, seed=seed, dtype=dtype), size


def recurrent(config: Config, input_size: int, seed: int, hidden_size: int = 0,
              bidirectional: bool = False) -> Recurrent:  # fmt: skip
    """Recurrent layers as the settings say, of `hidden_size` units if not of as many as these say."""
    return Recurrent(
        config.cell, input_size, hidden_size or config.hidden_size, config.num_layers, bidirectional, config.dropout,
        recurrent_dropout=config.recurrent_dropout, dropout_mask=config.dropout_mask, granularity=config.granularity,
        forget_bias=config.forget_bias, clip_message=config.clip_message, seed=seed, dtype=np.dtype(config.dtype).type,
    )  # fmt: skip


def num_recurrent(config: Config, input_size: int, hidden_size: int = 0, bidirectional: bool = False) -> int:
    """How many numbers the layers that `recurrent` makes learn."""
    h, ways = hidden_size or config.hidden_size, 1 + bidirectional
    shapes = [find_cell(config.cell).shapes(h * ways if layer else input_size, h) for layer in range(config.num_layers)]
    return ways * sum(math.prod(shape) for layer in shapes for shape in layer.values())


def of_ids(config: Config, embedding: str = "embedding", rnn: str = "rnn", both: bool = False) -> dict[str, int]:
    """Parameter -> the axis along which it has weights for each id: the embedding, or those of the lowest layer, in
    both directions or one."""
    if config.embedding_size:
        return {f"{embedding}.weight": 0}
    return {f"{rnn}.weight_ih_l0{end}": 1 for end in ("", "_reverse")[: 1 + both]}


def require_size(there: int, needed: int) -> None:
    """CheckpointError where a checkpoint holds so many parameters, and its settings ask for others."""
    if there != needed:
        raise CheckpointError(f"it holds {counted(there, 'parameter')}, and its settings ask for {needed:,}")


def split(given: Any) -> tuple[Any, np.ndarray | None]:
    """(values, mask) of an array or a Padded; the mask is None where nothing is padding."""
    if not isinstance(given, Padded):
        return given, None
    mask = np.asarray(given.mask, bool)
    return given.values, None if mask.all() else mask


def number(word: str) -> float:
    """A word as a finite number; DataError where it is none, or one that is too large for the network's."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{quoted(word)} is no number")
    if abs(value) > LARGEST:
        raise DataError(f"{quoted(word)} is too large; at most {LARGEST:g} can be read")
    return value


def numbers(line: str) -> list[float]:
    """The numbers of a line, with blanks or commas between them; DataError as of `number`."""
    return [number(word) for word in line.replace(",", " ").split()]


def pooled(y: Tensor, how: str, mask: np.ndarray | None = None) -> Tensor:
    """The "mean" or the "max" over time of y (seq_len, batch_size, n) where the mask (seq_len, batch_size) is True:
    (batch_size, n). What stands elsewhere has no part in it, and no gradient. A lane without any valid step has the
    mean 0, and the maximum over all that is there."""
    if how == "max":
        if mask is not None:
            mask = mask | ~mask.any(axis=0)
            y = where(y, float(np.finfo(y.dtype).min), mask=mask[:, :, None])
        return max_op(y, axis=0)
    if mask is None:
        return sum_op(y, axis=0) * (1 / len(y))
    counts = np.maximum(1, mask.sum(axis=0))[:, None].astype(y.dtype)
    return sum_op(where(y, 0.0, mask=mask[:, :, None]), axis=0) / Tensor(kernels.of(y.data).asarray(counts))


def classes(smoothing: float = 0.0, weights: Sequence[float] | None = None) -> Callable[..., Tensor]:
    """A loss for `Features`: the mean cross-entropy in nats of logits (..., V) with targets (...).

    smoothing    the target is the class only to 1 - smoothing, and all V classes share the rest evenly (Szegedy et al.
                 2016, arXiv:1512.00567, section 7)
    weights      what an example of each class counts in the mean, (V,); None: all the same
    """
    table = None if weights is None else np.asarray(weights, np.float64)
    if not smoothing and table is None:
        return cross_entropy

    def loss(logits: Tensor, *, targets: np.ndarray, mask: np.ndarray | None = None) -> Tensor:
        counts = np.ones(np.shape(targets)) if mask is None else np.array(mask, np.float64)
        if table is not None:
            counts = counts * table[targets if mask is None else np.where(mask, targets, 0)]
        value = cross_entropy(logits, targets=targets, mask=mask, weights=counts)
        if not smoothing:
            return value
        share = (counts / (counts.sum() or 1) / logits.shape[-1])[..., None].astype(logits.dtype)
        if mask is not None:
            logits = where(logits, 0.0, mask=mask[..., None])
        spread = sum_op(log_softmax(logits) * Tensor(kernels.of(logits.data).asarray(share)))
        return value * (1 - smoothing) - spread * smoothing

    return loss


class Features(Network):
    """numbers (seq_len, batch_size, input_size), or ids (seq_len, batch_size) -> recurrent layers -> linear.

    Inputs are an array, every step of which counts, or a Padded. A padded step is stepped over: it takes no part in
    any output that counts, in the loss, and in any gradient; so neither how long the padding is nor on which side it
    lies matters.

    input_size   numbers of each time step; with an embedding, how many stand for an id, or 0: a 1 among zeros
    loss_of      loss_of(outputs, targets=...), such as mean_squared_error; also with mask=... where there is padding
    read         what the read-out reads, and so the outputs' shape:
                 every    each time step: (seq_len, batch_size, output_size); where a step is padding, anything
                 last     where the layers end, in both directions: (batch_size, output_size)
                 mean     the mean over the steps that count, of their outputs in all directions; max: their maximum
    embedding    how many ids there are; 0: the inputs are numbers
    input_dropout   rate of dropout on what the lowest layer reads, if not that of the settings
    activation   an op that the outputs go through, such as tanh
    """

    takes_padded = True
    input_dropout: Dropout

    def __init__(self, config: Config, input_size: int, output_size: int, loss_of: Callable[..., Tensor],
                 read: str = "every", *, embedding: int = 0, input_dropout: float = 0.0,
                 activation: Callable[[Tensor], Tensor] | None = None):  # fmt: skip
        if read not in READS:
            raise ConfigError(f"there is no read-out {read!r}{instead(read, READS)}")
        self.loss_of, self.read_out, self.activation = loss_of, read, activation
        seeds = self.begin(Features, config, input_size, output_size, loss_of, read, seeds=5, embedding=embedding,
                           input_dropout=input_dropout, activation=activation)  # fmt: skip
        self.embedding: Embedding | OneHot | None = None
        if embedding:
            self.embedding, input_size = embedded(embedding, input_size, config, seeds[3])
        self.input_dropout = Dropout(input_dropout or config.input_dropout, seed=seeds[4], mask=config.dropout_mask)
        self.rnn = recurrent(config, input_size, seeds[0], bidirectional=config.bidirectional)
        self.dropout = Dropout(config.dropout, seed=seeds[1], mask=config.dropout_mask)
        width = config.hidden_size * len(self.rnn.directions)
        self.decoder = Linear(width, output_size, seed=seeds[2], dtype=np.dtype(config.dtype).type)
        self.end()

    def features(self, values: Any, mask: np.ndarray | None = None) -> Tensor:
        """What the lowest layer reads: (seq_len, batch_size, input_size). A tensor is taken as it is."""
        if isinstance(values, Tensor):
            return values
        k = kernels.of(self.flat.data)
        if self.embedding is None:
            return self.input_dropout(Tensor(k.asarray(np.asarray(values, self.flat.data.dtype))))
        ids = take_ids("ids", values, len(self.embedding.weight), mask)
        return self.input_dropout(self.embedding(k.asarray(ids)))

    def __call__(self, inputs: Any, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        values, mask = split(inputs)
        y, last = self.rnn(self.features(values, mask), state, mask)
        if self.read_out == "last":  # a masked step hands the state on, so the last one is that of the last valid step
            h = last[0]  # (layers * directions, batch_size, hidden_size)
            y = concatenate(h[-2], h[-1], axis=1) if len(self.rnn.directions) == 2 else h[-1]
        elif self.read_out != "every":
            y = pooled(y, self.read_out, mask)
        outputs = self.decoder(self.dropout(y))
        return outputs if self.activation is None else self.activation(outputs), last

    def loss(self, inputs: Any, targets: Any,
             state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:  # fmt: skip
        """The mean loss, and the last state.

        targets    an array, one for each output; or a Padded, whose mask says which of them count. Of an array count
                   all but those at padded steps, or of lanes that are padding from end to end.
        """
        outputs, last = self(inputs, state)
        targets, mask = split(targets)
        if mask is None:
            mask = split(inputs)[1]
            if mask is not None and self.read_out != "every":
                lanes = np.asarray(mask.any(axis=0))
                mask = None if lanes.all() else lanes
        if mask is None:
            return self.loss_of(outputs, targets=targets), last
        mask = mask.reshape(mask.shape + (1,) * (np.ndim(targets) - mask.ndim))
        return self.loss_of(outputs, targets=targets, mask=np.broadcast_to(mask, np.shape(targets))), last
