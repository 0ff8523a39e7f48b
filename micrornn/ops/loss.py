"""Losses: cross-entropy, binary cross-entropy, mean squared error, and cosine similarity.

A mask (bool, one for each position) selects. Where it is False, the numbers, which may be NaN or a padding symbol such
as -100, are not used, and the gradient is exactly zero. If nothing is left to average, the loss is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from micrornn import device
from micrornn.arguments import numbers
from micrornn.errors import ConfigError, ShapeError
from micrornn.kernels import Kernels
from micrornn.ops.axes import sum_axis
from micrornn.ops.elementwise import sqrt
from micrornn.ops.embedding import take_ids
from micrornn.ops.masks import keep, take_mask
from micrornn.ops.reduce import sum as sum_op
from micrornn.tape import Tensor, op


def _weights(k: Kernels, mask: np.ndarray | None, shape: tuple[int, ...], dtype: Any,
             given: np.ndarray | None = None) -> np.ndarray:  # fmt: skip
    """What each position counts in the mean: 1 / the number of unmasked ones, 0 where masked; or its share of the
    `given` weights of unmasked ones."""
    if given is not None:
        given = np.asarray(given, np.float64)
        if given.shape != shape or not (np.isfinite(given).all() and (given >= 0).all()):
            raise ShapeError(f"weights {given.shape}, wanted {shape}, finite numbers, 0 or more, one for each position")
        given = given if mask is None else given * mask
        return k.asarray((given / (given.sum() or 1)).astype(dtype))
    if mask is None:
        return k.full(shape, 1 / max(1, math.prod(shape)), dtype)
    return k.asarray(mask.astype(dtype) / max(1, int(mask.sum())), dtype)


def _mask(name: str, mask: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The mask as bool, of the shape of the positions."""
    if mask is None:
        return None
    mask = take_mask(name, mask)
    if mask.shape != shape:
        raise ShapeError(f"{name}: mask {mask.shape}, wanted {shape}, one for each position")
    return mask


