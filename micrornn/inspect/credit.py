"""Credit: how strongly the loss at one time step depends on the state at another, and how fast that fades.

    credit      the matrix C[s, t], its lag profile, half-life, and what that means for num_steps
    matrices    C of layers on a tape: any cell, number of layers and directions
    lag_profile, decay, reach, share, needed      what is read off a matrix

    C[s, t] = mean over lanes of || dL_s / dh_t ||,      profile(k) = mean over s >= k of C[s, s - k]

L_s is the loss of one lane's token at time step s, in nats, not divided by the number of tokens. dL_s / dh_t is the
total derivative: through all later states of the layer and through the layers above it. For an LSTM there is
dL_s / dc_t too. Hochreiter 1991 and Bengio, Simard, Frasconi 1994 showed that it must vanish or explode where the
product of Jacobians does; here it is measured, all losses in one sweep (inspect/sweep.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from micrornn.errors import DataError
from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict
from micrornn.inspect.subject import Window
from micrornn.inspect.sweep import Layer, forward, sweep
from micrornn.inspect.words import number, percent
from micrornn.tasks.text import LanguageModel

LEFT = 0.01  # the gradient has faded when so much of it is left
FEW = 5  # time steps: what has faded before has not gone far. As `flow` counts it, whatever num_steps is: a network
# that forgets because it may is well, and windows longer than it needs are a question of time


@np.errstate(over="ignore", invalid="ignore")  # a gradient that is not finite gets a verdict, not a warning
def credit(model: LanguageModel, windows: Sequence[Window], progress: Callable[[int, int], None] | None = None,
           **about: Any) -> Measure:  # fmt: skip
    """C over windows of a text, averaged over them.

    windows     as Subject.windows gives them, all of one size; progress(done, total) hears of each
    about       what the Measure tells of its subject

    Arrays: credit (part, loss, time) is C; profile (part, lag); spread (window, lag), the profile of `all` in each
    window. The parts are `all`, the norm over all layers and states together, and then each state of each layer.

    The model is looked at without dropout. Messages that are clipped (config.clip_message) are refused: ConfigError.
    """
    windows = list(windows)
    if not windows:
        raise DataError("credit needs at least one window of text")
    seq_len, batch_size = windows[0].inputs.shape
    model = model.copy(granularity="sequence")
    model.train(False)
    found: list[dict[str, np.ndarray]] = []
    for done, window in enumerate(windows, 1):
        levels, dy, _ = forward(model, window, seq_len * batch_size)
        found.append(matrices(levels, dy))
        if progress is not None:
            progress(done, len(windows))
    parts = list(found[0])
    c = np.array([np.mean([one[part] for one in found], axis=0) for part in parts])
    profile = np.array([lag_profile(matrix) for matrix in c])
    spread = np.array([lag_profile(one["all"]) for one in found])
    time = "time steps"
    numbers, verdict = _judge(profile[0], model.config.num_steps, model.config.cell)
    return Measure(
        "credit",
        {**about, "seq_len": seq_len, "windows": len(windows), "lanes": batch_size},
        {
            "part": Axis.of(parts),
            "loss": Axis.of(range(seq_len), time),
            "time": Axis.of(range(seq_len), time),
            "lag": Axis.of(range(seq_len), time),
            "window": Axis.of(range(len(windows))),
        },
        {
            "credit": Array(c, ("part", "loss", "time"), "nats", "norm of dL_s/dh_t: loss at s, state at t"),
            "profile": Array(profile, ("part", "lag"), "nats", "its mean over losses, by how far back the state is"),
            "spread": Array(spread, ("window", "lag"), "nats", "the same for all parts together, window by window"),
        },
        numbers,
        (verdict,),
    )


def matrices(levels: Sequence[Sequence[Layer]], dy: np.ndarray) -> dict[str, np.ndarray]:
    """C (T, T) of every part: {"all": ..., "lstm_l1 h": ..., "lstm_l1 c": ..., ...}, the top layer first.

    levels, dy    as `sweep` takes them
    """
    seq_len, batch_size = dy.shape[:2]
    together = np.zeros((seq_len, seq_len, batch_size))
    found = {"all": np.zeros((seq_len, seq_len))}
    for diagonal in sweep(levels, dy):
        s, t = np.r_[diagonal.losses], np.r_[diagonal.steps]
        for state, gradient in (("h", diagonal.dh), ("c", diagonal.dc)):
            if gradient is not None:
                squares = np.square(gradient, dtype=np.float64).sum(axis=2)  # in float32 they might underflow
                together[s, t] += squares
                part = found.setdefault(f"{diagonal.layer.name} {state}", np.zeros((seq_len, seq_len)))
                part[s, t] = np.sqrt(squares).mean(axis=1)
    found["all"][...] = np.sqrt(together).mean(axis=2)
    return found


def lag_profile(matrix: np.ndarray) -> np.ndarray:
    """The mean of C[s, s - k] over all losses that have a state k time steps before them, for each lag k: (T,).
    The mean at lag k is over T - k losses, so long lags are less certain."""
    return np.array([np.diagonal(matrix, -lag).mean() for lag in range(len(matrix))])


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


def reach(profile: np.ndarray) -> int | None:
    """The first lag at which 1 % of the gradient of lag 0 is left; None if none is that far back."""
    faded = np.flatnonzero(profile < LEFT * profile[0])
    return int(faded[0]) if len(faded) else None


def share(profile: np.ndarray, num_steps: int) -> float:
    """How much of the profile's sum windows of num_steps keep. A loss stands anywhere in its window, so of the pairs
    at lag k a share of 1 - k / num_steps lies inside one."""
    lags = np.arange(min(num_steps, len(profile)))
    return float(((1 - lags / num_steps) * profile[: len(lags)]).sum() / profile.sum())


def needed(profile: np.ndarray, kept: float) -> int:
    """The smallest num_steps of which windows keep this share."""
    low, high = 0, 1
    while share(profile, high) < kept:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if share(profile, middle) >= kept else (middle, high)
    return high


def _judge(profile: np.ndarray, num_steps: int, cell: str) -> tuple[dict[str, Number], Verdict]:
    """Numbers and a verdict from the profile of all parts together."""
    if not np.isfinite(profile).all():
        lag = int(np.argmin(np.isfinite(profile)))
        words = f"The gradient is NaN or infinite {lag} time steps back."
        return {}, Verdict("nonfinite", words, {"lag": lag}, "`micrornn inspect nonfinite` says what blew up first.")
    seq_len, far = len(profile), reach(profile)
    # half of all losses at least have a state that far back; what has faded has no say
    last = min(seq_len // 2, max(far or seq_len, FEW))
    factor = decay(profile, last)
    if seq_len < 2 * FEW or math.isnan(factor):
        what = f"{seq_len} time steps are too few to see a gradient fade, or there is none."
        return {}, Verdict("unsure", what, {"seq_len": seq_len}, "Measure with a longer --seq-len.")
    half_life = math.log(0.5) / math.log(factor) if factor != 1 else math.inf
    near = int(np.searchsorted(np.cumsum(profile) / profile.sum(), 0.99)) + 1
    kept, most, nearly_all = share(profile, num_steps), needed(profile, 0.95), needed(profile, 0.99)
    steps = "time steps"
    numbers = {
        "half_life": Number(half_life, steps, f"the gradient halves every so many (fitted over lags 0 to {last})"),
        "decay": Number(factor, "per time step", "what is left of the gradient one time step further back"),
        "faded": Number(math.nan if far is None else far, steps, "so far back 1 % of the gradient is left"),
        "near": Number(near, steps, "99 % of the sum over all lags lies within so many"),
        "kept": Number(kept, "", f"share of that sum that windows of num_steps = {num_steps} keep"),
        "num_steps_95": Number(most, steps, "num_steps of which windows keep 95 %"),
        "num_steps_99": Number(nearly_all, steps, "num_steps of which windows keep 99 %"),
    }
    plain = {name: number.value for name, number in numbers.items()}
    over = f"(over lags 0 to {last})"
    if factor**last > 2 or profile.max() > 10 * profile[0]:
        peak = int(profile.argmax())
        speed = f"doubles every {_told(-half_life)} time steps {over}" if factor > 1 else "grows before it fades"
        growth = number(profile[peak] / profile[0])
        words = f"The gradient {speed}: {peak} time steps back it is {growth} times as large."
        advice = "Limit it with --clip-norm, lower --lr, or take fewer --num-steps."
        return numbers, Verdict("exploding", words, plain, advice)
    tells = f"The gradient halves every {_told(half_life)} time steps {over}"
    if factor >= 1 or half_life > 2 * seq_len:  # so long a half-life cannot be told from none
        tells = f"The gradient hardly fades {over}"
    keeps = f"Windows of {num_steps} time steps, as in training, keep {percent(kept)} of all credit."
    if far is None:
        words = f"{tells}; {percent(profile[-1] / profile[0])} of it is left {seq_len - 1} time steps back. {keeps}"
        advice = f"Measure with a --seq-len of more than {seq_len} to see how far it goes."
        return numbers, Verdict("healthy", words, plain, advice)
    words = f"{tells}, and 1 % of it is left {far} time steps back. {keeps}"
    if far < FEW:
        gate = "raise --forget-bias" if cell == "lstm" else "use an LSTM or a GRU (--cell)"
        advice = f"To remember more, {gate}. As it is, {near} time steps hold 99 % of all credit."
        return numbers, Verdict("vanishing", words, plain, advice)
    advice = (
        f"99 % of all credit lies within {near} time steps of its loss. In windows a loss sees half of num_steps on "
        f"average: --num-steps {most} keeps 95 %, {nearly_all} keeps 99 %."
    )
    return numbers, Verdict("healthy", words, plain, advice)


def _told(steps: float) -> str:
    return f"{steps:.1f}" if steps < 10 else f"{steps:,.0f}"
