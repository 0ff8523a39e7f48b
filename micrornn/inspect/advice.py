"""From measured numbers to sizes: which num_steps, batch_size and lr they speak for.

least_steps    num_steps: the smallest whose truncation bias can be borne
choose_steps   the same by all that was measured: early and later, with each seed, and by the lags of the text
times          batch_size: how long each takes to reach a loss
scaled_lr      lr: the one that goes with them
Point, Brief   a model at a place of a brief training; that training (brief.py)
Measured       what was measured

num_steps comes first. A time step waits for the one before it while lanes run side by side, so of all windows of as
many tokens those with the fewest time steps are the quickest; but a bias does not average out as noise does, and no
price in time can be put on it. So K is the smallest whose bias is at most what is tolerated, early and later, on the
mean of the seeds. Two things a gradient does not show: that nothing is left to be learned from the past (the bias is
then a share of a gradient that is noise), and what a model has not begun to learn (inspect/lags.py).

batch_size is where the time to reach a loss is least. That is updates times seconds per update,

    S_min (1 + B / N) t(N),

with t(N) as measured. 1 + B / N is what a step of the best length loses to the noise of a batch of N lanes
(McCandlish, Kaplan, Amodei et al. 2018, arXiv:1812.06162, eq. 2.6), B the gradient noise scale (inspect/noise.py).
B changes while a model learns. As the updates are linear in it, the mean of what was measured early and later counts
both as equally long. S_min is the same for all N, and drops out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from micrornn.inspect.bias import Bias
from micrornn.inspect.lags import Gains

# A model whose loss is no more than 2 % below what pairs of tokens give has learned nothing from further back.
PAIRS = 0.98
STAGES = ("early", "later")


def least_steps(steps: Sequence[int], bias: np.ndarray, tolerance: float) -> int | None:
    """The smallest of `steps` from which on the bias (K,) is at most `tolerance`; None if it is above to the last."""
    above = np.flatnonzero(~(bias <= tolerance))
    at = int(above[-1]) + 1 if above.size else 0
    return steps[at] if at < len(steps) else None


def times(scales: np.ndarray, batch_sizes: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The time to reach a loss at each batch_size, as a multiple of the least: the mean over the noise scales of
    (1 + B / N) t(N). Where a scale is infinite only t(N) / N is left of it."""
    scale = float(np.mean(scales))
    found = seconds * (1 + scale / batch_sizes if math.isfinite(scale) else 1 / batch_sizes)
    least: np.ndarray = found / found.min()
    return least


def scaled_lr(lr: float, optimizer: str, before: float, after: float, scale: float) -> float:
    """`lr` is right for updates of `before` tokens: what is for those of `after` tokens? To two digits.

    The best learning rate goes as 1 / (1 + B / N) with plain gradients (McCandlish et al. 2018, eq. 2.5): in
    proportion to N while N is well below the noise scale B, as Goyal et al. (2017, arXiv:1706.02677) found, and not
    at all well above. Where the optimizer divides by the size of the gradient, as Adam and RMSprop, it goes as the
    square root of that (Malladi et al. 2022, arXiv:2205.10287).

    scale    B in tokens
    """
    ratio = (1 + scale / before) / (1 + scale / after) if math.isfinite(scale) else after / before
    power = 1.0 if plain_gradients(optimizer) else 0.5
    return float(f"{lr * ratio**power:.2g}")


class Point(NamedTuple):
    """A model after so many updates, how much of the learning rate its schedule had left then, its seed, and which of
    the places it is: 0 early, 1 later."""

    updates: int
    model: Any
    lr_left: float = 1.0
    seed: int = 0
    stage: int = 1


class Brief(NamedTuple):
    """points; best: the least validation loss, and after how many updates and epochs. turned: whether it rose again;
    flat: whether it no longer fell; inside: whether there was no time to get past the warm-up; updates, planned: how
    far it came, and how far it was to come."""

    points: list[Point]
    best: float
    best_updates: int
    best_epochs: float
    turned: bool
    flat: bool
    inside: bool
    updates: int = 0
    planned: int = 0


