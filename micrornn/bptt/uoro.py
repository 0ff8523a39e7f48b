"""UORO: real-time recurrent learning with a random matrix of rank one in the place of the influence.

    J_t ~ s~ theta~^T,    s~ <- rho0 D s~ + rho1 nu,    theta~ <- theta~ / rho0 + I^T nu / rho1,    nu random signs

As E nu nu^T = 1, E s~ theta~^T = J_t: the gradient is right on average, whatever rho0 and rho1 are; these are chosen so
that the norms of both sides are alike, which keeps the variance low. It keeps S + n numbers for each lane.

Each batch takes S VJPs for D, of all lanes together, and one a lane for I^T nu. With more than one time step a batch,
in between backpropagation: memory-T UORO.

Tallec and Ollivier, Unbiased Online Recurrent Optimization, 2017, arXiv:1702.05043.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.bptt.forward import Forward, jacobian, leaves, rows_by, state_of
from micrornn.recompute import read
from micrornn.tape import Tape
from micrornn.tasks.task import State

EPS = 1e-7  # keeps rho0 and rho1 finite


class UORO(Forward):
    def shapes_of(self, lanes: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"state": (lanes, self.states), "parameters": (lanes, size)}

    def arrived(self, dfirst: np.ndarray, kept: dict[str, np.ndarray]) -> np.ndarray:
        return ((dfirst * kept["state"]).sum(axis=1)[:, None] * kept["parameters"]).sum(axis=0)

    def advanced(self, inputs: Any, state: State | None, kept: dict[str, np.ndarray],
                 key: Sequence[int]) -> dict[str, np.ndarray]:  # fmt: skip
        lanes, dtype = inputs.shape[1], self.dtype
        signs = np.random.default_rng(key).integers(0, 2, (lanes, self.states)).astype(dtype) * 2 - 1
        _, by_parameter = jacobian(self.model, inputs, state, signs[:, None], self.of)
        old = kept or {name: np.zeros(shape, dtype) for name, shape in self.shapes_of(lanes, len(self.of)).items()}
        moved = self._moved(inputs, state, old["state"]) if kept else old["state"]
        pair = rank_one(moved, old["parameters"], signs, by_parameter[:, 0])
        return dict(zip(("state", "parameters"), pair))

    def _moved(self, inputs: Any, state: State | None, rows: np.ndarray) -> np.ndarray:
        """D s~ (B, S): row i of D is what goes back from the i-th number of the last state."""
        first = leaves(state)
        with Tape(guard=False) as tape:
            last = read(self.model, inputs, first)
        out = np.empty_like(rows)
        for i in range(self.states):
            dlast = np.zeros_like(rows)
            dlast[:, i] = 1
            found = tape.cotangents(first, last, state_of(dlast, last), copy=False)
            out[:, i] = (rows_by(first, found) * rows).sum(axis=1)
        return out


def rank_one(moved: np.ndarray, parameters: np.ndarray, signs: np.ndarray,
             immediate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The next (s~, theta~) from D s~ (..., S), theta~ (..., n), nu (..., S) and I^T nu (..., n)."""

    def norm(rows: np.ndarray) -> Any:
        return np.sqrt(np.square(rows).sum(axis=-1, keepdims=True))

    rho0 = np.sqrt((norm(parameters) + EPS) / (norm(moved) + EPS))
    rho1 = np.sqrt((norm(immediate) + EPS) / (norm(signs) + EPS))
    return rho0 * moved + rho1 * signs, parameters / rho0 + immediate / rho1
