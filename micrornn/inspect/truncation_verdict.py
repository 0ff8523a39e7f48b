"""Whether a run's num_steps bends its gradient too much: the numbers and the words of the measure `truncation`.

It is judged by the bias of the mean gradient alone. The noise of an update averages out over updates, a bias does not:
how large the one is says nothing about the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from micrornn.errors import counted
from micrornn.inspect.advice import least_steps
from micrornn.inspect.bias import Bias
from micrornn.inspect.measure import COOLED, Number, Verdict, blown_up
from micrornn.inspect.words import percent

# Biases. A step along g + d instead of g, || d || <= e || g ||, makes at least 1 - e^2 of the progress of the right one
# (gradient descent with an error, Bertsekas and Tsitsiklis 2000): 99 % at 10 %. Above it a run is called biased. It is
# also what `micrornn advise` bears unless told otherwise.
TOLERABLE, SMALL = 0.1, 0.05
# What is cut off the gradient of one lane: 7 to 15 % are usual for natural text and 30 to 50 time steps. Also how large
# a bias may be, by two standard errors up, and still be called little.
LARGE = 0.25
ADVISE = "Which num_steps that speaks for, beside what time steps cost, `micrornn advise` says."


@dataclass(frozen=True)
class Found:
    """What `truncation` measured: windows and back for each K of `ks`, up to half of seq_len. noise: of an update, and
    two standard errors down; share: cut off a lane's gradient at num_steps; lr_left: of the learning rate."""

    ks: Sequence[int]
    seq_len: int
    num_steps: int
    batch_size: int
    windows: Bias
    back: Bias
    noise: tuple[float, float]
    share: float
    lr_left: float

    @property
    def own(self) -> int | None:
        """Where the run's num_steps stands among the K; None if they do not reach so far."""
        return self.ks.index(self.num_steps) if self.num_steps in self.ks else None

    def below(self, bias: Bias, limit: float) -> float:
        """The K from which on the bias is at most `limit`; NaN if there is none up to T / 2."""
        return least_steps(self.ks, bias.value, limit) or math.nan


def numbers_of(found: Found) -> dict[str, Number]:
    """The numbers of the measure; none where there was nothing to compare."""
    if not found.windows.told:
        return {}
    steps = "time steps"
    numbers = {
        "windows_10": Number(found.below(found.windows, TOLERABLE), steps, "from here on windows have 10 % at most"),
        "windows_5": Number(found.below(found.windows, SMALL), steps, "from here on windows have 5 % at most"),
        "back_5": Number(found.below(found.back, SMALL), steps, "from here on back has 5 % at most"),
    }
    if found.own is not None:
        windows, back, at = found.windows, found.back, found.own
        own = f"of windows of num_steps = {found.num_steps}"
        one, lanes = counted(found.num_steps, "time step"), counted(found.batch_size, "lane")
        numbers |= {
            "bias": Number(float(windows.value[at]), "", f"bias {own}"),
            "bias_low": Number(float(windows.low[at]), "", "two standard errors down"),
            "bias_high": Number(float(windows.high[at]), "", "two standard errors up"),
            "bias_back": Number(float(back.value[at]), "", f"bias if each loss sees {one} back"),
            "cosine": Number(float(windows.cosine[at]), "", "cosine of the same windows with the whole gradient"),
            "share": Number(found.share, "", "cut off the gradient of one lane, noise and all"),
            "noise": Number(found.noise[0], "", f"noise of an update, {lanes}, by the mean gradient"),
            "noise_low": Number(found.noise[1], "", "two standard errors down"),
        }
    return numbers


def judge(found: Found) -> Verdict:
    """By the bias at the run's own num_steps: biased from TOLERABLE on, if it can be told from 0."""
    plain = {name: number.value for name, number in numbers_of(found).items()}
    windows, T, K = found.windows, found.seq_len, found.num_steps
    if not windows.finite:
        return blown_up("The gradient is NaN or infinite: nothing to compare with.", **plain)
    if windows.blocks < 3:
        words = "One or two lanes of text do not tell a bias from the noise of the gradient."
        return Verdict("unsure", words, plain, "Measure with more of them: `batch_size=64`.")
    if windows.signal == windows.signal_error == 0:
        words = "The gradient is 0 in every piece of text: nothing to compare with."
        return Verdict("dead", words, plain, "`micrornn inspect flow` says which units never move.")
    if not windows.square.any():
        words = "No part of the gradient comes from further back than the loss's own time step: nothing can be cut off."
        return Verdict("dead", words, plain, "`micrornn inspect flow` says why nothing comes through.")
    if not windows.told:
        words = (
            "The mean gradient cannot be told from 0 in this much text, so no share of it can be either: "
            "the model has learned what it can, or the text is too short."
        )
        return Verdict("unsure", words, plain, "Measure on more text, or an earlier checkpoint.")
    if found.own is None:
        words = f"Windows of {K} time steps, as in training, cannot be judged from {T} of them."
        return Verdict("unsure", words, plain, f"Measure with `seq_len={4 * K}`.")
    if found.back.told and found.back.low[-1] > SMALL:
        words = (
            f"Even if each loss sees {counted(found.ks[-1], 'time step')} back, the gradient is off by "
            f"{percent(float(found.back.value[-1]))}: it reaches further than the {T} time steps that were measured."
        )
        return Verdict("unsure", words, plain, f"Measure with `seq_len={2 * T}` or more.")
    return _by_bias(found, plain)


def _by_bias(found: Found, plain: dict[str, float]) -> Verdict:
    at = found.own
    assert at is not None
    own, low, high = (float(values[at]) for values in (found.windows.value, found.windows.low, found.windows.high))
    steps = counted(found.num_steps, "time step")
    words = f"Windows of {steps}, as in training, bend the mean gradient by "
    words += (
        f"{percent(own)} ({percent(low)} to {percent(high)})."
        if low > 0
        else f"{percent(own)}, which cannot be told from 0 ({percent(high)} at most)."
    )
    words += _noise(found)
    limit = f"the limit is {percent(TOLERABLE)}, at which a step makes 99 % of the progress of a right one"
    if own > TOLERABLE and low > 0:
        if found.lr_left < COOLED and found.share < LARGE:
            words += (
                f" But only {percent(found.lr_left)} of the learning rate was left: training had come to rest where "
                f"such windows see no gradient, and most of what is left is what they cut off, with any num_steps. "
                f"Of a single lane's gradient they cut off {percent(found.share)}."
            )
            return Verdict("unsure", words, plain, f"Measure a checkpoint from before the rate fell. {ADVISE}")
        return Verdict("biased", f"{words} That is too much: {limit}.", plain, ADVISE)
    if own > TOLERABLE or high > LARGE:  # above the limit, and not told from 0; or it may be far above
        words += " This much text cannot tell whether that is much."
        return Verdict("unsure", words, plain, "Measure more of it, with `windows=16`.")
    return Verdict("healthy", f"{words} That is little: {limit}.", plain, ADVISE)


def _noise(found: Found) -> str:
    noise, low = found.noise
    if math.isnan(noise):
        return ""
    told = percent(noise) if math.isfinite(noise) else f"{percent(low)} or more"
    return f" The noise of one update is {told} of it, and averages out over updates; a bias does not."
