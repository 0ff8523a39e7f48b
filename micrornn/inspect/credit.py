"""Credit: how strongly the loss at one time step depends on the state at another, and how fast that fades.

    credit      the matrix C[s, t], its lag profile (inspect/fading.py), and what that means for num_steps
    matrices    C of layers on a tape: any cell, number of layers and directions

    C[s, t] = mean over lanes of || dL_s / dh_t ||,      profile(k) = mean over s >= k of C[s, s - k]

L_s is the loss of one lane's token at time step s, in nats, not divided by the number of tokens. dL_s / dh_t is the
total derivative: through all later states of the layer and through the layers above it. For an LSTM there is
dL_s / dc_t too. Hochreiter 1991 and Bengio, Simard, Frasconi 1994 showed that it must vanish or explode where the
product of Jacobians does; here it is measured, all losses in one sweep (inspect/sweep.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.errors import counted
from micrornn.inspect import carried as carrying
from micrornn.inspect.carried import Carried
from micrornn.inspect.fading import FEW, GROWN, fading, fitted, growing, half_life, lag_profile, reach, share
from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict, blown_up
from micrornn.inspect.panels import Curve, Heat, Lines, Mark, Panel, Rows, curves, cut_at, marked
from micrornn.inspect.recorded import Layer, Recording, back_in_time, mean_of, norms, over_lanes, record, states
from micrornn.inspect.register import Measuring
from micrornn.inspect.sweep import apart, levels_of, sweep
from micrornn.inspect.window import Window, one_by_one
from micrornn.inspect.words import number, of_gradient, percent, steps
from micrornn.runs import Progress


@np.errstate(over="ignore", invalid="ignore")  # a gradient that is not finite gets a verdict, not a warning
def credit(model: Any, windows: Sequence[Window], progress: Progress | None = None, part: str = "",
           **about: Any) -> Measure:  # fmt: skip
    """C over windows of data, averaged over them.

    Parameters are those of every measure (`Measuring`).

    Arrays: credit (part, loss, time) is C; profile (part, lag); spread (window, lag), the profile of `all` in each
    window. The parts are `all`, the norm over all layers and states together, and then each state of each layer. Where
    the layers have no loss for each time step, C has one row: that of the whole sequence, or the decoder's last one.

    The model is looked at without dropout. Messages that are clipped (config.clip_message) are refused: ConfigError.
    """
    model = model.copy(granularity="sequence")
    model.train(False)
    found: list[Found] = []
    recorded, padded = list[list[Layer]](), False
    for window in one_by_one("credit", windows, progress):
        recording = record(model, window, part)
        padded = padded or recording.padded
        found.append(of_one(recording) if recording.whole else of_each(recording))
        if not about.get("carried"):
            recorded.append(recording.layers)
    parts = list(found[0][0])
    seq_len, batch_size = recording.shape
    c = np.array([mean_of([matrices[name] for matrices, _ in found], padded) for name in parts])
    profile = np.array([lag_profile(matrix, padded) for matrix in c])
    if recording.whole:
        profile = np.array([mean_of([profiles[name] for _, profiles in found], padded) for name in parts])
    spread = np.array([profiles["all"] for _, profiles in found])
    times, unit = Axis.of(range(seq_len), "time steps"), of_gradient(about)
    axes = {
        "part": Axis.of(parts), "loss": Axis.of([recording.last_loss]) if recording.whole else times,
        "time": times, "lag": times, "window": Axis.of(range(len(windows))),
    }  # fmt: skip
    arrays = {
        "credit": Array(c, ("part", "loss", "time"), unit, "norm of dL_s/dh_t: loss at s, state at t"),
        "profile": Array(profile, ("part", "lag"), unit, "its mean over losses, by how far back the state is"),
        "spread": Array(spread, ("window", "lag"), unit, "the same for all parts together, window by window"),
    }
    told = about | {"seq_len": seq_len, "windows": len(windows), "lanes": batch_size} | ({"part": part} if part else {})
    able = carrying.told(about, recorded, model)
    numbers, verdicts = _judge(profile[0], model.config.num_steps if about.get("cut", True) else 0, able)
    return Measure("credit", told, axes, arrays, numbers, tuple(verdicts))


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


def _judge(profile: np.ndarray, num_steps: int,
           carried: Carried) -> tuple[dict[str, Number], list[Verdict]]:  # fmt: skip
    """Numbers and verdicts from the profile of all parts together; num_steps 0: nothing cuts a sequence."""
    if not np.isfinite(profile).all():
        lag = int(np.argmin(np.isfinite(profile)))
        words = f"The gradient is NaN or infinite {steps(lag)} back."
        return {}, [blown_up(words, lag=lag)]
    if not profile.any():
        words = "No loss sends any gradient back: nothing arrives at any state."
        advice = "Look for a decoder whose weights are zero, or for units that are all dead: `micrornn inspect flow`."
        return {}, [Verdict("vanishing", words, {"kept": 0.0}, advice)]
    seq_len, far = len(profile), reach(profile)
    factor, last = fitted(profile)
    near = int(np.searchsorted(np.cumsum(profile) / profile.sum(), 0.99)) + 1
    kept, unit = share(profile, num_steps) if num_steps else 1.0, "time steps"
    numbers = {
        "half_life": Number(
            float(half_life(factor)), unit, f"in which a line through its logarithm over lags 0 to {last} halves"
        ),
        "decay": Number(factor, "per time step", "what is left of the gradient one time step further back"),
        "faded": Number(math.nan if far is None else far, unit, "so far back less than 1 % of the gradient is left"),
        "near": Number(near, unit, "99 % of the sum over all lags that were seen lies within so many"),
    }
    if num_steps:
        numbers["kept"] = Number(kept, "", f"share of that sum that windows of num_steps = {num_steps} keep")
    plain = {name: number.value for name, number in numbers.items()}
    fades = f"The gradient {fading(profile)} (of {seq_len:,} seen)."
    if (grown := growing(profile)) is not None:
        words = f"The gradient grows on its way back: {steps(grown[0])} back it is {number(grown[1])} times as large."
        words += f" More than {number(GROWN)} times, or doubling over {steps(last)} and going on, counts as exploding."
        advice = "Limit it with `clip_norm`, or lower `lr`"
        advice += "; `micrornn advise` says which num_steps to train with." if num_steps else "."
        return numbers, [Verdict("exploding", words, plain, advice)]
    short = far is not None and far < (num_steps or seq_len) / 2
    if found := carried.exploding(fades, **plain) or carried.verdicts(fades, short, **plain):
        return numbers, found
    if seq_len < 2 * FEW:
        what = f"{counted(seq_len, 'time step is', 'time steps are')} too few to see a gradient fade."
        longer = "Measure with a longer `seq_len`." if num_steps else ""
        return numbers, [Verdict("unsure", what, {"seq_len": seq_len}, longer)]
    fades = f"{fades} {carried.words}"
    if not num_steps:
        return numbers, [Verdict("healthy", f"{fades} Nothing cuts a sequence.", plain)]
    words = (
        f"{fades} Pairs of a loss and a state in one window of num_steps {num_steps:,} have {percent(kept)} of "
        "all credit; the rest lies across a border, where training cuts it."
    )
    advice = (
        "Credit says how far back losses look, and adds up norms. What the cut costs the gradient, "
        "`micrornn inspect truncation` says; which num_steps to train with, `micrornn advise`."
    )
    if far is None:
        advice = f"Measure with a `seq_len` of more than {seq_len} to see how far it goes. {advice}"
    return numbers, [Verdict("healthy", words, plain, advice)]


def panels(measure: Measure) -> list[Panel]:
    """The profile over lags, the matrix, and a table of the layers."""
    parts, profile, spread = measure.axes["part"].places, measure["profile"], measure["spread"]
    lags, trained, times = np.arange(profile.shape[1]), cut_at(measure), measure.axes["time"].places
    with np.errstate(divide="ignore", invalid="ignore"):
        relative, band = profile / profile[:, :1], spread / spread[:, :1]
    relative[relative <= 0] = np.nan  # nothing of it can be drawn on a logarithmic axis
    fades = [
        Curve("all", lags, relative[0], band.min(axis=0), band.max(axis=0)),
        *curves(parts[1:], lags, relative[1:]),
    ]
    far, marks = reach(profile[0]), marked(measure, lags)
    if far is not None:
        marks.append(Mark(far, "1 % left"))
    whole = measure["credit"].shape[1] == 1  # one loss
    return [
        Lines(
            "How fast credit fades", "lag (time steps back)", "gradient, relative to lag 0", fades, log_y=True,
            marks=marks, note="Mean norm of dL_s/dh_t (and c_t) over all losses; band: lowest and highest window.",
        ),
        Lines(
            "Credit of each state", "state at time step t", "norm of dL/dh_t",
            curves(parts, times, measure["credit"][:, 0]),
            note=f"Of {measure.axes['loss'].places[0]}.",
        )
        if whole else
        Heat(
            "Credit of each state for each loss", "state at time step t", "loss at time step s", "norm of dL_s/dh_t",
            times, times, measure["credit"][0], log=True, window=trained or None,
            note="A row is a loss, a column a state; the diagonal is lag 0. All layers and states together.",
        ),
        Rows(
            "Layers",
            ("part", "half-life", "1 % left after", f"kept by num_steps {trained}" if trained else "kept"),
            [_row(part, row, trained) for part, row in zip(parts, profile)],
            note="Time steps. Half-life: of a line through the logarithm over the lags at which more than 1 % is "
            "left, 5 at least. Kept: credit of pairs in one window.",
        ),
    ]  # fmt: skip


def _row(part: str, profile: np.ndarray, trained: int) -> tuple[str, ...]:
    if not np.isfinite(profile).all() or not profile.any():
        return part, "-", "-", "-"
    far, half = reach(profile), float(half_life(fitted(profile)[0]))
    told = f"{half:,.1f}" if half <= 2 * len(profile) else "hardly fades"
    kept = percent(share(profile, trained)) if trained else "-"
    return part, told, f"more than {len(profile) - 1}" if far is None else f"{far}", kept


class Credit(Measuring):
    """How far back a loss reaches: each loss against each state.

    The matrix C[s, t], the norm of dL_s/dh_t, loss at s against state at t; its profile over lags, and after
    how many time steps half of the gradient is left.
    """

    name = "credit"
    order = 3
    asks = "how far back does a loss reach?"
    title = "Credit: how far back a loss reaches"
    example = "`html=credit.html`"
    seq_len = 200
    batch_size = 8
    by_part = True
    judges = ("exploding", "chaotic", "vanishing")
    measure = staticmethod(credit)
    panels = staticmethod(panels)
