"""Losses: cross-entropy, binary cross-entropy, mean squared error, and cosine similarity."""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn.errors import ShapeError
from micrornn.kernels import Kernels
from micrornn.ops.axes import sum_axis
from micrornn.ops.elementwise import sqrt
from micrornn.ops.embedding import take_ids
from micrornn.ops.reduce import sum as sum_op
from micrornn.tape import Tensor, op


def _weights(k: Kernels, name: str, shape: tuple[int, ...], mask: Any, dtype: Any) -> np.ndarray:
    """What each position counts in the mean: 1 / the number of unmasked ones, 0 where masked."""
    if mask is None:
        return k.full(shape, 1 / max(1, int(np.prod(shape))), dtype)
    mask = np.asarray(mask, bool)
    if mask.shape != shape:
        raise ShapeError(f"{name}: mask {mask.shape}, wanted {shape}, one for each position")
    return k.contiguous(mask.astype(dtype) / max(1, int(mask.sum())))


def _mean(k: Kernels, losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weighted = k.empty(losses.shape, losses.dtype)
    k.mul(weighted, losses, weights)
    return sum_axis(k, weighted.reshape(-1), 0)


@op
def cross_entropy(k, logits, *, targets, mask=None):
    """y = mean over (unmasked) positions of -ln softmax(logits)[target];  dlogits = dy w (softmax - one-hot).

    logits (..., V), targets integers (...), mask bool (...): False does not count. In nats.
    """
    size = logits.shape[-1]
    targets = take_ids("cross_entropy targets", targets, size)
    if targets.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: targets {targets.shape} for logits {logits.shape}; wanted {logits.shape[:-1]}"
        )
    rows, flat = logits.reshape(-1, size), targets.reshape(-1)
    losses, probabilities = k.empty(flat.shape, logits.dtype), k.empty(rows.shape, logits.dtype)
    k.cross_entropy(losses, probabilities, rows, flat)
    weights = _weights(k, "cross_entropy", targets.shape, mask, logits.dtype).reshape(-1)
    return _mean(k, losses, weights), (probabilities, flat, weights, logits.shape)


@cross_entropy.vjp
def _(k, saved, dy, needs):
    probabilities, targets, weights, shape = saved
    dlosses = k.empty(weights.shape, weights.dtype)
    k.scale(dlosses, weights, float(dy))
    dlogits = k.empty(probabilities.shape, probabilities.dtype)
    k.cross_entropy_vjp(dlogits, dlosses, probabilities, targets)
    return (dlogits.reshape(shape),)


@op
def binary_cross_entropy(k, logits, *, targets, mask=None):
    """y = mean of -t ln s(x) - (1 - t) ln(1 - s(x)), s the sigmoid;  dx = dy w (s(x) - t). Targets in 0..1, nats."""
    targets = np.array(targets, logits.dtype, order="C")
    if targets.shape != logits.shape:
        raise ShapeError(f"binary_cross_entropy: targets {targets.shape}, logits {logits.shape}; must be equal")
    losses = k.empty(logits.shape, logits.dtype)
    k.binary_cross_entropy(losses, logits, targets)
    weights = _weights(k, "binary_cross_entropy", logits.shape, mask, logits.dtype)
    return _mean(k, losses, weights), (logits, targets, weights)


@binary_cross_entropy.vjp
def _(k, saved, dy, needs):
    logits, targets, weights = saved
    dlosses, dlogits = k.empty(logits.shape, logits.dtype), k.empty(logits.shape, logits.dtype)
    k.scale(dlosses, weights, float(dy))
    k.binary_cross_entropy_vjp(dlogits, dlosses, logits, targets)
    return (dlogits,)


@op
def mean_squared_error(k, x, *, targets, mask=None):
    """y = mean of (x - target)^2;  dx = 2 dy w (x - target)."""
    targets = np.array(targets, x.dtype, order="C")
    if targets.shape != x.shape:
        raise ShapeError(f"mean_squared_error: targets {targets.shape}, x {x.shape}; must be equal")
    off, squares = k.empty(x.shape, x.dtype), k.empty(x.shape, x.dtype)
    k.sub(off, x, targets)
    k.mul(squares, off, off)
    weights = _weights(k, "mean_squared_error", x.shape, mask, x.dtype)
    return _mean(k, squares, weights), (off, weights)


@mean_squared_error.vjp
def _(k, saved, dy, needs):
    off, weights = saved
    dx = k.empty(off.shape, off.dtype)
    k.mul(dx, off, weights)
    k.scale(dx, dx, 2 * float(dy))
    return (dx,)


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """a . b / (|a| |b|) along the last axis, made of other ops. Vectors must not be zero."""
    dot, a2, b2 = sum_op(a * b, axis=-1), sum_op(a * a, axis=-1), sum_op(b * b, axis=-1)
    return dot / (sqrt(a2) * sqrt(b2))
