"""The recurrent Jacobians of a layer, and how much they stretch what goes through them.

Jacobians        d state_t / d state_{t-1} of many time steps and lanes, as products with vectors
longest          lanes with least padding
alike            windows that are about as long
singular         all their singular values, exactly
top_singular     the largest few by block power iteration
product_norms    the norms of products over more and more time steps; norms_of_products: from places spread over them
stretches        what each time step does to the directions that last
lyapunov         at what rate products grow in those directions, and how sure that is
dimension        of how many directions a chaos is made

The same matrices carry a change of the state forward and a gradient back: dL/ds_{t-1} = J_t^T dL/ds_t. Only the
layer's own recurrence is in J_t: its inputs x_t are held fixed. Nothing is differentiated here: J_t follows in
closed form from the gates, h and c that the forward pass saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.inspect.recorded import Layer, states
from micrornn.kernels.symbols.numbers import computed, kept, leaves_of

VECTORS = 4  # of block power iteration

Apply = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Jacobians:
    """J = D + P W for each of N (time step, lane): W is weight_hh, D and P are diagonal in every block.

    weight    (G H, H)
    carry     D (N, n, n, H): how state b goes straight into state a. n = 1 for h alone, 2 for the LSTM's (h, c)
    gain      P (N, n, G, H): what state a makes of the pre-activation of each gate
    reverse   whether the layer walks from the last time step to the first; then J_t = d state_t / d state_{t+1}

    Both are read off the program of the cell, which the tape has derived from its step: the way back through a time
    step is linear in the cotangents of the states after it, so with the one of state a as 1 and the others as 0 it
    gives D_a in the cotangents of the states before, and P_a in those of the pre-activations on the side of h_prev.
    For the LSTM, say, c: D_cc = f, P_i = g i (1 - i), ...; and h: o (1 - tanh(c)^2) times that of c, and
    P_o = tanh(c) o (1 - o).

    What an LSTM remembers stands in c. dh_t / dh_{t-1} alone leaves out the way through c, and a product of such
    blocks is no derivative of anything; so products and exponents are those of (h, c) together. At a masked time
    step the state is carried over: J = 1.
    """

    weight: np.ndarray
    carry: np.ndarray
    gain: np.ndarray
    reverse: bool = False

    @classmethod
    def of(cls, layer: Layer, lanes: slice | np.ndarray = slice(None)) -> Jacobians:
        """Those of all time steps and of some lanes, in float64, N = T * lanes, in the order in which the layer
        walks: with reverse, the first is that of the last time step."""
        saved, p = layer.saved, layer.program

        def taken(name: str) -> np.ndarray:
            return saved[name][:, lanes].astype(np.float64)

        before, after = (
            [states(layer, name, first)[:, lanes].astype(np.float64) for name in layer.states]
            for first in (True, False)
        )
        vectors = [vector.astype(np.float64) for vector in saved["vectors"]]
        leaves = kept(p, taken("gates"), taken("hidden") if p.sided else None, before, after, vectors)
        like = np.zeros_like(before[0])
        carries, gains = [], []
        for a in range(len(p.states)):
            arrived = [like + (a == b) for b in range(len(p.states))]
            values = computed((*p.dprev, *p.dh), leaves | leaves_of("dcur", arrived), like)
            carries.append(np.stack([values[part] for part in p.dprev], axis=2))
            gains.append(np.stack([values[part] for part in p.dh], axis=2))
        carry, gain = np.stack(carries, axis=2), np.stack(gains, axis=2)
        if saved["mask"].size:
            counts = saved["mask"][:, lanes, None, None, None]
            carry, gain = np.where(counts, carry, np.eye(carry.shape[2])[:, :, None]), np.where(counts, gain, 0)
        if layer.reverse:
            carry, gain = carry[::-1], gain[::-1]
        weight = saved["weights"][1]
        if weight is None:  # h_prev goes through none
            weight = np.zeros((len(p.gates) * like.shape[2], like.shape[2]))
        return cls(weight.astype(np.float64), np.concatenate(carry), np.concatenate(gain), layer.reverse)

    @classmethod
    def unpadded(cls, layer: Layer, lanes: int, seq_len: int) -> Jacobians:
        """Those of `lanes` lanes at most, and of `seq_len` time steps: of the `longest` where there is padding."""
        chosen, inside = longest(layer)
        found = cls.of(layer, slice(lanes) if layer.mask is None else chosen[:lanes])
        length = len(layer.saved["x"])
        width = len(found) // length
        first = inside.start if not layer.reverse else length - inside.stop
        return found[first * width : (first + seq_len) * width]

    def __len__(self) -> int:
        return len(self.carry)

    def __getitem__(self, rows: Any) -> Jacobians:
        """Those of some of the N."""
        return Jacobians(self.weight, self.carry[rows], self.gain[rows], self.reverse)

    @property
    def finite(self) -> np.ndarray:
        """(N,) whether all numbers of each are finite."""
        parts = [np.isfinite(x).all(axis=tuple(range(1, x.ndim))) for x in (self.carry, self.gain)]
        found: np.ndarray = parts[0] & parts[1] & np.isfinite(self.weight).all()
        return found

    @property
    def size(self) -> int:
        """S = n H: how many numbers the state has."""
        return self.carry.shape[1] * self.carry.shape[3]

    def of_h(self) -> Jacobians:
        """The block dh_t / dh_{t-1} alone."""
        return Jacobians(self.weight, self.carry[:, :1, :1], self.gain[:, :1], self.reverse)

    def jvp(self, v: np.ndarray) -> np.ndarray:
        """J v for k vectors each: v (N, k, S) -> (N, k, S)."""
        parts = v.reshape(*v.shape[:2], self.carry.shape[1], -1)
        pushed = self._times(parts[:, :, 0], True).reshape(*v.shape[:2], self.gain.shape[2], -1)
        out = np.einsum("nabh,nkbh->nkah", self.carry, parts) + np.einsum("nagh,nkgh->nkah", self.gain, pushed)
        return out.reshape(v.shape)

    def vjp(self, u: np.ndarray) -> np.ndarray:
        """J^T u for k vectors each: u (N, k, S) -> (N, k, S)."""
        parts = u.reshape(*u.shape[:2], self.carry.shape[1], -1)
        out = np.einsum("nabh,nkah->nkbh", self.carry, parts)
        gates = np.einsum("nagh,nkah->nkgh", self.gain, parts)
        out[:, :, 0] += self._times(gates, False).reshape(out[:, :, 0].shape)
        return out.reshape(u.shape)

    def _times(self, vectors: np.ndarray, transposed: bool) -> np.ndarray:
        """All vectors times W^T or W, in one product. With the kernels, as all products of the library: the threads
        of a second matrix library would stand in the way of theirs."""
        rows = np.ascontiguousarray(vectors.reshape(-1, self.weight.shape[1 if transposed else 0]))
        out = np.empty((len(rows), self.weight.shape[0 if transposed else 1]))
        kernels.of(rows).matmul(out, rows, self.weight, trans_b=transposed)
        return out

    def dense(self) -> np.ndarray:
        """The matrices themselves, (N, S, S)."""
        identity = np.broadcast_to(np.eye(self.size), (len(self), self.size, self.size))
        return self.jvp(identity).swapaxes(1, 2)


def longest(layer: Layer) -> tuple[np.ndarray, range]:
    """(the lanes with least padding, the time steps that none of them has padded)."""
    mask, seq_len = layer.mask, len(layer.saved["x"])
    if mask is None:
        return np.arange(layer.saved["x"].shape[1]), range(seq_len)
    lengths = mask.sum(axis=0)
    lanes = np.flatnonzero(lengths == lengths.max())
    inside = np.flatnonzero(mask[:, lanes].all(axis=1))
    return lanes, range(int(inside[0]), int(inside[-1]) + 1) if len(inside) else range(seq_len)


def alike(recorded: Sequence[Sequence[Layer]]) -> tuple[list[Sequence[Layer]], int]:
    """(the windows whose longest sequences are no shorter than half of the longest, how many time steps all these
    have): windows with padding may be of very different lengths."""
    lengths = [len(longest(layers[0])[1]) for layers in recorded]
    kept = [layers for layers, length in zip(recorded, lengths) if 2 * length >= max(lengths)]
    return kept, min(length for length in lengths if 2 * length >= max(lengths))


def singular(jacobians: Jacobians, at_once: int = 64) -> np.ndarray:
    """All singular values, exactly, from the largest down: (N, S)."""
    parts = [jacobians[n : n + at_once].dense() for n in range(0, len(jacobians), at_once)]
    return np.concatenate([np.linalg.svd(part, compute_uv=False) for part in parts])


def top_singular(forward: Apply, back: Apply, start: np.ndarray, tolerance: float = 1e-3,
                 most: int = 100) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The k largest singular values of N matrices by block power iteration: (values (N, k), vectors (N, k, S)).

    forward, back    products of the matrices, and of their transposes, with vectors (N, k, S)
    start            (N, k, S) any vectors; those of similar matrices save rounds
    tolerance        ends when the largest value of each changes by no more than this, relative

    Subspace iteration with a Rayleigh-Ritz step (Halko, Martinsson, Tropp 2011, algorithm 4.4): the value found
    is never above the true one, and the error falls by (s_{k+1} / s_1)^2 in each round.
    """
    vectors, before = _orthonormal(start), np.zeros(start.shape[:1])
    for _ in range(most):
        q, r = np.linalg.qr(forward(vectors).swapaxes(1, 2))
        values = np.linalg.svd(r, compute_uv=False)
        vectors = _orthonormal(back(q.swapaxes(1, 2)))
        if np.all(np.abs(values[:, 0] - before) <= tolerance * values[:, 0]):
            break
        before = values[:, 0]
    return values, vectors


