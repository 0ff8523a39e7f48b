"""Truncation: what is left of the gradient when it goes back no more than K time steps, against all of it.

    truncation    bias and cosine for every K, noise beside them, a bound, and what the run's own num_steps costs
    bound         what Aicher, Foti and Fox derive from the decay of the gradient

g is the gradient of the mean loss over a window of T time steps, all the way back to its beginning; the state that
the window starts with counts as given. g_K truncates it, in one of two ways:

    windows    as in training with num_steps = K: the state is carried from one window of K time steps to the next,
               the gradient is cut at the border (Williams and Peng 1990). A loss sees 1 to K time steps
    back       each loss sees the last K time steps, its own included. A weight used at time step t has a part in
               L_s if s - t < K, since paths only lead back in time: g_K is a sum over lags, and one sweep over all
               losses (inspect/sweep.py) gives it for every K

    bias = || g_K - g || / || g ||,      cosine = g_K . g / (|| g_K || || g ||),      over all parameters

At K = T both are g. So T must be well above the K that is asked about: no g here knows more than T time steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from micrornn.errors import DataError
from micrornn.inspect.cuts import Cuts
from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict
from micrornn.inspect.subject import Window
from micrornn.inspect.words import percent
from micrornn.tasks.text import LanguageModel

WAYS = ("windows", "back")
TOLERABLE, SMALL = 0.1, 0.05  # biases


@np.errstate(over="ignore", invalid="ignore")  # a gradient that is not finite gets a verdict, not a warning
def truncation(model: LanguageModel, windows: Sequence[Window], progress: Callable[[int, int], None] | None = None,
               **about: Any) -> Measure:  # fmt: skip
    """Bias and cosine of g_K for all K = 1 .. T, in both ways.

    windows     as Subject.windows gives them, all of one size; from two on they tell noise
    progress    progress(done, total) hears of each K of either way
    about       what the Measure tells of its subject

    Arrays: bias, cosine (way, K, window); bias_of_mean (way, K), of the mean gradient of all W windows; bound (K,).
    Noise is || g_w - mean g || / || mean g ||, root mean square over windows, with W / (W - 1) because the mean is
    theirs. That of an update of the run follows from it by the number of tokens, as if all were independent. The mean
    of few windows holds much noise itself, so both are rather too low.

    The model is looked at without dropout. Messages that are clipped (config.clip_message) are refused: ConfigError.
    """
    windows = list(windows)
    if not windows:
        raise DataError("truncation needs at least one window of text")
    seq_len, batch_size = windows[0].inputs.shape
    model, config = model.copy(granularity="sequence"), model.config
    model.train(False)
    cuts = [Cuts(model, window) for window in windows]
    mean, noise = _noise(cuts)
    update = noise * math.sqrt(seq_len * batch_size / (config.batch_size * config.num_steps))

    bias, cosine = (np.zeros((2, seq_len, len(cuts))) for _ in range(2))
    bias_of_mean, done = np.zeros((2, seq_len)), 0
    norms, states = np.zeros(seq_len), []

    def compare_at(way: int, at: int) -> None:
        nonlocal done
        bias[way, at], cosine[way, at], bias_of_mean[way, at] = compare(cuts, mean)
        done += 1
        if progress is not None:
            progress(done, 2 * seq_len)

    for lag, found in enumerate(zip(*(cut.by_lag() for cut in cuts))):
        compare_at(1, lag)
        norms[lag] = np.mean([norm for norm, _ in found])
        states.append(np.mean([state for _, state in found], axis=0))
    for at in range(seq_len):
        for cut in cuts:
            cut.windows(at + 1)
        compare_at(0, at)
    numbers, verdict = _judge(bias.mean(axis=2), cosine.mean(axis=2), update, config.num_steps, config.batch_size)
    numbers["noise_of_window"] = Number(noise, "", f"noise of one window, {seq_len * batch_size:,} tokens")
    return Measure(
        "truncation",
        {**about, "seq_len": seq_len, "windows": len(cuts), "lanes": batch_size},
        {
            "way": Axis.of(WAYS),
            "K": Axis.of(range(1, seq_len + 1), "time steps"),
            "window": Axis.of(range(len(cuts))),
        },
        {
            "bias": Array(bias, ("way", "K", "window"), "", "norm of g_K - g by the norm of g"),
            "cosine": Array(cosine, ("way", "K", "window"), "", "of the angle between g_K and g"),
            "bias_of_mean": Array(bias_of_mean, ("way", "K"), "", "the bias of the mean gradient of all windows"),
            "bound": Array(
                bound(norms, np.linalg.norm(np.cumsum(states, axis=0), axis=1)), ("K",), "",
                "of the bias of `back`, by the decay of the gradient at the states (Aicher, Foti, Fox 2019)",
            ),
        },
        numbers,
        (verdict,),
    )  # fmt: skip


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


def _noise(cuts: Sequence[Cuts]) -> tuple[float, float]:
    """(norm of the mean gradient of all windows, how far that of one is from it, relative to it: NaN of one only)."""
    square, off = 0.0, 0.0
    for gradients in ([cut.full for cut in cuts], [cut.rest for cut in cuts]):
        mean = np.mean(gradients, axis=0)
        square += float(mean @ mean)
        off += sum(float(np.square(gradient - mean).sum()) for gradient in gradients)
    return math.sqrt(square), _ratio(math.sqrt(off / max(1, len(cuts) - 1)), (len(cuts) > 1) * math.sqrt(square))


def compare(cuts: Sequence[Cuts], mean: float) -> tuple[list[float], list[float], float]:
    """(bias, cosine) of each window's gradient as it is cut now, and the bias of the mean gradient, whose norm is
    `mean` when nothing is cut."""
    bias, cosine, lost = [], [], np.zeros_like(cuts[0].row)
    for cut in cuts:
        off, rest = cut.full - cut.row, float(cut.rest @ cut.rest)
        full, left = float(cut.full @ cut.full) + rest, float(cut.row @ cut.row) + rest
        bias.append(_ratio(float(np.linalg.norm(off)), math.sqrt(full)))
        cosine.append(min(1.0, _ratio(float(cut.full @ cut.row) + rest, math.sqrt(full) * math.sqrt(left))))
        lost += off
    return bias, cosine, _ratio(float(np.linalg.norm(lost)) / len(cuts), mean)


def _ratio(a: float, b: float) -> float:
    return a / b if b else math.nan


def _below(bias: np.ndarray, limit: float) -> int:
    """The K from which on the bias is at or below a limit. The curve of windows is jagged, for it matters where their
    few borders lie; so it counts at how many K the bias is above the limit, as if it had been put in order."""
    return 1 + int((bias > limit).sum())


def _judge(bias: np.ndarray, cosine: np.ndarray, noise: float, num_steps: int,
           batch_size: int) -> tuple[dict[str, Number], Verdict]:  # fmt: skip
    """Numbers and a verdict from bias and cosine (way, K) as they are on average, and the noise of an update."""
    seq_len, steps = bias.shape[1], "time steps"
    if not np.isfinite(bias).all():
        words = "The gradient is zero, NaN or infinite: nothing to compare with."
        return {}, Verdict("nonfinite", words, {}, "`micrornn inspect nonfinite` says what blew up first.")
    windows, back = bias
    enough, fair = _below(windows, SMALL), _below(windows, TOLERABLE)
    numbers = {
        "noise": Number(noise, "", f"noise of an update of the run, {batch_size} lanes of {num_steps} time steps"),
        "windows_5": Number(enough, steps, "num_steps from which on windows have a bias of 5 % at most"),
        "windows_10": Number(fair, steps, "num_steps from which on windows have a bias of 10 % at most"),
        "back_5": Number(_below(back, SMALL), steps, "K from which on `back` has a bias of 5 % at most"),
        "back_1": Number(_below(back, 0.01), steps, "the same for 1 %"),
        "below_noise": Number(_below(windows, noise), steps, "num_steps from which on the bias is below that noise"),
    }
    if num_steps <= seq_len:
        numbers |= {
            "bias": Number(float(windows[num_steps - 1]), "", f"bias of windows of num_steps = {num_steps}"),
            "bias_back": Number(float(back[num_steps - 1]), "", f"bias if each loss sees {num_steps} time steps back"),
            "cosine": Number(float(cosine[0, num_steps - 1]), "", "cosine of the same windows with the whole gradient"),
        }
    plain = {name: number.value for name, number in numbers.items()}
    if seq_len < 2 * num_steps:
        words = f"Windows of {num_steps} time steps, as in training, cannot be judged from {seq_len} of them."
        return numbers, Verdict("unsure", words, plain, f"Measure with --seq-len {4 * num_steps}.")
    middle = seq_len // 2
    if back[middle - 1] > SMALL:
        words = (
            f"Even if each loss sees {middle} time steps back, the gradient is off by {percent(back[middle - 1])}: "
            f"it reaches further than the {seq_len} time steps that were measured."
        )
        return numbers, Verdict("unsure", words, plain, f"Measure with --seq-len {2 * seq_len} or more.")
    own, chance = float(windows[num_steps - 1]), f"{batch_size} lanes of {num_steps} time steps"
    words = f"Windows of {num_steps} time steps, as in training, bend the gradient by {percent(own)}; " + (
        "one window of text does not tell its noise."
        if math.isnan(noise)
        else f"the noise of one update, {chance}, is {percent(noise)}."
    )
    mend = f"From --num-steps {fair} on the bias is 10 % at most" + (f", from {enough} on 5 %." if own > SMALL else ".")
    if own <= TOLERABLE:
        return numbers, Verdict("healthy", words, plain, mend)
    if math.isnan(noise) or own > noise:
        return numbers, Verdict("unsure" if math.isnan(noise) else "biased", words, plain, mend)
    averages = " Noise averages out over updates, this bias does not."
    return numbers, Verdict("noisy" if noise > 1 else "healthy", words + averages, plain, mend)
