"""A window on a tape, and what its recurrent layers have saved, time step by time step.

Recording      a tape with its loss, what the loss reads, and its recurrent layers
record         run a model over a window
Layer          one recurrent layer in one direction, as a tape holds it
layers_on      the recurrent layers on a tape
is_sequence    whether a record is one
gate_names     what the gates of a layer are called
states         h, c, dh or dc of every time step; `before`: the states that each time step started from
by_gate        an array of all gates, with an axis for the gate
over_lanes     the mean over lanes, without what is padding
mean_of        a mean over windows
norms          mean over lanes of the L2 norm over units
back_in_time   an array over time as one over lags, each lane from where it ends
from_last      the gradient of the last time step's loss alone, over lags
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device
from micrornn.cells import Cell
from micrornn.errors import ConfigError
from micrornn.inspect.window import Window, mask_of, recurrents_of
from micrornn.kernels.symbols.program import Program
from micrornn.ops.recurrent import SequenceOp
from micrornn.parameters import Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Record, Tape, Tensor


@dataclass(frozen=True)
class Layer:
    """One recurrent layer in one direction: its record, and its name, such as lstm_l0 or lstm_l1_reverse."""

    name: str
    record: Record

    saved = property(lambda self: self.record.saved)
    reverse = property(lambda self: bool(self.record.saved["reverse"]))

    @property
    def cell(self) -> Cell:
        return self.record.op.cell  # type: ignore[attr-defined]

    @property
    def program(self) -> Program:
        """What one of its units computes."""
        return self.cell.program

    @property
    def states(self) -> tuple[str, ...]:
        """What it carries: h, or h and c, ..."""
        return self.cell.states

    @property
    def mask(self) -> np.ndarray | None:
        """(T, B) bool, False where it read padding; None where all of it counts."""
        return self.saved["mask"] if self.saved["mask"].size else None


def is_sequence(record: Record) -> bool:
    """Whether it is a recurrent layer over a whole sequence."""
    return isinstance(record.op, SequenceOp) and record.t is None


@dataclass(frozen=True)
class Recording:
    """One window forward.

    loss      as the network has it: the mean over time and lanes, over what is no padding; of a network that has one
              loss for a whole sequence, over lanes
    read      what the loss is computed from: outputs, with a row for each loss
    layers    of the part that is looked at
    in_step   whether there is a loss at every time step: `read` (T, B, ...) has the time axis of the last part
    whole     whether the layers have none at their own time steps: a whole sequence may have one, and an encoder has
              those of its decoder
    mask      (T, B) which losses in step count; None: all
    """

    tape: Tape
    loss: Tensor
    read: Tensor
    layers: list[Layer]
    in_step: bool
    whole: bool
    mask: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """(seq_len, batch_size) of the layers."""
        seq_len, batch_size = self.layers[0].saved["x"].shape[:2]
        return int(seq_len), int(batch_size)

    @property
    def losses(self) -> int:
        """Of how many the loss is the mean. Its gradient times this is that of their sum; and as lanes do not meet, row
        b of it belongs to what lane b alone loses, summed over time."""
        if self.mask is not None:
            return int(self.mask.sum())
        return int(np.prod(self.read.shape[: 1 + self.in_step]))

    @property
    def padded(self) -> bool:
        """Whether any of the layers read padding."""
        return any(layer.mask is not None for layer in self.layers)

    @property
    def last_loss(self) -> str:
        """What `back_from_last` sends back, in words."""
        if not self.in_step:
            return "the loss of a sequence"
        return "the decoder's last loss" if self.whole else "the last time step's loss"

    def dread(self) -> np.ndarray:
        """The gradient by `read` of the sum of all losses."""
        (found,) = self.tape.cotangents([self.read], [self.loss], [self.losses])
        assert found is not None
        return found

    def back_from_last(self, dread: np.ndarray, first: bool = False) -> None:
        """Send back the last loss of each lane alone (the first one, for what reads backward); where there is but one
        for a whole sequence, that."""
        self.tape.cotangents([], [self.read], [last_rows(dread, self.mask, first) if self.in_step else dread])


def last_rows(x: np.ndarray, mask: np.ndarray | None, first: bool = False) -> np.ndarray:
    """x (T, B, ...) with zeros everywhere but at the last time step of each lane that is no padding; or the first."""
    out = np.zeros_like(x)
    if mask is None:
        row = 0 if first else -1
        out[row] = x[row]
    else:
        at = ends(mask, first), np.arange(x.shape[1])
        out[at] = x[at]
    return out


def ends(mask: np.ndarray, first: bool = False) -> np.ndarray:
    """The last time step of each lane that is no padding (B,), or the first; of a lane that is all padding, T - 1."""
    found: np.ndarray = mask.argmax(axis=0) if first else len(mask) - 1 - mask[::-1].argmax(axis=0)
    return found


def record(model: Any, window: Window, part: str = "") -> Recording:
    """Run `model.loss(inputs, targets, state)` over a window, each recurrent layer as one op for the whole sequence,
    whatever granularity it has. ConfigError if nothing in the model is recurrent.

    part    whose layers are looked at, where a network has several recurrent parts; by default the last
    """
    rnns = recurrents_of(model)
    rnn = rnns[part or list(rnns)[-1]]
    with _whole_sequences(model), Tape() as tape:
        loss, _ = model.loss(window.inputs, window.targets, window.state)
    layers, read = layers_on(tape, rnn), read_by(tape, loss)
    if not layers:
        raise ConfigError(f"{rnn.cell.name}: it was not gone over as a whole sequence, so nothing is saved to look at")
    losing = layers if rnn is list(rnns.values())[-1] else layers_on(tape, list(rnns.values())[-1])
    seq_len, batch_size = losing[0].saved["x"].shape[:2]
    # two axes alone may be those of one loss for each lane, and of several numbers
    in_step = read.shape[:2] == (seq_len, batch_size) and (read.ndim > 2 or seq_len != batch_size)
    mask = mask_of(window, (seq_len, batch_size)) if in_step else None
    return Recording(tape, loss, read, layers, in_step, not in_step or losing is not layers, mask)


def read_by(tape: Tape, loss: Tensor) -> Tensor:
    """What a loss is computed from: the first tensor on the way back that is no single number."""
    made = {id(output): row for row in tape.records for output in row.outputs}
    tensor = loss
    while not tensor.ndim:
        if id(tensor) not in made:
            raise ConfigError("no gradient flows from this loss: nothing on the tape leads to it")
        before = [x for x in made[id(tensor)].inputs if id(x) in made]
        tensor = max(before, key=lambda x: x.ndim, default=Tensor(0.0))
    return tensor


@contextmanager
def _whole_sequences(model: Module) -> Iterator[None]:
    parts = [part for part in model.modules() if isinstance(part, Recurrent)]
    before = [part.granularity for part in parts]
    for part in parts:
        part.granularity = "sequence"
    try:
        yield
    finally:
        for part, granularity in zip(parts, before):
            part.granularity = granularity


def layers_on(tape: Tape, rnn: Recurrent | None = None) -> list[Layer]:
    """The recurrent layers that went over a whole sequence at once, one for each direction, from bottom to top; of
    one recurrent part, if that is named. ConfigError where that went over a sequence step by step."""
    own = None if rnn is None else {id(weight) for weight in rnn.weights.values()}
    rows = [
        row for row in tape.records if is_sequence(row) and (own is None or own & {id(x) for x in row.inputs})
    ]  # fmt: skip
    if own is not None and len({row.scope for row in rows}) < len(rows):
        raise ConfigError("a recurrent layer that goes over a sequence step by step cannot be looked at as yet")
    return [Layer(row.scope, _on_host(row)) for row in rows]


def _on_host(record: Record) -> Record:
    """The same with NumPy arrays in what was saved; itself if it has them."""
    if device.of(record.saved["gates"]) == "cpu":
        return record

    def there(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(there, value))
        return device.host(value) if device.of(value) == "cuda" else value

    saved = {name: there(value) for name, value in record.saved.items()}
    return Record(record.op, record.inputs, record.outputs, saved, record.needs, record.t, record.scope)


def gate_names(layer: Layer) -> tuple[str, ...]:
    """("i", "f", "g", "o") and the like, in the order in which they lie side by side."""
    return layer.cell.gates


def states(layer: Layer, name: str, before: bool = False) -> np.ndarray:
    """h, c, dh or dc (T, B, H): row t is the state that time step t made, or with `before` the one it started from.
    In either direction t counts from the beginning of the text."""
    rows: np.ndarray = layer.saved[name]
    return rows[:-1] if layer.reverse != before else rows[1:]


def by_gate(layer: Layer, name: str = "gates") -> np.ndarray:
    """gates, dgates, ... as (T, B, gates, H)."""
    rows: np.ndarray = layer.saved[name]
    return rows.reshape(*rows.shape[:2], len(gate_names(layer)), -1)


def over_lanes(x: np.ndarray, mask: np.ndarray | None, dtype: Any = np.float64) -> np.ndarray:
    """x (T, B, ...) -> (T, ...): the mean over lanes. With a mask over those that are no padding, NaN where all are;
    and a number there that is NaN counts as infinite, so that the two are told apart."""
    if mask is None:
        found: np.ndarray = x.mean(axis=1, dtype=dtype)
        return found
    keep = mask.reshape(mask.shape + (1,) * (x.ndim - 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.where(keep, np.where(np.isnan(x), np.inf, x), 0).sum(axis=1, dtype=dtype)
        out: np.ndarray = total / keep.sum(axis=1)
    return out


def mean_of(rows: Sequence[Any] | np.ndarray, padded: bool) -> np.ndarray:
    """The mean along the first axis; with padding, over what is no NaN, for that stands where nothing was."""
    x = np.asarray(rows)
    if not padded:
        return np.asarray(x.mean(axis=0))
    there = ~np.isnan(x)
    count = there.sum(axis=0)
    return np.where(count, np.where(there, x, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def norms(x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """x (T, B, ..., H) -> (T, ...): the L2 norm over units, its mean over lanes; summed in float64."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite is what a gradient may be: a verdict says so
        return over_lanes(np.sqrt(np.einsum("...h,...h->...", x, x, dtype=np.float64)), mask)


