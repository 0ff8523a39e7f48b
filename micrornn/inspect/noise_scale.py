"""The gradient noise scale out of the gradients of many small batches.

two_batches    |G|^2 and tr(Sigma) from the squared norms of a small and of a large batch's gradient
estimate       both, and the noise scale with its uncertainty, from many small batches -> Estimate
jackknife      a standard error from estimates without one block in turn
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.errors import ConfigError


def two_batches(small_square: float, large_square: float, small: int, large: int) -> tuple[float, float]:
    """(|G|^2, tr(Sigma)) from the squared norms of the mean gradients of a batch of `small` and one of `large` lanes.

    Both are unbiased, and may be averaged over many pairs of batches; their ratio must be taken last (appendix A.1).
    """
    signal = (large * large_square - small * small_square) / (large - small)
    return signal, (small_square - large_square) / (1 / small - 1 / large)


@dataclass(frozen=True)
class Estimate:
    """signal |G|^2 and noise tr(Sigma), their standard errors, and the noise scale B_simple = noise / signal in lanes
    with a range of two standard errors. The signal may come out negative: then `scale` is infinite.

    left_out    the scale with each block of windows left out in turn
    """

    signal: float
    noise: float
    signal_error: float
    noise_error: float
    scale: float
    low: float
    high: float
    left_out: np.ndarray


def estimate(sums: np.ndarray, squares: Sequence[float] | np.ndarray, counts: Sequence[int] | np.ndarray,
             small: int = 1) -> Estimate:  # fmt: skip
    """The noise scale from the gradients of many small batches of `small` lanes each, in M blocks.

    sums       (M, P) for each block the sum of the gradients of its small batches
    squares    (M,) the sum of their squared norms
    counts     (M,) how many they are

    The large batch is all there is: that is the average over all pairs of small batches. The uncertainty comes from
    leaving out one block after the other (jackknife, Efron 1982). It is that of 1 / B_simple, which stays finite
    where the signal is lost in the noise.
    """
    squares, counts = np.asarray(squares, np.float64), np.asarray(counts)
    if counts.sum() < 2:
        raise ConfigError("noise: one small batch alone has no spread; give more text, or more windows or lanes of it")
    gram = (sums @ sums.T).astype(np.float64)

    def of(blocks: np.ndarray) -> tuple[float, float]:
        n = int(counts[blocks].sum())
        large_square = float(gram[np.ix_(blocks, blocks)].sum()) / n**2
        return two_batches(float(squares[blocks].sum()) / n, large_square, small, small * n)

    everything = np.arange(len(sums))
    signal, noise = of(everything)
    if counts.sum() - counts.max() < 2:
        nothing = np.empty(0)
        return Estimate(signal, noise, math.nan, math.nan, _ratio(noise, signal), 0.0, math.inf, nothing)
    left = np.array([of(np.delete(everything, n)) for n in everything])
    with np.errstate(divide="ignore", invalid="ignore"):
        signal_error, noise_error, error = jackknife(np.column_stack([left, left[:, 0] / left[:, 1]]))
        inverse = np.float64(signal) / noise
    return Estimate(
        signal, noise, float(signal_error), float(noise_error), _ratio(noise, signal),
        _ratio(1, inverse + 2 * error), _ratio(1, inverse - 2 * error),
        np.array([_ratio(noise, signal) for signal, noise in left]),
    )  # fmt: skip


def jackknife(left: Any) -> np.ndarray:
    """Standard errors from estimates (M, ...), each without one of M blocks (Efron 1982)."""
    return np.sqrt((len(left) - 1) * np.var(left, axis=0))


def _ratio(noise: float, signal: float) -> float:
    return noise / signal if signal > 0 else math.inf
