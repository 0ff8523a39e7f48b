"""Truncation: what is left of the gradient when it goes back no more than K time steps, against all of it.

    truncation    bias and cosine for many K, what the run's own num_steps costs, noise beside it, a bound
    bound         what Aicher, Foti and Fox derive from the decay of the gradient

g is the gradient of the mean loss over a window of T time steps, all the way back to its beginning; the state that
the window starts with counts as given. g_K truncates it, in one of two ways:

    windows    as in training with num_steps = K: the state is carried from one window of K time steps to the next,
               the gradient is cut at the border (Williams and Peng 1990). A loss sees 1 to K time steps
    back       each loss sees the last K time steps, its own included. A weight used at time step t has a part in
               L_s if s - t < K, since paths only lead back in time: g_K is a sum over lags, and one sweep over all
               losses (inspect/sweep.py) gives it for every K

    bias = || E g_K - E g || / || E g ||,      cosine = E g_K . E g / (|| E g_K || || E g ||),      over all parameters

E is the mean over the text. It is the mean gradient that training follows: what differs from one piece of text to the
next averages out over updates, and is kept out of the bias (inspect/bias.py). At K = T both gradients are the same. So
T must be well above the K that is asked about: no g here knows more than T time steps.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from micrornn import backprop
from micrornn.errors import ConfigError
from micrornn.inspect.bias import BLOCKS, Bias, measure, pieces
from micrornn.inspect.cuts import Cuts
from micrornn.inspect.measure import Array, Axis, Measure
from micrornn.inspect.noise import noise
from micrornn.inspect.panels import Curve, Lines, Panel, Rows, curves, marked, positive
from micrornn.inspect.register import Measuring, Progress
from micrornn.inspect.subject import Subject
from micrornn.inspect.truncation_verdict import Found, judge, numbers_of
from micrornn.inspect.window import Window, piece_of
from micrornn.inspect.words import percent
from micrornn.tasks.material import Sizes

WAYS = {"windows": "windows of K, as in training", "back": "each loss sees K time steps back"}
PIECE = 16  # lanes of a piece of text, at most
# `back` takes T / 2 backward passes, so it reads one lane of so many.
OF_LANES = 8


def grid(seq_len: int, *more: int) -> list[int]:
    """The K that are looked at: 1, 2, 3, 4, 6, 8, 12, ... up to T / 2, and `more`."""
    usual = [digit * 2**n // 2 for n in range(32) for digit in (2, 3)]
    return sorted({k for k in (*usual, *more) if 1 <= k <= seq_len // 2} or {1})


@np.errstate(over="ignore", invalid="ignore")  # a gradient that is not finite gets a verdict, not a warning
def truncation(model: Any, windows: Sequence[Window], progress: Callable[[int, int], None] | None = None,
               **about: Any) -> Measure:  # fmt: skip
    """Bias and cosine of the mean g_K for some K up to T / 2 (`grid`), in both ways.

    windows     as Subject.windows gives them, all of one size; three lanes in all at least, some hundred are good
    progress    progress(done, total) hears of each piece of text in either way
    about       what the Measure tells of its subject; lr_left, the share of the learning rate that was left, counts

    Arrays: bias, low, high, cosine (way, K); bound (K,). low and high are two standard errors away.
    The noise of an update is measured as inspect/noise.py does, on windows of the run's own num_steps.

    The model is looked at without dropout. Messages that are clipped (config.clip_message) are refused: ConfigError.
    """
    windows = list(windows)
    if not windows:
        raise ConfigError("truncation: there is no window to look at")
    seq_len, lanes = windows[0].inputs.shape[:2]
    model, config = model.copy(granularity="sequence"), model.config
    model.train(False)
    ks, width = grid(seq_len, config.num_steps), min(PIECE, max(1, lanes * len(windows) // BLOCKS))
    whole = pieces(windows, min(width, lanes))
    few = [piece_of(piece, slice(0, max(1, width // OF_LANES))) for piece in whole]

    def tell(first: int) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, of: progress(first * of + done, 2 * of)

    sweep = _Back(seq_len)
    biases = measure(model, whole, ks, tell(0)), measure(model, few, ks, tell(1), cutter=sweep)
    own = ks.index(config.num_steps) if config.num_steps in ks else None
    found = Found(
        ks, seq_len, config.num_steps, config.batch_size, biases[0], biases[1],
        noise=_noise(model, windows, config.num_steps) if own is not None else (math.nan, math.nan),
        share=_share(model, whole, config.num_steps) if own is not None else math.nan,
        lr_left=float(about.get("lr_left", 1.0)),
    )  # fmt: skip
    return Measure(
        "truncation",
        {**about, "seq_len": seq_len, "windows": len(windows), "lanes": lanes},
        {"way": Axis.of(WAYS), "K": Axis.of(ks, "time steps")},
        {
            "bias": _array(biases, "value", "norm of E g_K - E g by the norm of E g, without noise"),
            "low": _array(biases, "low", "the same, two standard errors down; 0 where it cannot be told from 0"),
            "high": _array(biases, "high", "the same, two standard errors up"),
            "cosine": _array(biases, "cosine", "of the angle between E g_K and E g"),
            "bound": Array(
                sweep.bound()[np.array(ks) - 1], ("K",), "",
                "of the bias of back, by the decay of the gradient at the states (Aicher, Foti, Fox 2019)",
            ),
        },
        numbers_of(found),
        (judge(found),),
    )  # fmt: skip


def _array(biases: Sequence[Bias], name: str, about: str) -> Array:
    return Array(np.array([getattr(bias, name) for bias in biases]), ("way", "K"), "", about)


class _Back:
    """Cuts a piece as `back`, for each K in turn, and meanwhile adds up what the bound is made of."""

    def __init__(self, seq_len: int):
        self.seq_len, self.tokens = seq_len, 0
        self.norms, self.states = np.zeros(seq_len), [np.zeros(0)] * seq_len

    def __call__(self, cut: Cuts, ks: Sequence[int]) -> Iterator[int]:
        first, places = ks[0] == 1, {k: at for at, k in enumerate(ks)}
        for lag, (norm, state) in enumerate(cut.by_lag()):
            if first:  # later passes over the text, for larger K, see the same lags again
                self.norms[lag] += norm * cut.losses
                self.states[lag] = self.states[lag] + state * cut.losses if self.tokens else state * cut.losses
            if lag + 1 in places:
                yield places[lag + 1]
            if not first and lag + 1 == ks[-1]:
                break
        self.tokens += cut.losses if first else 0

    def bound(self) -> np.ndarray:
        """For K = 1 .. T."""
        sums = np.linalg.norm(np.cumsum(self.states, axis=0), axis=1)
        return bound(self.norms / self.tokens, sums / self.tokens)


def bound(norms: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """A bound of the relative bias when each loss sees K time steps back, for K = 1 .. T; inf where there is none.

    norms     phi_k = mean over losses of || dL_s / dh_{s-k} ||, for lags k = 0 .. T - 1
    sums      || mean of the sum of dL_s / dh_{s-k} over lags k < K ||, for K = 1 .. T

    Aicher, Foti and Fox (Adaptively Truncating Backpropagation Through Time to Control Gradient Bias, 2019,
    arXiv:1905.07473) assume that from some lag tau on the gradient decays geometrically in expectation:
    phi_{k+1} <= beta phi_k. Then what truncation drops is at most

        E(K) = sum of phi_k over K <= k < tau, + phi_tau beta^max(K - tau, 0) / (1 - beta),

    times a bound of || dh / dtheta ||, and since || g || >= || g_K' || - E(K') for every K',

        bias(K) <= E(K) / max over K' of (|| g_K' || - E(K')).

    As in the code that they published, the norm of the gradient is taken at the states in both places, so that the
    bound of || dh / dtheta || drops out: it says what is to be expected of the parameters, and is no proof. Ours: tau
    is the lag up to T / 4 at which E(0) is least, and beta is the least that the phi_k from tau to T / 2 obey; they
    leave tau to the user, and have a fit for beta.
    """
    seq_len = len(norms)
    lags, best = np.arange(seq_len), np.full(seq_len + 1, math.inf)
    if not (np.isfinite(norms).all() and norms.all()):
        return best[1:]
    for tau in range(seq_len // 4 + 1):
        later = lags[tau + 1 : seq_len // 2 + 1]
        if not len(later):
            break
        beta = float(np.exp((np.log(norms[later] / norms[tau]) / (later - tau)).max()))
        if beta < 1:
            dropped = np.array([norms[k:tau].sum() for k in range(seq_len + 1)])
            error = dropped + norms[tau] * beta ** np.maximum(np.arange(seq_len + 1) - tau, 0) / (1 - beta)
            best = error if error[0] < best[0] else best
    least = (sums - best[1:]).max()
    return best[1:] / least if least > 0 else np.full(seq_len, math.inf)


def _noise(model: Any, windows: Sequence[Window], num_steps: int) -> tuple[float, float]:
    """(noise of an update of the run by the norm of the mean gradient, two standard errors down): of an update's
    gradient g, sqrt(E || g - E g ||^2) / || E g ||; infinite where no signal was found, NaN if there is one lane."""
    first = [piece_of(window, slice(None), slice(0, num_steps)) for window in windows]
    if sum(window.inputs.shape[1] for window in first) < 2:
        return math.nan, math.nan
    found = noise(model, first).numbers
    if not found:  # a gradient that is not finite
        return math.nan, math.nan
    lanes = model.config.batch_size
    return math.sqrt(found["scale"].value / lanes), math.sqrt(max(0.0, found["scale_low"].value) / lanes)


def _share(model: Any, text: Sequence[Window], num_steps: int) -> float:
    """What windows of num_steps cut off the gradient of one lane: root mean square of || g_K - g || by that of || g ||.

    Noise is part of both. Unlike the bias of the mean gradient it does not grow towards 1 when training comes to rest.
    """
    off = full = 0.0
    for piece in text:
        cut = Cuts(model, piece_of(piece, slice(0, 1)))
        cut.windows(num_steps)
        off += float(np.square(cut.row - cut.full).sum())
        full += float(cut.full @ cut.full)
    return math.sqrt(off / full) if full else math.nan


def panels(measure: Measure) -> list[Panel]:
    """Bias against K, the cosine, and a table; nothing where there was no gradient to compare with."""
    if not measure.numbers:
        return []
    k, limit = np.array(measure.axes["K"].places), measure["bound"]
    ways = [WAYS[way] for way in measure.axes["way"].places]
    marks = marked(measure, k)
    biases = curves(ways, k, *(positive(measure[name]) for name in ("bias", "low", "high")))
    if np.isfinite(limit).any():
        biases.append(Curve("bound of the second (Aicher et al.)", k, np.where(np.isfinite(limit), limit, np.nan)))
    return [
        Lines(
            "What truncation costs", "K (time steps)", "bias: ||E g_K - E g|| / ||E g||", biases, log_x=True,
            log_y=True, marks=marks, note="Of the mean gradient over the text; band: two standard errors.",
        ),
        Lines(
            "Direction of the truncated gradient", "K (time steps)", "cosine of E g_K and E g",
            curves(ways, k, measure["cosine"]), log_x=True, marks=marks,
        ),
        Rows(
            "Truncated at K",
            ("K", "bias of windows", "low .. high", "cosine", "bias of K back", "bound"),
            [_row(measure, at) for at in range(len(k))],
            note="Windows: the gradient is cut at the border, as in training. K back: each loss sees K time steps. "
                 "Low, high: two standard errors.",
        ),
        *of_ways(measure),
    ]  # fmt: skip


def _row(measure: Measure, at: int) -> tuple[str, ...]:
    windows, back = measure["bias"][:, at]
    low, high, limit = measure["low"][0, at], measure["high"][0, at], measure["bound"][at]
    return (
        f"{measure.axes['K'].places[at]}", percent(windows), f"{percent(low)} .. {percent(high)}",
        f"{measure['cosine'][0, at]:.4f}", percent(back), percent(limit) if np.isfinite(limit) else "none",
    )  # fmt: skip


def of_ways(measure: Measure) -> list[Panel]:
    """What each way to propagate back makes of the gradient, in one table; nothing where they were not measured, or
    there was no gradient to compare with."""
    if "backprop" not in measure.axes or not np.isfinite(measure["way_bias"]).any():
        return []
    names = measure.axes["backprop"].places
    return [
        Rows(
            "Ways to propagate back", ("backprop", "bias", "low .. high", "spread", "cosine", "what it does"),
            [_way(measure, at, name) for at, name in enumerate(names)],
            note="Of the mean gradient, beside that which goes all the way back. Spread: what a way adds to the noise "
                 "of a piece of the data; of random and uoro it is the price for no bias. Low, high: two standard "
                 "errors. none: the network is too large for it. docs/backprop.md.",
        ),
    ]  # fmt: skip


def _way(measure: Measure, at: int, name: str) -> tuple[str, ...]:
    about, bias = backprop.WAYS[backprop.parse(name).name].about, float(measure["way_bias"][at])
    if not math.isfinite(bias):
        return name, "none", "", "", "", about
    low, high, spread = (percent(float(measure[f"way_{column}"][at])) for column in ("low", "high", "spread"))
    return name, percent(bias), f"{low} .. {high}", spread, f"{measure['way_cosine'][at]:.4f}", about


class Truncation(Measuring):
    """What windows of K time steps cut off the gradient, for many K.

    For many K, how far the mean gradient of windows of K time steps is from the one over all `seq_len` time
    steps: its bias, without the noise that averages out, with two standard errors; and its cosine. Then the same for
    each way to propagate back, and what it adds to the noise.
    """

    name = "truncation"
    order = 4
    asks = "how many time steps are enough?"
    title = "Truncation: what windows of K time steps cut off"
    example = "`save=truncation.png`"
    windows = 8
    seq_len = 192
    batch_size = 64
    needs = "cut"
    judges = ("biased",)
    measure = staticmethod(truncation)
    panels = staticmethod(panels)

    def take(self, subject: Subject, sizes: Sizes, progress: Progress | None = None, part: str = "") -> Measure:
        """The same, and with it each way to propagate back: those stand below measures in the house."""
        found = super().take(subject, sizes, progress, part)
        windows, seq_len, batch_size = (size or 1 for size in sizes)
        with_ways = importlib.import_module("micrornn.bptt.measured").with_ways
        return with_ways(found, subject.model, subject.windows(seq_len, windows, batch_size))
