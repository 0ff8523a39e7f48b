"""The units of a model while it reads: their states and gates, and how closely they follow something.

Reading         what the layers did over a text
read            the same of a model
standard        numbers with mean 0 and deviation 1
correlation     how closely units follow a property
luck            how closely the best of them would by chance
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.inspect.recorded import by_gate, gate_names, record
from micrornn.inspect.recorded import states as states_of
from micrornn.inspect.saturated import ends, forgets
from micrornn.inspect.window import Window, recurrents_of
from micrornn.tape import Tensor

AT_ONCE = 500  # time steps on a tape


SHOWN = 100  # tokens whose states are kept to be looked at


SHIFTS, CERTAIN = 100, 0.95


@dataclass(frozen=True)
class Reading:
    """What the layers did over n tokens.

    layers, gates   their names
    states          {"h": (layers, n, H)} and each further state
    values          (layers, gates, first tokens, H) the gates over the first SHOWN tokens behind the fresh ones
    relu            whether a relu makes a gate
    low, high       (layers, gates, H) how often each unit's gate is at its lower and upper end: a sigmoid below 0.1
                    and above 0.9, tanh beyond 0.95. Of a relu, how often it is 0; it has no upper end
    forgets         (layers,) the mean of 1 - f, of a GRU 1 - z; NaN of cells without
    """

    layers: tuple[str, ...]
    gates: tuple[str, ...]
    states: dict[str, np.ndarray]
    values: np.ndarray
    relu: bool
    low: np.ndarray
    high: np.ndarray
    forgets: np.ndarray


def read(model: Any, ids: np.ndarray, fresh: int = 0, tell: Callable[[int], None] = lambda done: None) -> Reading:
    """Read the ids in one lane from the initial state. `tell` is called with the tokens that are done."""
    recurrents_of(model)
    state, rows, low, high, values = None, dict[str, list[np.ndarray]](), 0.0, 0.0, list[np.ndarray]()
    forgotten: Any = 0.0
    for start in range(0, len(ids), AT_ONCE):
        inputs = np.ascontiguousarray(ids[start : start + AT_ONCE, None].astype(np.int32))
        layers = record(model, Window(inputs, np.zeros_like(inputs), state)).layers
        kinds = layers[0].states
        for name in kinds:
            here = np.stack([states_of(layer, name)[:, 0] for layer in layers])
            rows.setdefault(name, []).append(here)
        state = tuple(Tensor(np.ascontiguousarray(rows[name][-1][:, -1:])) for name in kinds)
        gates = np.stack([by_gate(layer)[:, 0] for layer in layers]).swapaxes(1, 2)  # (layers, gates, time steps, H)
        if start < fresh + SHOWN:
            values.append(gates.copy())
        activations = layers[0].program.activations
        bottom, top = _ends(activations)
        low = low + (gates <= bottom[:, None, None]).sum(axis=2)
        high = high + (gates >= top[:, None, None]).sum(axis=2)
        forgotten = forgotten + np.array([forgets(layer) for layer in layers]) * len(inputs)
        tell(min(start + AT_ONCE, len(ids)))
    return Reading(
        tuple(layer.name for layer in layers), gate_names(layers[0]),
        {name: np.concatenate(parts, axis=1) for name, parts in rows.items()},
        np.concatenate(values, axis=2)[:, :, fresh : fresh + SHOWN], "relu" in activations,
        np.asarray(low) / len(ids), np.asarray(high) / len(ids), np.asarray(forgotten) / len(ids),
    )  # fmt: skip


def _ends(activations: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    bottom, top = np.array([(0.0, np.inf) if kind == "relu" else ends(kind) for kind in activations]).T
    return bottom, top


def standard(x: np.ndarray) -> np.ndarray:
    """x (n, ...) with mean 0 and deviation 1 along its first axis; 0 where it does not vary."""
    x = x - x.mean(axis=0)
    deviation = np.sqrt(np.mean(np.square(x), axis=0))
    still = deviation <= 1e-6
    scaled: np.ndarray = np.where(still, 0, x / np.where(still, 1, deviation))
    return scaled


def correlation(units: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Pearson's r of each unit with x: `standard` units (n, U), x (k, n) -> (k, U)."""
    rows = np.ascontiguousarray(standard(x.T).T.astype(units.dtype))
    out = np.empty((len(rows), units.shape[1]), units.dtype)
    kernels.of(units).matmul(out, rows, units)
    return out / len(units)


def luck(units: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> float:
    """The best |r| that any of the units (n, U) has with x (n,) shifted at random, in 95 of 100 shifts."""
    n = len(x)
    shifts = rng.integers(min(n // 10, 1000), n - min(n // 10, 1000), SHIFTS)
    shifted = np.stack([np.roll(x, shift) for shift in shifts])
    return float(np.quantile(np.abs(correlation(units, shifted)).max(axis=1), CERTAIN))
