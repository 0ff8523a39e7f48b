"""Gates at their ends, where their slope is small.

ends, saturation      where those begin; which share of a gate's values lies there
shares_of, stuck_of   of every gate of a layer; the most of any gate in which that is no good
told                  that in words
forgets               which part of its state a time step forgets
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micrornn.inspect.recorded import Layer, by_gate, gate_names, over_lanes
from micrornn.inspect.words import percent

# Where a gate counts as saturated. A sigmoid below 0.1 or above 0.9, as in Karpathy, Johnson, Fei-Fei (2015,
# arXiv:1506.02078, section 4.2). tanh beyond 0.95, where its slope is less than a tenth of the largest.
SIGMOID, TANH = (0.1, 0.9), (-0.95, 0.95)
ENDS = {"sigmoid": SIGMOID, "tanh": TANH}  # what another function makes, or none, has no ends
KEEPS = {"f", "z"}  # gates that keep the state where they are open


def ends(activation: str) -> tuple[float, float]:
    """Below and above which of its values a gate is saturated, by the function that makes it."""
    return ENDS.get(activation, (-np.inf, np.inf))


def saturation(values: np.ndarray, activation: str,
               mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Which shares of a gate's values (T, B, H) lie at its lower and at its upper end, each (T,); of those that are no
    padding, NaN where all are."""
    bottom, top = ends(activation)
    low, high = ((values < bottom), (values > top))
    if mask is None:
        return low.mean(axis=(1, 2)), high.mean(axis=(1, 2))
    return over_lanes(low.mean(axis=2), mask), over_lanes(high.mean(axis=2), mask)


def shares_of(layer: Layer) -> dict[str, np.ndarray]:
    """low, high (gates, T): `saturation` of each gate, averaged over lanes and units. A relu has no such ends."""
    values = by_gate(layer)
    pairs = [saturation(values[:, :, n], kind, layer.mask) for n, kind in enumerate(layer.program.activations)]
    return {"low": np.stack([low for low, _ in pairs]), "high": np.stack([high for _, high in pairs])}


def no_good(gates: Sequence[str], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The share of values (..., gate) that are saturated where that is no good: a forget gate (z in the GRU) that is
    open does not count, for that is how a state is kept."""
    share: np.ndarray = low + np.where([gate in KEEPS for gate in gates], 0, high)
    return share


def told(gates: Sequence[str], share: float) -> str:
    """The largest share of `no_good` in words, with what it counts."""
    of, keeps = "a gate's values" if len(gates) > 1 else "all values", [gate for gate in gates if gate in KEEPS]
    but = f"; of {' and '.join(keeps)} the low end alone" if keeps else ""
    return f"{percent(share)} of {of} are saturated (both ends together{but})"


def stuck_of(layer: Layer) -> float:
    """The largest share of values, of any gate, that are saturated where that is no good."""
    mean = np.mean if layer.mask is None else np.nanmean
    low, high = (mean(shares_of(layer)[end], axis=1) for end in ("low", "high"))
    return float(no_good(gate_names(layer), low, high).max())


def forgets(layer: Layer) -> float:
    """Which part of its state a time step forgets: the mean of 1 - f, of a GRU 1 - z; NaN of a cell without such."""
    kinds = layer.program.activations
    names = [n for n, gate in enumerate(gate_names(layer)) if gate in KEEPS and kinds[n] == "sigmoid"]
    values = by_gate(layer)[:, :, names]
    values = values if layer.mask is None else values[layer.mask]
    return float(1 - values.mean(dtype=np.float64)) if names else np.nan
