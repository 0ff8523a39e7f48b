"""From measured numbers to sizes: which num_steps, batch_size and lr they speak for.

least_steps    num_steps: the smallest whose truncation bias can be borne
times          batch_size: how long each takes to reach a loss
scaled_lr      lr: the one that goes with them
Measured       what was measured; `advice` makes the measure `advise` of it

num_steps comes first. A time step waits for the one before it while lanes run side by side, so of all windows of as
many tokens those with the fewest time steps are the quickest; but a bias does not average out as noise does, and no
price in time can be put on it. So K is the smallest whose bias is at most what is tolerated.

batch_size is where the time to reach a loss is least. That is updates times seconds per update,

    S_min (1 + B / N) t(N),

with t(N) as measured. 1 + B / N is what a step of the best length loses to the noise of a batch of N lanes
(McCandlish, Kaplan, Amodei et al. 2018, arXiv:1812.06162, eq. 2.6), B the gradient noise scale (inspect/noise.py).
B changes while a model learns. As the updates are linear in it, the mean of what was measured early and later counts
both as equally long. S_min is the same for all N, and drops out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict

NEAR = 1.1  # a time within 10 % of the least is as good: other things weigh more
SATURATED = 0.9  # of the most tokens per second
WIDE = 4  # the best batch_size is unsure if the noise scale's uncertainty moves it by more than this factor
COOLED = 0.5  # less of the learning rate: the noise scale is of another temperature (McCandlish et al., appendix C)
BUSY = 0.3  # times of the same update, quartile to quartile


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
    power = 1.0 if _plain_gradients(optimizer) else 0.5
    return float(f"{lr * ratio**power:.2g}")


@dataclass(frozen=True)
class Measured:
    """What `advise` measured, at P points of a training.

    updates            (P,) after how many updates
    lr_left            how much of the learning rate the schedule had left at the last of them
    steps              the num_steps looked at, rising
    bias, cosine       (P, K, window) of windows of so many time steps, as inspect/truncation.py has them; NaN where
                       time did not allow for so many windows
    tolerance          the largest bias to be borne
    scale              (P, 3): gradient noise scale in lanes of `num_steps` time steps, and its range, low and high
    num_steps          the K at which scale and seconds were measured
    batch_sizes        rising
    seconds            (N, 3) of an update with so many lanes: median, and lower and upper quartile
    own                (batch_size, num_steps) that lr is for, and that are compared with
    own_seconds        of an update with these
    """

    updates: Sequence[int]
    lr_left: float
    steps: Sequence[int]
    bias: np.ndarray
    cosine: np.ndarray
    tolerance: float
    scale: np.ndarray
    num_steps: int
    batch_sizes: np.ndarray
    seconds: np.ndarray
    own: tuple[int, int]
    own_seconds: float
    lr: float
    optimizer: str


def steps_by(bias: np.ndarray, steps: Sequence[int], tolerance: float) -> tuple[int | None, int, int]:
    """(K, and the range it may lie in by the spread over windows: two standard errors), by the worst of the points.

    bias    (P, K, window), NaN where nothing was measured
    """
    mean, windows = np.nanmean(bias, axis=2), np.isfinite(bias).sum(axis=2)
    error = np.nanstd(bias, axis=2) / np.sqrt(np.maximum(windows - 1, 1))
    found = [least_steps(steps, (mean + sign * error).max(axis=0), tolerance) for sign in (0, -2, 2)]
    return found[0], found[1] or steps[-1], found[2] or steps[-1]


def advice(found: Measured, about: Mapping[str, Any]) -> Measure:
    """The measure `advise`: what was measured, what follows from it, and in words."""
    sizes, seconds = found.batch_sizes, found.seconds[:, 0]
    K, low, high = steps_by(found.bias, found.steps, found.tolerance)
    scales = np.clip(found.scale, 1e-3, None)
    relative = times(scales[:, 0], sizes, seconds)
    N = int(sizes[relative.argmin()])
    # how far the best one moves with the noise scale: the lowest of all, the highest of all
    ends = [
        int(sizes[times(np.array([end]), sizes, seconds).argmin()]) for end in (scales[:, 1].min(), scales[:, 2].max())
    ]
    speed = found.num_steps * sizes / seconds
    scale = float(scales[:, 0].mean())
    own_tokens = found.own[0] * found.own[1]
    lr = scaled_lr(found.lr, found.optimizer, own_tokens, N * found.num_steps, scale * found.num_steps)
    at = list(sizes).index(N)
    gain = _updates(scale * found.num_steps, own_tokens) * found.own_seconds
    gain /= _updates(scale * found.num_steps, N * found.num_steps) * seconds[at]
    bias, kept = np.nanmean(found.bias, axis=2), np.nanmean(found.cosine, axis=2)
    here = list(found.steps).index(found.num_steps)
    numbers = {
        "num_steps": Number(found.num_steps, "time steps", "advised"),
        "num_steps_low": Number(low, "time steps", "by the spread over windows, two standard errors"),
        "num_steps_high": Number(high, "time steps", "the same, upward"),
        "bias": Number(float(bias[:, here].max()), "", "truncation bias at the advised num_steps, the worst measured"),
        "kept": Number(float(kept[:, here].min()), "", "cosine of the truncated gradient with the whole one there"),
        "tolerance": Number(found.tolerance, "", "the largest bias to be borne"),
        "batch_size": Number(N, "lanes", "advised"),
        "batch_size_low": Number(min(ends), "lanes", "best at the low end of the noise scale"),
        "batch_size_high": Number(max(ends), "lanes", "best at its high end"),
        "scale": Number(scale, "lanes", "gradient noise scale, mean of what was measured"),
        "saturated": Number(int(sizes[speed >= SATURATED * speed.max()][0]), "lanes", "where throughput saturates"),
        "lr": Number(lr, "", "learning rate that goes with it"),
        "lr_left": Number(found.lr_left, "", "of the learning rate, by the schedule, where it was measured last"),
        "own_batch_size": Number(found.own[0], "lanes", "compared with"),
        "own_num_steps": Number(found.own[1], "time steps", "compared with"),
        "gain": Number(float(gain), "", "how many times as long those take to reach a loss"),
        "spread": Number(float(np.median((found.seconds[:, 2] - found.seconds[:, 1]) / seconds)), "", "of the times of "
                         "an update, quartile to quartile"),
    }  # fmt: skip
    arrays = {
        "bias": Array(found.bias, ("updates", "K", "window"), "", "norm of g_K - g by the norm of g, windows of K"),
        "cosine": Array(found.cosine, ("updates", "K", "window"), "", "of the angle between g_K and g"),
        "scale": Array(found.scale, ("updates", "range"), "lanes", "gradient noise scale at the advised num_steps"),
        "seconds": Array(found.seconds, ("batch_size", "quartile"), "s", "of an update at the advised num_steps"),
        "speed": Array(speed, ("batch_size",), "tokens/s", "throughput there"),
        "time": Array(relative, ("batch_size",), "", "time to reach a loss, times the least"),
        "time_of_steps": Array(
            np.array([_updates(scale * found.num_steps, N * k) * k for k in found.steps])
            / (_updates(scale * found.num_steps, N * found.num_steps) * found.num_steps), ("K",), "",
            "time to reach a loss with the advised batch_size and this num_steps, times that of the advised one, if "
            "a time step costs the same and the noise scale in tokens stays; the bias left aside",
        ),
    }  # fmt: skip
    axes = {
        "updates": Axis.of(found.updates, "updates"),
        "K": Axis.of(found.steps, "time steps"),
        "window": Axis.of(range(found.bias.shape[2])),
        "range": Axis.of(("measured", "low", "high")),
        "batch_size": Axis.of(sizes, "lanes"),
        "quartile": Axis.of(("median", "lower", "upper")),
    }
    measure = Measure("advise", about, axes, arrays, numbers)
    verdicts = _steps_verdict(measure, K is not None), _batch_verdict(measure), _lr_verdict(measure, found)
    return Measure("advise", about, axes, arrays, numbers, verdicts)


def _updates(scale: float, tokens: float) -> float:
    """Updates to reach a loss, up to a factor; both in tokens."""
    return 1 + scale / tokens if math.isfinite(scale) else 1 / tokens


def _plain(measure: Measure) -> dict[str, float]:
    return {name: float(number.value) for name, number in measure.numbers.items()}


def _points(measure: Measure, values: Sequence[str]) -> str:
    """`9 % after 50 updates, 8 % after 400`."""
    updates = measure.axes["updates"].places
    return ", ".join(
        f"{value} after {n:,}" + (" updates" if not at else "") for at, (value, n) in enumerate(zip(values, updates))
    )


def _range(low: float, high: float) -> str:
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _steps_verdict(measure: Measure, reached: bool) -> Verdict:
    n, steps = _plain(measure), list(measure.axes["K"].places)
    K, bias, cost = int(n["num_steps"]), np.nanmean(measure["bias"], axis=2), measure["time_of_steps"]
    words = (
        f"num_steps {K}: windows of {K} time steps bend the gradient by "
        f"{_points(measure, [percent(value) for value in bias[:, steps.index(K)]])}"
    )
    if not reached:
        words += f". None up to that stays below the {percent(n['tolerance'])} to be borne, and no more were tried."
        return Verdict("biased", words, n, "Bear more with --bias, or measure on more text.")
    words += f", and keep {percent(n['kept'])} of it. It is the smallest below {percent(n['tolerance'])}."
    more = []
    for word, k in (("Half", K // 2), ("Twice", 2 * K)):
        if k in steps:
            at = steps.index(k)
            more.append(f"{word} takes x {cost[at]:.2f} the time and bends it by {percent(bias[:, at].max())}. ")
    advice = "".join(more)
    advice += f"By the spread over windows of text: {_range(n['num_steps_low'], n['num_steps_high'])}."
    return Verdict("healthy", words, n, advice)


def _batch_verdict(measure: Measure) -> Verdict:
    n, sizes, time = _plain(measure), list(measure.axes["batch_size"].places), measure["time"]
    N, scale = int(n["batch_size"]), n["scale"]
    each = _points(measure, [lanes_of(value) for value in measure["scale"][:, 0]])
    words = (
        f"batch_size {N}: the noise scale is {each}, "
        f"so updates go as 1 + {lanes_of(scale)} / N; throughput saturates at {n['saturated']:.0f} lanes. Together, "
        f"{N} is the quickest."
    )
    advice = "".join(
        f"{word} takes x {time[sizes.index(size)]:.2f} the time. "
        for word, size in (("Half", N // 2), ("Twice", 2 * N))
        if size in sizes
    )
    good = [size for size, value in zip(sizes, time) if value <= NEAR]
    advice += f"Within 10 %: {_range(good[0], good[-1])}; by the uncertainty of the noise scale: "
    advice += f"{_range(n['batch_size_low'], n['batch_size_high'])}."
    if n["spread"] > BUSY:
        advice += f" The times of an update vary by {percent(n['spread'])}: is the machine busy?"
    if N in (sizes[0], sizes[-1]):
        advice += f" {'More' if sizes[-1] == N else 'Fewer'} lanes were not tried."
    cooled = n["lr_left"] < COOLED
    if cooled:
        advice += (
            f" The schedule had left {percent(n['lr_left'])} of lr, which raises the noise scale: for a run from the "
            "start, give FILES."
        )
    unsure = cooled or not math.isfinite(scale) or n["batch_size_high"] > WIDE * n["batch_size_low"]
    return Verdict("unsure" if unsure else "healthy", words, n, advice)


def _lr_verdict(measure: Measure, found: Measured) -> Verdict:
    n, own = _plain(measure), "{} lanes of {} time steps".format(*found.own)
    rule = "1 / (1 + noise scale / batch)"
    if not _plain_gradients(found.optimizer):
        rule = "the square root of " + rule
    words = f"lr {n['lr']:g}: {found.lr:g} is for {own}, and with {found.optimizer} it goes as {rule}."
    advice = f"By the same measures, {own} take x {n['gain']:.2f} the time of what is advised here."
    return Verdict("healthy", words, n, advice)


def _plain_gradients(optimizer: str) -> bool:
    """Whether an optimizer's steps are in proportion to the gradient."""
    return optimizer.partition(":")[0] in ("sgd", "momentum")


def lanes_of(scale: float) -> str:
    """A noise scale as people write it."""
    return f"{scale:,.0f}" if scale >= 1 else f"{scale:.2g}"


def percent(share: float) -> str:
    """In percent, two digits; three where it is nearly all."""
    value = 100 * share
    return f"{value:.1f} %" if value < 9.95 or 99 <= value < 100 else f"{value:,.0f} %"