def back_in_time(x: np.ndarray, mask: np.ndarray | None, reverse: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(x (T, B, ...) over lags, its mask): row k is what each lane holds k time steps before its last one that is no
    padding; of a layer that reads backward, behind its first one."""
    if mask is None:
        return (x if reverse else x[::-1]), None
    lags, lanes = np.arange(len(x))[:, None], np.arange(x.shape[1])
    at = ends(mask, reverse) + (lags if reverse else -lags)
    inside = (at >= 0) & (at < len(x))
    at = np.clip(at, 0, len(x) - 1)
    return x[at, lanes], inside & mask[at, lanes]


def from_last(recording: Recording, dread: np.ndarray | None = None) -> list[dict[str, np.ndarray]]:
    """Of each layer {"dh": (T,), of an LSTM "dc"}: the norm of the gradient of the last time step's loss alone, by how
    many time steps back. In a layer that reads backward, the last time step is the first of the text. Where the layers
    have no loss for each time step, it is that of the whole sequence, or of the decoder's last time step.

    dread    `Recording.dread()`, if it is known already
    """
    layers, dread = recording.layers, recording.dread() if dread is None else dread
    found: list[dict[str, np.ndarray]] = [{} for _ in layers]
    for reverse in {layer.reverse for layer in layers}:
        recording.back_from_last(dread, first=reverse and not recording.whole)
        for layer, profiles in zip(layers, found):
            if layer.reverse == reverse:
                for name in ("dh", "dc") if "dc" in layer.saved else ("dh",):
                    profiles[name] = norms(*back_in_time(states(layer, name), layer.mask, reverse))
    return found
