"""A window on a tape, and what its recurrent layers have saved, time step by time step.

Recording      a tape with its logits, its loss and its recurrent layers
record         run a model over a window
layers_on      the recurrent layers on a tape
gate_names     what the gates of a layer are called
states         h, c, dh or dc of every time step; `before`: the states that each time step started from
by_gate        an array of all gates, with an axis for the gate
norms          mean over lanes of the L2 norm over units
from_last      the gradient of the last time step's loss alone, over lags
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device
from micrornn.inspect.subject import Window, recurrent_of
from micrornn.inspect.sweep import Layer, is_sequence
from micrornn.ops import cross_entropy
from micrornn.parameters import Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Record, Tape, Tensor


@dataclass(frozen=True)
class Recording:
    """One window forward. logits (seq_len, batch_size, vocab_size); the loss is the mean over time and lanes, in
    nats per token."""

    tape: Tape
    logits: Tensor
    loss: Tensor
    layers: list[Layer]

    @property
    def tokens(self) -> int:
        """How many were predicted. The gradient of the mean loss times this is that of the sum over time and
        lanes; and as lanes do not meet, row b of it belongs to what lane b alone loses, summed over time."""
        seq_len, batch_size, _ = self.logits.shape
        return seq_len * batch_size


def record(model: Any, window: Window) -> Recording:
    """Run `model(inputs, state) -> (logits, last)` over a window, each recurrent layer as one op for the whole
    sequence, whatever granularity it has. ConfigError if nothing in the model is recurrent."""
    recurrent_of(model)
    with _whole_sequences(model), Tape() as tape:
        logits, _ = model(window.inputs, window.state)
        loss = cross_entropy(logits, targets=window.targets)
    return Recording(tape, logits, loss, layers_on(tape))


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


def layers_on(tape: Tape) -> list[Layer]:
    """The recurrent layers that went over a whole sequence at once, one for each direction, from bottom to top."""
    return [Layer(r.scope, _on_host(r)) for r in tape.records if is_sequence(r)]


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


def norms(x: np.ndarray) -> np.ndarray:
    """x (T, B, ..., H) -> (T, ...): the L2 norm over units, its mean over lanes; summed in float64."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite is what a gradient may be: a verdict says so
        return np.sqrt(np.einsum("...h,...h->...", x, x, dtype=np.float64)).mean(axis=1)


def from_last(recording: Recording, dlogits: np.ndarray | None = None) -> list[dict[str, np.ndarray]]:
    """Of each layer {"dh": (T,), of an LSTM "dc"}: the norm of the gradient of the last time step's loss alone, by how
    many time steps back. In a layer that reads backward, the last time step is the first of the text.

    dlogits    the gradient of all losses by the logits, if it is known already
    """
    tape, logits, layers = recording.tape, recording.logits, recording.layers
    if dlogits is None:
        (dlogits,) = tape.cotangents([logits], [recording.loss], [recording.tokens])
    assert dlogits is not None
    found: list[dict[str, np.ndarray]] = [{} for _ in layers]
    for reverse in {layer.reverse for layer in layers}:
        seed = np.zeros_like(dlogits)
        at = 0 if reverse else -1
        seed[at] = dlogits[at]
        tape.cotangents([], [logits], [seed])
        for layer, profiles in zip(layers, found):
            if layer.reverse == reverse:
                for name in ("dh", "dc") if "dc" in layer.saved else ("dh",):
                    profile = norms(states(layer, name))
                    profiles[name] = profile if reverse else profile[::-1]
    return found