def product_norms(steps: Sequence[Jacobians], lags: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """log ||J_k ... J_1|| (the largest singular value) for each lag k: (len(lags), N), in nats.

    steps    J_1, J_2, ..., each of the same N lanes or starting places

    -inf where nothing passes; NaN where a Jacobian is not finite.
    """
    shape = (len(steps[0]), min(VECTORS, steps[0].size), steps[0].size)
    vectors = rng.normal(size=shape)
    finite = np.all([step.finite for step in steps], axis=0)
    if not finite.all():
        found = np.full((len(lags), len(finite)), np.nan)
        if finite.any():
            found[:, finite] = product_norms([step[finite] for step in steps], lags, rng)
        return found
    # What each step does to the size of these vectors on their way forward is divided out, and added again as a
    # logarithm: no product overflows, and each stays about as large as it is stretched at most.
    scales, pushed = [], _orthonormal(vectors)
    for step in steps[: max(lags)]:
        pushed = step.jvp(pushed)
        size = np.sqrt(np.square(pushed).sum(axis=(1, 2), keepdims=True))
        scales.append(np.where(size > 0, size, 1.0))
        pushed = pushed / scales[-1]
    logs, norms = np.cumsum([np.log(scale[:, 0, 0]) for scale in scales], axis=0), []
    for lag in lags:

        def forward(v: np.ndarray, lag: int = lag) -> np.ndarray:
            for step, scale in zip(steps[:lag], scales):
                v = step.jvp(v) / scale
            return v

        def back(u: np.ndarray, lag: int = lag) -> np.ndarray:
            for step, scale in zip(steps[:lag][::-1], scales[:lag][::-1]):
                u = step.vjp(u) / scale
            return u

        # where a longer product stretches most changes little with its length: the vectors go on
        values, vectors = top_singular(forward, back, vectors, tolerance=2e-2)
        with np.errstate(divide="ignore"):
            norms.append(np.log(values[:, 0]) + logs[lag - 1])
    return np.array(norms)


def norms_of_products(jacobians: Jacobians, seq_len: int, lags: Sequence[int], starts: int,
                      rng: np.random.Generator) -> np.ndarray:  # fmt: skip
    """`product_norms` over lags that rise, of all lanes from so many places spread over `seq_len` time steps:
    (len(lags), starts * lanes)."""
    lanes = len(jacobians) // seq_len
    places = np.unique(np.linspace(0, seq_len - lags[-1], starts).astype(int))
    rows = (places[:, None] * lanes + np.arange(lanes)).reshape(-1)
    return product_norms([jacobians[rows + n * lanes] for n in range(lags[-1])], lags, rng)


def stretches(steps: Sequence[Jacobians], exponents: int, rng: np.random.Generator) -> np.ndarray:
    """By how many nats each time step stretches each of the directions that last, of N lanes: (T, N, exponents),
    -inf where it cuts one off. Their means over time are the Lyapunov exponents.

    Orthonormal vectors go through the Jacobians; after each time step a QR decomposition makes them orthonormal
    again, and R's diagonal says what happened to each (Benettin et al. 1980; for networks Vogt et al. 2022,
    Engelken, Wolf and Abbott 2023). Random vectors may take hundreds of time steps to turn. So they go back through
    the transposed Jacobians first, in the same way: what is left then is what will last when it goes forward.
    """
    q = _orthonormal(rng.normal(size=(len(steps[0]), exponents, steps[0].size)))
    for step in reversed(steps):
        q = _orthonormal(step.vjp(q))
    found = []
    for step in steps:
        columns, r = np.linalg.qr(step.jvp(q).swapaxes(1, 2))
        q = columns.swapaxes(1, 2)
        with np.errstate(divide="ignore"):  # what a relu cuts off shrinks to nothing: -inf
            found.append(np.log(np.abs(np.diagonal(r, axis1=1, axis2=2))))
    return np.array(found)


BATCHES, SHORTEST = 5, 10  # of a lane's time steps, for the error of its mean; and the time steps of one at least

# Until the directions have turned, a sum over time steps is off by up to about half a nat, however many there are: of
# an LSTM with an exponent of -0.0012, 50 time steps give -0.008, 200 give -0.002.
TURNING = 0.5


def lyapunov(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Lyapunov exponents from the largest down, their standard errors), in nats per time step, from `stretches`
    (T, N, exponents) of the time steps that count.

    Lanes in which a direction was cut off (-inf) do not count for it, unless they are half of all: then it is -inf.

    The error has two parts. One is the scatter of means: of whole lanes, or of batches of each lane's time steps
    (batch means; Schmeiser 1982), whichever is larger. The other is what a sum over T time steps is off by because
    its directions had still to turn, over T. NaN where there is no scatter to see: one lane of few time steps.
    """
    steps, lanes, count = series.shape
    means = series.mean(axis=0)
    known = np.isfinite(means)
    alive = 2 * known.sum(axis=0) > lanes
    exponents = np.where(alive, np.where(known, means, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), -np.inf)
    batches = min(BATCHES, max(1, steps // SHORTEST))
    parts = np.stack([part.mean(axis=0) for part in np.array_split(series, batches)])  # (batches, lanes, exponents)
    errors = np.full(count, np.nan)
    for n in np.flatnonzero(alive):
        scatters = [
            x.std(ddof=1) / math.sqrt(len(x))
            for x in (means[known[:, n], n], parts[:, known[:, n], n].reshape(-1))
            if len(x) > 1
        ]
        if scatters:
            errors[n] = math.hypot(max(scatters), TURNING / steps)
    order = np.argsort(-exponents, kind="stable")
    return exponents[order], errors[order]


def dimension(exponents: np.ndarray) -> float:
    """Lyapunov dimension (Kaplan and Yorke 1979): of how many directions a chaos is made; 0 where all fall.

    NaN if the exponents given do not reach far enough down to say.
    """
    sums = np.cumsum(exponents)
    if sums[0] <= 0:
        return 0.0
    if sums[-1] > 0:
        return float("nan")
    n = int(np.argmax(sums <= 0))
    return float(n + sums[n - 1] / -exponents[n])


def _orthonormal(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.qr(vectors.swapaxes(1, 2))[0].swapaxes(1, 2)
