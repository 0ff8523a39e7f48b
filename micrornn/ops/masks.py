"""Masks select. Numbers where a mask is False must have no effect. To multiply by zero is not enough: 0 * NaN is NaN.

So an op with a mask first sets its inputs to zero where the mask is False. Then no product, sum or VJP meets the
numbers there, which may be NaN, infinite, or a padding symbol such as -100.

    take_mask(name, mask)             a copy as bool, or ConfigError
    keep(k, x, mask)                  x where mask, else 0; the mask is over the first axes of x
    drop_nonfinite(k, dy, mask)       dy, but 0 where it is neither masked in nor finite
    mask_message                      an op that does this on the way back
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn import device
from micrornn.errors import ConfigError, ShapeError
from micrornn.kernels import Kernels
from micrornn.tape import op


def take_mask(name: str, mask: Any) -> np.ndarray:
    """A copy of the mask as bool: it is needed again on the way back, when the caller's array may hold another."""
    try:
        given = np.asarray(device.host(mask) if device.of(mask) == "cuda" else mask)
    except ValueError:  # lists of different lengths
        raise ConfigError(f"{name}: the mask is no array of True and False; its rows have different lengths") from None
    if given.dtype.kind not in "biuf" or (given.dtype.kind != "b" and not np.isin(given, (0, 1)).all()):
        raise ConfigError(f"{name}: a mask holds True and False, or 1 and 0; this one holds {given.dtype}")
    return np.array(given, bool, order="C")


def keep(k: Kernels, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """x where mask, else 0. mask (bool) has the shape of the first axes of x; x itself if all of it counts."""
    if device.of(mask) == "cpu" and mask.all():
        return x
    y = k.empty(x.shape, x.dtype)
    k.where(y, _over(k, mask, x.shape), x, k.zeros(x.shape, x.dtype))
    return y


def drop_nonfinite(k: Kernels, dy: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """dy, but 0 where it is neither masked in nor finite. The mask is over the first axes of dy."""
    if device.of(mask) == "cpu" and mask.all():
        return dy
    sign, clean = k.full(dy.shape, 1, dy.dtype), k.empty(dy.shape, dy.dtype)
    with np.errstate(invalid="ignore"):
        k.sub(clean, dy, dy)  # 0 where dy is finite, else NaN
    k.accumulate(sign, clean)
    k.relu_vjp(clean, dy, sign)  # dy where sign > 0, which NaN is not
    k.where(clean, _over(k, mask, dy.shape), dy, clean)
    return clean


def _over(k: Kernels, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask repeated over the last axes of this shape, on the device."""
    mask = k.asarray(mask)
    return k.spread(mask.reshape((*mask.shape, *[1] * (len(shape) - mask.ndim))), shape)


@op
def mask_message(k, x, *, mask):
    """y = x;  dx = dy, but 0 where it is neither masked in nor finite. mask (bool): the shape of x's first axes.

    Behind a recurrent layer: at a masked step its output repeats the state, and what a loss makes of padding there
    (0 * NaN, say) shall not go back into the steps that count.
    """
    mask = take_mask("mask_message", mask)
    if mask.shape != x.shape[: mask.ndim]:
        raise ShapeError(f"mask_message: mask {mask.shape}, wanted the first axes of x {x.shape}")
    return x, k.asarray(mask)


@mask_message.vjp
def mask_message_vjp(k, mask, dy, needs):
    return (drop_nonfinite(k, dy, mask),)
