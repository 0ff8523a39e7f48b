"""Attention: for each query a weighted mean of a memory, such as the outputs of an encoder at all of its time steps.

    score(q, m) = q . m                               dot        Luong, Pham, Manning 2015, arXiv:1508.04025, eq. 8
                  v . tanh(W_q q + W_m m)             additive   Bahdanau, Cho, Bengio 2015, arXiv:1409.0473, A.1.2
    weights     = softmax of the scores over the time steps of the memory that are not padding
    context     = sum of weights * memory
    output      = tanh(W [context; q])                Luong et al., eq. 5

As in Luong et al., it reads the outputs of the decoder's recurrent layers and feeds nothing back into them. So these
layers run over a whole sequence of queries at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from micrornn.errors import ConfigError, instead
from micrornn.layers import Linear
from micrornn.ops import concatenate, matmul, reshape, softmax, tanh, transpose, where
from micrornn.ops import sum as sum_op
from micrornn.parameters import Module, Parameter, uniform
from micrornn.tape import Tensor

KINDS = ("dot", "additive")


class Memory(NamedTuple):
    """What queries are compared with, computed once for all of them.

    values    (B, S, H): the memory, zeros where it is padding
    keys      (B, S, H): what scores are computed from
    mask      (B, 1, S) bool, False where it is padding
    """

    values: Tensor
    keys: Tensor
    mask: np.ndarray

    def repeated(self, times: int) -> Memory:
        """Each lane repeated so many times, for the hypotheses of a beam. On the CPU, without a tape."""
        values, keys = (Tensor(np.repeat(part.data, times, axis=0)) for part in (self.values, self.keys))
        return Memory(values, keys, np.repeat(self.mask, times, axis=0))


class Attention(Module):
    """queries (T, B, H) and a memory (S, B, H) -> outputs (T, B, H) and weights (B, T, S).

    A masked time step of the memory has a weight and a gradient of exactly zero, whatever its values are. The context
    of a lane that is masked throughout is zero.
    """

    def __init__(self, kind: str, size: int, *, seed: int = 0, dtype: type = np.float32):
        if kind not in KINDS:
            raise ConfigError(f"there is no attention {kind!r}{instead(kind, KINDS)}")
        seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(4)]
        self.kind = kind
        self.combine = Linear(2 * size, size, seed=seeds[0], dtype=dtype)
        if kind == "additive":
            self.query = Linear(size, size, seed=seeds[1], dtype=dtype)
            self.key = Linear(size, size, seed=seeds[2], dtype=dtype)
            self.vector = Parameter(uniform(size**-0.5)(np.random.default_rng(seeds[3]), (size,)), dtype)

    def memory(self, values: Tensor, mask: np.ndarray) -> Memory:
        """From values (S, B, H) and their mask (S, B)."""
        values = transpose(where(values, 0.0, mask=mask[:, :, None]), axes=(1, 0, 2))
        keys = self.key(values) if self.kind == "additive" else values
        return Memory(values, keys, np.ascontiguousarray(mask.T)[:, None, :])

    def __call__(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        q = transpose(queries, axes=(1, 0, 2))
        weights = self.weights(q, memory)
        context = matmul(weights, memory.values)
        return tanh(self.combine(transpose(concatenate(context, q, axis=2), axes=(1, 0, 2)))), weights

    def weights(self, q: Tensor, memory: Memory) -> Tensor:
        """The weight of each time step of the memory for each query: q (B, T, H) -> (B, T, S)."""
        if self.kind == "additive":
            (lanes, count, size), length = q.shape, memory.keys.shape[1]
            each = reshape(self.query(q), shape=(lanes, count, 1, size))
            both = tanh(each + reshape(memory.keys, shape=(lanes, 1, length, size)))
            scores = sum_op(both * self.vector, axis=-1)
        else:
            scores = matmul(q, transpose(memory.keys, axes=(0, 2, 1)))
        lowest = float(np.finfo(scores.dtype).min) / 2  # far below any score, and no infinity, which makes NaN
        return where(softmax(where(scores, lowest, mask=memory.mask)), 0.0, mask=memory.mask)
