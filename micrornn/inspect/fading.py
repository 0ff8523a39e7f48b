"""What is read off a gradient over lags: how fast it fades, and whether it grows.

lag_profile     the mean over losses of a matrix of credit, for each lag
decay, fitted   what is left of it one time step further back
half_life       the same in time steps
reach           where less than 1 % is left, or another share
fading          how it fades, in words
growing         where it explodes
share           how much of it windows of num_steps keep
"""

from __future__ import annotations

import math

import numpy as np

from micrornn.inspect.recorded import mean_of
from micrornn.inspect.words import percent, steps

LEFT = 0.01  # the gradient has faded when so much of it is left
HARDLY = 0.7  # it hardly fades if so much of it is left at the end

FEW = 5  # lags at least that a half-life is fitted over


# Exploding: somewhere on its way back the gradient is 10 times what it was where it began, or its fit doubles and it
# goes on growing to the last quarter of what was seen. In a network that learns well it falls from the first time step
# on, or grows by less than three times and then falls: an LSTM whose forget gates are always open adds up to 1.6 times,
# one that has found out that what stands 20 time steps back tells the next token 2.6 times.
GROWN, DOUBLED = 10.0, 2.0


def lag_profile(matrix: np.ndarray, padded: bool = False) -> np.ndarray:
    """The mean of C[s, s - k] over all losses that have a state k time steps before them, for each lag k: (T,).
    The mean at lag k is over T - k losses, so long lags are less certain. padded: NaN are pairs that no lane has."""
    return np.array([mean_of(np.diagonal(matrix, -lag), padded) for lag in range(len(matrix))])


def decay(profile: np.ndarray, last: int) -> float:
    """The factor from one lag to the next, of a line through the logarithm of the profile over lags 0 .. last.

    The slope is the median of the slopes between any two lags (Theil 1950, Sen 1968): no single lag bends it.
    NaN where fewer than two lags hold anything.
    """
    lags = np.flatnonzero(profile[: last + 1] > 0)
    first, second = np.triu_indices(len(lags), 1)
    if not len(first):
        return math.nan
    logs = np.log(profile[lags])
    return float(np.exp(np.median((logs[second] - logs[first]) / (lags[second] - lags[first]))))


def reach(profile: np.ndarray, left: float = LEFT) -> int | None:
    """The first lag at which less than `left` of the gradient of lag 0 is left; None if none is that far back."""
    faded = np.flatnonzero(profile < left * profile[0])
    return int(faded[0]) if len(faded) else None


def fitted(profile: np.ndarray) -> tuple[float, int]:
    """(factor per time step, last lag of the fit): `decay` over the lags at which more than 1 % is left, five at
    least, and up to half of them all, for that far back half of all losses at least have a state.

    0 where nothing is left one time step back, NaN where there is nothing at all.
    """
    finite = np.flatnonzero(~np.isfinite(profile))  # one that explodes may overflow
    known = profile[: int(finite[0])] if len(finite) else profile
    if not len(known) or not known[0] > 0:
        return math.nan, 0
    last = max(1, min(len(known) // 2, max(reach(known) or len(known), FEW)))
    factor = decay(known, last)
    return (0.0 if math.isnan(factor) else factor), last


def half_life(factor: np.ndarray | float) -> np.ndarray:
    """Time steps after which half is left, for a factor per time step; infinite where it does not shrink."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(factor < 1, np.log(2) / -np.log(factor), np.where(np.isnan(factor), np.nan, np.inf))


def fading(profile: np.ndarray) -> str:
    """How a gradient fades over lags, in words that go on from "The gradient": where less than half of it is left, and
    less than 1 %, or else how much at the end of what was seen. These are read off the profile itself, and no rate is
    told: few profiles halve again and again in the same time."""
    half, far, last = reach(profile, 0.5), reach(profile), len(profile) - 1
    left = profile[-1] / profile[0]
    if half is not None and half == far:
        return f"falls below 1 % of its size {steps(far)} back"
    ending = f"and {percent(left)} of it is left {steps(last)} back"
    if far is not None:
        ending = f"and below 1 % {steps(far)} back"
    elif left > 1.005:  # what is more than all of it is not left of it
        ending = f"and is {left:.3g} times as large {steps(last)} back"
    if half is not None:
        return f"falls below half of its size {steps(half)} back, {ending}"
    return f"{'stays above half of its size' if left < HARDLY else 'hardly fades'}, {ending}"


def growing(profile: np.ndarray) -> tuple[int, float] | None:
    """(lag, how many times as large as at lag 0) where a gradient explodes; None where it does not."""
    known = np.where(np.isnan(profile), 0, profile)
    factor, last = fitted(profile)
    lag = int(known.argmax())
    on = factor**last > DOUBLED and 4 * lag >= 3 * (len(known) - 1)
    if not known[0] > 0 or not (on or known[lag] > GROWN * known[0]):
        return None
    return lag, float(known[lag] / known[0])


def share(profile: np.ndarray, num_steps: int) -> float:
    """How much of the profile's sum windows of num_steps keep. A loss stands anywhere in its window, so of the pairs
    at lag k a share of 1 - k / num_steps lies inside one."""
    lags = np.arange(min(num_steps, len(profile)))
    return float(((1 - lags / num_steps) * profile[: len(lags)]).sum() / profile.sum())