def _numbers(name: str, targets: Any, x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """A copy of the targets, one for each number of x, with 0 where masked: the way back needs them as they are now."""
    if isinstance(targets, Tensor):
        raise ConfigError(f"{name}: targets are numbers, and no gradient goes back to them; give targets.data")
    targets = device.host(targets) if device.of(targets) == "cuda" else targets
    targets = np.array(numbers(f"{name}: targets", targets, x.dtype))
    if targets.shape != x.shape:
        raise ShapeError(f"{name}: targets {targets.shape}, x {x.shape}; must be equal")
    return targets if mask is None else np.where(mask, targets, x.dtype.type(0))


def _mean(k: Kernels, losses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    weighted = k.empty(losses.shape, losses.dtype)
    k.mul(weighted, losses, weights)
    return sum_axis(k, weighted.reshape(-1), 0)


@op
def cross_entropy(k, logits, *, targets, mask=None, weights=None):
    """y = mean over (unmasked) positions of -ln softmax(logits)[target];  dlogits = dy w (softmax - one-hot).

    logits (..., V), targets integers (...), mask bool (...): False does not count. With weights (...), it is the
    weighted mean. In nats.
    """
    if not logits.ndim or not logits.shape[-1]:
        raise ShapeError(f"cross_entropy: logits {logits.shape}, wanted (..., V), V not 0")
    size = logits.shape[-1]
    mask = _mask("cross_entropy", mask, logits.shape[:-1])
    targets = take_ids("cross_entropy targets", targets, size, mask)
    if targets.shape != logits.shape[:-1]:
        raise ShapeError(
            f"cross_entropy: targets {targets.shape} for logits {logits.shape}; wanted {logits.shape[:-1]}"
        )
    if mask is not None:
        logits = keep(k, logits, mask)
    rows, flat = logits.reshape(-1, size), k.asarray(targets.reshape(-1))
    losses, probabilities = k.empty(flat.shape, logits.dtype), k.empty(rows.shape, logits.dtype)
    k.cross_entropy(losses, probabilities, rows, flat)
    weights = _weights(k, mask, targets.shape, logits.dtype, weights).reshape(-1)
    return _mean(k, losses, weights), (probabilities, flat, weights, logits.shape)


@cross_entropy.vjp
def cross_entropy_vjp(k, saved, dy, needs):
    probabilities, targets, weights, shape = saved
    dlosses = k.empty(weights.shape, weights.dtype)
    k.scale_by(dlosses, weights, dy.reshape(1))
    dlogits = k.empty(probabilities.shape, probabilities.dtype)
    k.cross_entropy_vjp(dlogits, dlosses, probabilities, targets)
    return (dlogits.reshape(shape),)


BLOCK_BYTES = 32 << 20  # the largest array of logits that `linear_cross_entropy` makes


@op
def linear_cross_entropy(k, x, weight, bias, *, targets, mask=None, gradient=True):
    """cross_entropy(linear(x, weight, bias)), in blocks of positions: with a large vocabulary the logits of all of
    them would be the largest array by far. x (..., D), weight (V, D), bias (V,), targets and mask (...). In nats.

    A block's logits turn into probabilities and those into cotangents in one array, while they are at hand; so the
    gradient is computed on the way forward, for dy = 1 (`gradient`: whether it will be wanted).
    """
    if weight.ndim != 2 or 0 in weight.shape or weight.shape[1:] != x.shape[-1:] or bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"linear_cross_entropy: x {x.shape}, weight {weight.shape}, bias {bias.shape}; "
            "wanted (..., D), (V, D) and (V,)"
        )
    size = len(weight)
    mask = _mask("linear_cross_entropy", mask, x.shape[:-1])
    targets = take_ids("linear_cross_entropy targets", targets, size, mask)
    if targets.shape != x.shape[:-1]:
        raise ShapeError(f"linear_cross_entropy: targets {targets.shape} for x {x.shape}; wanted {x.shape[:-1]}")
    if mask is not None:
        x = keep(k, x, mask)
    weights = _weights(k, mask, targets.shape, x.dtype).reshape(-1)
    inputs: Any = x.reshape(-1, x.shape[-1]), weight, bias, k.asarray(targets.reshape(-1)), weights
    losses, gradients = _in_blocks(k, *inputs, gradient=gradient)
    return _mean(k, losses, weights), (x.shape, inputs, gradients)


@linear_cross_entropy.vjp
def linear_cross_entropy_vjp(k, saved, dy, needs):
    shape, inputs, gradients = saved
    if gradients is None:
        _, gradients = _in_blocks(k, *inputs, gradient=True)
    if k.device != "cuda" and float(dy) == 1:  # the usual loss: its gradient is there as it is wanted
        return gradients[0].reshape(shape), *gradients[1:]
    scaled = []
    for gradient in gradients:
        scaled.append(k.empty(gradient.shape, gradient.dtype))
        k.scale_by(scaled[-1], gradient, dy.reshape(1))
    return scaled[0].reshape(shape), *scaled[1:]


def _in_blocks(k: Kernels, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, targets: np.ndarray,
               weights: np.ndarray, *, gradient: bool) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:  # fmt: skip
    """(the loss of each row of x, and where wanted the gradients by x, weight and bias of their weighted sum)."""
    losses, most = k.empty(targets.shape, x.dtype), max(1, BLOCK_BYTES // (len(weight) * x.itemsize))
    block = k.empty((min(most, len(x)), len(weight)), x.dtype)
    make = k.empty if len(x) else k.zeros
    dx, dweight, dbias = (make(array.shape if gradient else (0,), x.dtype) for array in (x, weight, bias))
    for a in range(0, len(x), most):
        b = min(a + most, len(x))
        logits = block[: b - a]
        k.matmul(logits, x[a:b], weight, trans_b=True)
        k.add_bias(logits, bias)
        k.cross_entropy(losses[a:b], logits, logits, targets[a:b])
        if gradient:
            k.cross_entropy_vjp(logits, weights[a:b], logits, targets[a:b])
            k.matmul(dx[a:b], logits, weight)
            k.matmul(dweight, logits, x[a:b], trans_a=True, accumulate=a > 0)
            k.sum(dbias[None], logits[None], a > 0)
    return losses, (dx, dweight, dbias) if gradient else None


@op
def binary_cross_entropy(k, logits, *, targets, mask=None):
    """y = mean of -t ln s(x) - (1 - t) ln(1 - s(x)), s the sigmoid;  dx = dy w (s(x) - t). Targets in 0..1, nats."""
    mask = _mask("binary_cross_entropy", mask, logits.shape)
    targets = _numbers("binary_cross_entropy", targets, logits, mask)
    if mask is not None:
        logits = keep(k, logits, mask)
    losses, targets = k.empty(logits.shape, logits.dtype), k.asarray(targets)
    k.binary_cross_entropy(losses, logits, targets)
    weights = _weights(k, mask, logits.shape, logits.dtype)
    return _mean(k, losses, weights), (logits, targets, weights)


@binary_cross_entropy.vjp
def binary_cross_entropy_vjp(k, saved, dy, needs):
    logits, targets, weights = saved
    dlosses, dlogits = k.empty(logits.shape, logits.dtype), k.empty(logits.shape, logits.dtype)
    k.scale_by(dlosses, weights, dy.reshape(1))
    k.binary_cross_entropy_vjp(dlogits, dlosses, logits, targets)
    return (dlogits,)


@op
def mean_squared_error(k, x, *, targets, mask=None):
    """y = mean of (x - target)^2;  dx = 2 dy w (x - target)."""
    mask = _mask("mean_squared_error", mask, x.shape)
    targets = _numbers("mean_squared_error", targets, x, mask)
    if mask is not None:
        x = keep(k, x, mask)
    off, squares = k.empty(x.shape, x.dtype), k.empty(x.shape, x.dtype)
    k.sub(off, x, k.asarray(targets))
    k.mul(squares, off, off)
    weights = _weights(k, mask, x.shape, x.dtype)
    return _mean(k, squares, weights), (off, weights)


@mean_squared_error.vjp
def mean_squared_error_vjp(k, saved, dy, needs):
    off, weights = saved
    dx = k.empty(off.shape, off.dtype)
    k.mul(dx, off, weights)
    k.scale(dx, dx, 2.0)
    k.scale_by(dx, dx, dy.reshape(1))
    return (dx,)


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """a . b / (|a| |b|) along the last axis, made of other ops. Vectors must not be zero."""
    a, b = (x if isinstance(x, Tensor) else Tensor(x) for x in (a, b))
    dot, a2, b2 = sum_op(a * b, axis=-1), sum_op(a * a, axis=-1), sum_op(b * b, axis=-1)
    return dot / (sqrt(a2) * sqrt(b2))
