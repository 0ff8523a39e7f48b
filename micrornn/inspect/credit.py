"""Credit: how strongly the loss at one time step depends on the state at another, and how fast that fades.

    credit      the matrix C[s, t], its lag profile, half-life, and what that means for num_steps
    matrices    C of layers on a tape: any cell, number of layers and directions
    lag_profile, decay, fitted, half_life, reach, share     what is read off a matrix
    fading, growing                                         what that means, in words and as a number

    C[s, t] = mean over lanes of || dL_s / dh_t ||,      profile(k) = mean over s >= k of C[s, s - k]

L_s is the loss of one lane's token at time step s, in nats, not divided by the number of tokens. dL_s / dh_t is the
total derivative: through all later states of the layer and through the layers above it. For an LSTM there is
dL_s / dc_t too. Hochreiter 1991 and Bengio, Simard, Frasconi 1994 showed that it must vanish or explode where the
product of Jacobians does; here it is measured, all losses in one sweep (inspect/sweep.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from micrornn.errors import DataError
from micrornn.inspect import carried as carrying
from micrornn.inspect.carried import Carried
from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict
from micrornn.inspect.recorded import Layer, Recording, back_in_time, mean_of, norms, over_lanes, record, states
from micrornn.inspect.sweep import apart, levels_of, sweep
from micrornn.inspect.window import Window
from micrornn.inspect.words import number, of_gradient, percent, steps
from micrornn.runs import Progress

LEFT = 0.01  # the gradient has faded when so much of it is left
FEW = 5  # lags at least that a half-life is fitted over

# Exploding: somewhere on its way back the gradient is 10 times what it was where it began, or its fit doubles and it
# goes on growing to the last quarter of what was seen. In a network that learns well it falls from the first time step
# on, or grows by less than three times and then falls: an LSTM whose forget gates are always open adds up to 1.6 times,
# one that has found out that what stands 20 time steps back tells the next token 2.6 times.
GROWN, DOUBLED = 10.0, 2.0


@np.errstate(over="ignore", invalid="ignore")  # a gradient that is not finite gets a verdict, not a warning
def credit(model: Any, windows: Sequence[Window], progress: Progress | None = None, part: str = "",
           **about: Any) -> Measure:  # fmt: skip
    """C over windows of data, averaged over them.

    windows     as Subject.windows gives them, all of one size; progress(done, total) hears of each
    part        whose layers, where a network has several recurrent parts, such as encoder and decoder
    about       what the Measure tells of its subject

    Arrays: credit (part, loss, time) is C; profile (part, lag); spread (window, lag), the profile of `all` in each
    window. The parts are `all`, the norm over all layers and states together, and then each state of each layer. Where
    the layers have no loss for each time step, C has one row: that of the whole sequence, or the decoder's last one.

    The model is looked at without dropout. Messages that are clipped (config.clip_message) are refused: ConfigError.
    """
    windows = list(windows)
    if not windows:
        raise DataError("credit needs at least one window to look at")
    model = model.copy(granularity="sequence")
    model.train(False)
    found: list[Found] = []
    recorded, padded = list[list[Layer]](), False
    for done, window in enumerate(windows, 1):
        recording = record(model, window, part)
        padded = padded or recording.padded
        found.append(of_one(recording) if recording.whole else of_each(recording))
        if not about.get("carried"):
            recorded.append(recording.layers)
        if progress is not None:
            progress(done, len(windows))
    parts = list(found[0][0])
    seq_len, batch_size = recording.shape
    c = np.array([mean_of([matrices[name] for matrices, _ in found], padded) for name in parts])
    profile = np.array([lag_profile(matrix, padded) for matrix in c])
    if recording.whole:
        profile = np.array([mean_of([profiles[name] for _, profiles in found], padded) for name in parts])
    spread = np.array([profiles["all"] for _, profiles in found])
    time, unit = "time steps", of_gradient(about)
    able = carrying.told(about, recorded, model)
    losses = [recording.last_loss] if recording.whole else range(seq_len)
    told = {**about, "seq_len": seq_len, "windows": len(windows), "lanes": batch_size}
    told |= {"part": part} if part else {}
    numbers, verdicts = _judge(profile[0], model.config.num_steps if about.get("cut", True) else 0, able)
    return Measure(
        "credit",
        told,
        {
            "part": Axis.of(parts),
            "loss": Axis.of(losses, "" if recording.whole else time),
            "time": Axis.of(range(seq_len), time),
            "lag": Axis.of(range(seq_len), time),
            "window": Axis.of(range(len(windows))),
        },
        {
            "credit": Array(c, ("part", "loss", "time"), unit, "norm of dL_s/dh_t: loss at s, state at t"),
            "profile": Array(profile, ("part", "lag"), unit, "its mean over losses, by how far back the state is"),
            "spread": Array(spread, ("window", "lag"), unit, "the same for all parts together, window by window"),
        },
        numbers,
        verdicts,
    )


Found = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]  # of each part: C (losses, T), and its profile (T,)


def of_each(recording: Recording) -> Found:
    """Each loss against each state."""
    levels, dy, _ = apart(recording, recording.losses)
    found = matrices(levels, dy, recording.layers[0].mask)
    return found, {"all": lag_profile(found["all"], recording.padded)}


def of_one(recording: Recording) -> Found:
    """One loss, that of a sequence or the last of a decoder, against each state; lags count from its end."""
    levels_of(recording.layers)  # refuses messages that are clipped
    recording.back_from_last(recording.dread())
    mask, found, profiles, together = recording.layers[0].mask, dict[str, Any](all=None), dict[str, Any](all=None), 0.0
    for layer in reversed(recording.layers):
        for state in layer.states:
            rows = states(layer, f"d{state}")
            together = together + np.square(rows, dtype=np.float64).sum(axis=2, keepdims=True)
            found[f"{layer.name} {state}"] = norms(rows, mask)[None]
            profiles[f"{layer.name} {state}"] = norms(*back_in_time(rows, mask, layer.reverse))
    rows = np.sqrt(np.asarray(together))
    found["all"] = over_lanes(rows[:, :, 0], mask)[None]
    both = len({layer.reverse for layer in recording.layers}) > 1  # from either end a sequence is as long
    back = [norms(*back_in_time(rows, mask, reverse)) for reverse in ((False, True) if both else (False,))]
    profiles["all"] = np.mean(back, axis=0)
    return found, profiles


def matrices(levels: Sequence[Sequence[Layer]], dy: np.ndarray,
             mask: np.ndarray | None = None) -> dict[str, np.ndarray]:  # fmt: skip
    """C (T, T) of every part: {"all": ..., "lstm_l1 h": ..., "lstm_l1 c": ..., ...}, the top layer first.

    levels, dy    as `sweep` takes them
    mask          (T, B) False where a lane is padding: there it has neither losses nor states. NaN where all are
    """
    seq_len, batch_size = dy.shape[:2]
    together = np.zeros((seq_len, seq_len, batch_size))
    found = {"all": np.zeros((seq_len, seq_len))}
    for diagonal in sweep(levels, dy):
        s, t = np.r_[diagonal.losses], np.r_[diagonal.steps]
        both = None if mask is None else mask[s] & mask[t]
        for state, gradient in zip(diagonal.layer.states, diagonal.dstates):
            squares = np.square(gradient, dtype=np.float64).sum(axis=2)  # in float32 they might underflow
            together[s, t] += squares
            part = found.setdefault(f"{diagonal.layer.name} {state}", np.zeros((seq_len, seq_len)))
            part[s, t] = over_lanes(np.sqrt(squares), both)
    roots = np.sqrt(together).reshape(-1, batch_size)
    pairs = None if mask is None else (mask[:, None] & mask[None]).reshape(-1, batch_size)
    found["all"][...] = over_lanes(roots, pairs).reshape(seq_len, seq_len)
    return found


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


def reach(profile: np.ndarray) -> int | None:
    """The first lag at which 1 % of the gradient of lag 0 is left; None if none is that far back."""
    faded = np.flatnonzero(profile < LEFT * profile[0])
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
    """How a gradient fades over lags, in words that go on from "The gradient": with its half-life where there is
    one, and what is left at the end of what was seen."""
    factor, _ = fitted(profile)
    half, far, last = float(half_life(factor)), reach(profile), len(profile) - 1
    ending = f"and 1 % of it is left {steps(far)} back" if far is not None else (
        f"and {percent(profile[-1] / profile[0])} of it is left {steps(last)} back"
    )  # fmt: skip
    if not half <= 2 * len(profile):  # so long a half-life cannot be told from none
        return f"hardly fades, {ending}"
    return f"halves every {steps(half)}, {ending}" if half >= 0.1 else f"is gone at once, {ending}"


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


def _judge(profile: np.ndarray, num_steps: int, carried: Carried | None = None) -> tuple[
    dict[str, Number], tuple[Verdict, ...]
]:  # fmt: skip
    """Numbers and verdicts from the profile of all parts together; num_steps 0: nothing cuts a sequence."""
    if not np.isfinite(profile).all():
        lag = int(np.argmin(np.isfinite(profile)))
        words = f"The gradient is NaN or infinite {steps(lag)} back."
        return {}, (Verdict("nonfinite", words, {"lag": lag}, "`micrornn inspect nonfinite` says what blew up first."),)
    if not profile.any():
        words = "No loss sends any gradient back: nothing arrives at any state."
        advice = "Look for a decoder whose weights are zero, or for units that are all dead: `micrornn inspect flow`."
        return {}, (Verdict("vanishing", words, {"kept": 0.0}, advice),)
    seq_len, far = len(profile), reach(profile)
    factor, last = fitted(profile)
    near = int(np.searchsorted(np.cumsum(profile) / profile.sum(), 0.99)) + 1
    kept, unit = share(profile, num_steps) if num_steps else 1.0, "time steps"
    numbers = {
        "half_life": Number(
            float(half_life(factor)), unit, f"the gradient halves so often (fit over lags 0 to {last})"
        ),
        "decay": Number(factor, "per time step", "what is left of the gradient one time step further back"),
        "faded": Number(math.nan if far is None else far, unit, "so far back 1 % of the gradient is left"),
        "near": Number(near, unit, "99 % of the sum over all lags that were seen lies within so many"),
    }
    if num_steps:
        numbers["kept"] = Number(kept, "", f"share of that sum that windows of num_steps = {num_steps} keep")
    plain = {name: number.value for name, number in numbers.items()}
    fades = f"The gradient {fading(profile)} (of {seq_len:,} seen)."
    if (grown := growing(profile)) is not None:
        words = f"The gradient grows on its way back: {steps(grown[0])} back it is {number(grown[1])} times as large."
        words += f" More than {number(GROWN)} times, or doubling over {steps(last)} and going on, counts as exploding."
        advice = "Limit it with --clip-norm, or lower --lr"
        advice += "; `micrornn advise` says which num_steps to train with." if num_steps else "."
        return numbers, (Verdict("exploding", words, plain, advice),)
    if carried is not None and (grown_there := carried.exploding(fades)):
        return numbers, tuple(replace(verdict, numbers=plain | dict(verdict.numbers)) for verdict in grown_there)
    if carried is not None and (gone := carried.verdicts(fades, far is not None and far < (num_steps or seq_len) / 2)):
        return numbers, tuple(replace(verdict, numbers=plain | dict(verdict.numbers)) for verdict in gone)
    if seq_len < 2 * FEW:
        what = f"{steps(seq_len)} are too few to see a gradient fade."
        return numbers, (Verdict("unsure", what, {"seq_len": seq_len}, "Measure with a longer --seq-len."),)
    able = "" if carried is None else f" {carried.words}"
    if not num_steps:
        return numbers, (Verdict("healthy", f"{fades}{able} Nothing cuts a sequence.", plain),)
    words = (
        f"{fades}{able} Pairs of a loss and a state in one window of num_steps {num_steps:,} have {percent(kept)} of "
        "all credit; the rest lies across a border, where training cuts it."
    )
    advice = (
        "Credit says how far back losses look, and adds up norms. What the cut costs the gradient, "
        "`micrornn inspect truncation` says; which num_steps to train with, `micrornn advise`."
    )
    if far is None:
        advice = f"Measure with a --seq-len of more than {seq_len} to see how far it goes. {advice}"
    return numbers, (Verdict("healthy", words, plain, advice),)
