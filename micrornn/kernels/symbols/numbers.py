"""Formulas with numbers in the place of their leaves: what reference.py and inspection compute them with. NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from micrornn.kernels.symbols.program import Program
from micrornn.kernels.symbols.symbol import COMPUTE, Symbol, walk

Leaves = dict[tuple[str, int], np.ndarray]


def computed(roots: Sequence[Symbol], leaves: Mapping[tuple[str, int], np.ndarray],
             like: np.ndarray) -> dict[Symbol, np.ndarray]:  # fmt: skip
    """The value of each formula; constants are arrays as `like`."""
    values: dict[Symbol, Any] = {}
    for symbol in walk(tuple(roots)):
        if symbol.op == "leaf":
            values[symbol] = leaves[symbol.args]
        elif symbol.op == "constant":
            values[symbol] = np.full_like(like, symbol.args[0])
        else:
            values[symbol] = COMPUTE[symbol.op](*(values[one] for one in symbol.inputs))
    return values


def leaves_of(kind: str, arrays: Sequence[np.ndarray]) -> Leaves:
    return {(kind, number): array for number, array in enumerate(arrays)}


def pre_activations(p: Program, gates: np.ndarray, hidden: np.ndarray | None) -> Leaves:
    """The leaves of the way forward that stand for pre-activations (..., G H); `hidden` is None where h_prev goes
    through no weights."""
    count = len(p.gates)
    if p.sided and hidden is not None:
        return leaves_of("x", np.split(gates, count, -1)) | leaves_of("h", np.split(hidden, count, -1))
    return leaves_of("a", np.split(gates if hidden is None else gates + hidden, count, -1))


def kept(p: Program, gates: np.ndarray, hidden: np.ndarray | None, before: Sequence[np.ndarray],
         after: Sequence[np.ndarray], vectors: Sequence[np.ndarray]) -> Leaves:  # fmt: skip
    """The leaves of the way back, but for the cotangents that arrive."""
    count = len(p.gates)
    found = leaves_of("slot", np.split(gates, count, -1)) | leaves_of("vector", vectors)
    if p.sided and hidden is not None:
        found |= leaves_of("hidden", np.split(hidden, count, -1))
    return found | leaves_of("prev", before) | leaves_of("cur", after)
