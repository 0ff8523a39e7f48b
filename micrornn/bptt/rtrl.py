"""Real-time recurrent learning: the gradient of the whole sequence, without going back over it.

    J_t = D J_{t-1} + I,    g = dL_t/dtheta, s_{t-1} given, + dL_t/ds_{t-1} J_{t-1}         (bptt/forward.py)

While the parameters stay as they are, the gradients of an epoch add up to that of `full`. As they move, J is a sum of
derivatives each taken at the parameters of its time. J is (S, n) for each lane: S VJPs a batch and lane, and S S n
multiplications. So it is for small networks, and says what it would take where they are large.

Williams and Zipser, A Learning Algorithm for Continually Running Fully Recurrent Neural Networks, 1989. With more than
one time step a batch, in between backpropagation: Schmidhuber, A Fixed Size Storage O(n^3) Time Complexity Learning
Algorithm for Fully Recurrent Continually Running Networks, 1992.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.bptt.forward import Forward, jacobian
from micrornn.tasks.task import State


class RTRL(Forward):
    def shapes_of(self, lanes: int, size: int) -> dict[str, tuple[int, ...]]:
        return {"influence": (lanes, self.states, size)}

    def arrived(self, dfirst: np.ndarray, kept: dict[str, np.ndarray]) -> np.ndarray:
        return np.einsum("bs,bsn->n", dfirst, kept["influence"])

    def advanced(self, inputs: Any, state: State | None, kept: dict[str, np.ndarray],
                 key: Sequence[int]) -> dict[str, np.ndarray]:  # fmt: skip
        dlast = np.broadcast_to(np.eye(self.states, dtype=self.dtype), (inputs.shape[1], self.states, self.states))
        by_state, influence = jacobian(self.model, inputs, state, dlast, self.of)
        if kept:
            k = kernels.of(self.model.flat.data)
            for b, lane in enumerate(zip(influence, by_state, kept["influence"])):
                out, moved, before = map(k.asarray, lane)
                k.matmul(out, moved, before, accumulate=True)
                influence[b] = device.host(out)
        return {"influence": influence}