@dataclass(frozen=True)
class Measured:
    """What `advise` measured, at P points of one or two trainings.

    points             where; a training has one early, and one where its validation loss was best, or that one alone
    briefs             what validation said meanwhile; empty for a trained model
    steps              the num_steps looked at, rising
    biases             (P,) of the mean gradient, of windows of so many time steps
    tolerance          the largest bias that is tolerated
    lags, lag          what single tokens tell, and the furthest lag that stands out; 0: none
    own, asked         (batch_size, num_steps) that lr is for, and that are compared with; what was asked for, before it
                       was made to fit the text
    scale              (P, 3): gradient noise scale in lanes of the advised num_steps, and its range, low and high
    batch_sizes        rising
    seconds            (N, 3) of an update with so many lanes: median, and lower and upper quartile
    own_seconds        of an update with `own`
    """

    points: Sequence[Point]
    briefs: Sequence[Brief]
    steps: Sequence[int]
    biases: Sequence[Bias]
    tolerance: float
    lags: Gains
    lag: int
    own: tuple[int, int]
    asked: tuple[int, int]
    lr: float
    optimizer: str
    scale: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    batch_sizes: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    seconds: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    own_seconds: float = math.nan

    @property
    def lr_left(self) -> float:
        return self.points[-1].lr_left

    @property
    def nothing_further(self) -> bool:
        """Whether the trainings came to rest where pairs of tokens bring a model, too, and no lag stands out."""
        pairs = min(self.lags.pairs, self.lags.frequencies)
        rested = [one.best for one in self.briefs if one.flat or one.turned]
        return not self.lag and len(rested) == len(self.briefs) > 0 and min(rested) > PAIRS * pairs

    def pooled(self, seeds: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(bias^2, its standard error) (stage, K): means over the seeds where there is a gradient to compare with. The
        error holds how far the seeds are apart."""
        square, error = np.full((2, len(STAGES), len(self.steps)), np.nan)
        for stage in range(len(STAGES)):
            of = [
                bias
                for point, bias in zip(self.points, self.biases)
                if point.stage == stage and bias.told and (seeds is None or point.seed in seeds)
            ]
            if of:
                squares = np.array([bias.square for bias in of])
                own = np.mean([bias.error**2 for bias in of], axis=0)
                apart = squares.var(axis=0, ddof=1) if len(of) > 1 else 0.0
                square[stage], error[stage] = squares.mean(axis=0), np.sqrt(np.maximum(own, apart) / len(of))
        return square, error


@dataclass(frozen=True)
class Chosen:
    """num_steps, the range it may lie in, and why: bias (the smallest that can be borne), beyond (none can be), lag
    (the text), nothing (nothing further back is learned), untold (no gradient stands out of the noise)."""

    num_steps: int
    low: int
    high: int
    why: str


def choose_steps(found: Measured) -> Chosen:
    """num_steps by the worse of early and later, one standard error up: to reach too far back costs a little time, not
    far enough cannot be made good (the rule of one standard error, Breiman et al. 1984). The range is that of two
    standard errors and of each seed alone."""
    steps, tolerance = found.steps, found.tolerance

    def least(square: np.ndarray, error: np.ndarray, errors: int = 0) -> int | None:
        there = np.isfinite(square).any(axis=1)
        worst = np.sqrt(np.maximum(square + errors * error, 0))[there].max(axis=0)
        return least_steps(steps, worst, tolerance)

    square, error = found.pooled()
    if found.nothing_further:
        return Chosen(steps[0], steps[0], steps[0], "nothing")
    if not np.isfinite(square).any():
        near = min(steps, key=lambda k: abs(math.log(k / found.own[1])))
        chosen = Chosen(near, steps[0], steps[-1], "untold")
    else:
        best = least(square, error, 1) or least(square, error)
        told = {point.seed for point, bias in zip(found.points, found.biases) if bias.told}
        all_ = [best, least(square, error, -2), least(square, error, 2), *(least(*found.pooled([s])) for s in told)]
        ends = [k or steps[-1] for k in all_]
        chosen = Chosen(best or steps[-1], min(ends), max(ends), "bias" if best else "beyond")
    if found.lag:  # half of the losses in a window of twice the lag see it
        reached, needed = (next((k for k in steps if k >= n * found.lag), steps[-1]) for n in (1, 2))
        if needed > chosen.num_steps:
            return Chosen(needed, max(chosen.low, reached), max(chosen.high, needed), "lag")
    return chosen


def plain_gradients(optimizer: str) -> bool:
    """Whether an optimizer's steps are in proportion to the gradient."""
    return optimizer.partition(":")[0] in ("sgd", "momentum")
