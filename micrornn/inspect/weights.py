"""Which time step contributed what to the gradient of each recurrent weight.

    weights         the measure: norm of each contribution, and its cosine with the gradient; the contributions
                    themselves gives micrornn/tapeview.py

The same weights are used at every time step, so their gradient is a sum over time steps (Werbos 1990). With a_t what
goes into the gates at time step t:

    dL/dweight_ih = sum over t of (dL/da_t)^T x_t         dL/dbias_ih = sum over t and lanes of dL/da_t
    dL/dweight_hh = sum over t of (dL/da_t)^T h_prev      dL/dbias_hh likewise

dL/da_t holds what time step t does to the losses of all later time steps. In the GRU the two sides differ: on the
side of h_prev the gate n counts times r.

L is the mean over time and lanes, as it is trained with (for `loss=sum` everything is num_steps times that).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.errors import counted
from micrornn.inspect.measure import Array, Axis, Measure, Verdict, blown_up
from micrornn.inspect.panels import Heat, Lines, Panel, Rows, curves
from micrornn.inspect.recorded import Layer, Recording, record
from micrornn.inspect.register import Measuring
from micrornn.inspect.window import Window, one_by_one
from micrornn.inspect.words import of_gradient, percent
from micrornn.runs import Progress
from micrornn.tapeview import factors

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

# Uneven: one time step in ten gives more than half of all that is given. In a sound network the time steps give about
# alike, the last ones less, for few losses lie behind them. Whether the gradient explodes or a few inputs are rare and
# strong, this does not tell; `flow` does.
TENTH, HALF = 0.1, 0.5
AGREE = 2.0  # times what random directions would leave
LEAST_STEPS = 10  # below which there is no tenth of the time steps


def _norms_and_cosines(layer: Layer, kind: str) -> tuple[np.ndarray, np.ndarray, float]:
    """(norm (T,), cosine with the gradient (T,), norm of the gradient), in float64; a cosine with nothing is 0.

    A contribution a_t^T b_t is a sum of B outer products. Its squared norm is the sum over all pairs of lanes of
    (a_t a_t^T) (b_t b_t^T), its product with the gradient G the sum of a_t (b_t G^T): it need not be made itself.
    """
    rows, inputs = (None if x is None else x.astype(np.float64) for x in factors(layer.record, kind))
    assert rows is not None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if inputs is None:
            given = rows.sum(axis=1)
            total = given.sum(axis=0)
            squares, products = np.square(given).sum(axis=1), given @ total
        else:
            k, width, size = kernels.of(rows), rows.shape[2], inputs.shape[2]
            flat, total, onto = inputs.reshape(-1, size), np.empty((width, size)), np.empty(rows.shape)
            k.matmul(total, rows.reshape(-1, width), flat, trans_a=True)
            k.matmul(onto.reshape(-1, width), flat, total, trans_b=True)
            pairs = (rows @ rows.transpose(0, 2, 1)) * (inputs @ inputs.transpose(0, 2, 1))
            squares = np.maximum(pairs.sum(axis=(1, 2)), 0)
            products = np.einsum("tbg,tbg->t", rows, onto)
        norms, whole = np.sqrt(squares), float(np.sqrt(np.square(total).sum()))
        return norms, np.where(norms * whole == 0, 0, products / (norms * whole)), whole


def weights(model: Any, windows: Sequence[Window], progress: Progress | None = None, part: str = "",
            **about: Any) -> Measure:  # fmt: skip
    """What each time step of the windows, all of one shape, contributes to each weight gradient; norms and cosines
    are those of a window, averaged over windows.

    Parameters are those of every measure (`Measuring`). ConfigError if nothing in the model is recurrent, or there is
    no window.
    """
    found, names = [], list[str]()
    for window in one_by_one("weights", windows, progress):
        recording = record(model, window, part)
        recording.tape.cotangents([], [recording.loss])
        names, *arrays = _look(recording)
        found.append(arrays)
    norms, cosines, totals = (np.mean([one[n] for one in found], axis=0) for n in range(3))
    given = norms.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        coherence = np.where(given == 0, 0, totals / given)
    seq_len, lanes = recording.shape
    unit = of_gradient(about)
    axes = {"weight": Axis.of(names), "t": Axis.of(range(seq_len), "time step")}
    grid = ("weight", "t")
    measured = {
        "norm": Array(norms, grid, unit, "norm of what a time step contributes"),
        "cosine": Array(cosines, grid, "", "its cosine with the gradient of the window"),
        "total": Array(totals, ("weight",), unit, "norm of the gradient"),
        "coherence": Array(coherence, ("weight",), "", "that, as a share of the sum of the time steps' norms"),
    }
    told = about | {"windows": len(found), "seq_len": seq_len, "batch_size": lanes} | ({"part": part} if part else {})
    verdict = _verdict(names, norms, coherence, bool(about.get("cut", True)))
    return Measure("weights", told, axes, measured, {}, (verdict,))


def _look(recording: Recording) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """(names, norms (weights, T), cosines (weights, T), norms of the gradients (weights,)) of one window."""
    names, rows = [], []
    for layer in recording.layers:
        at = layer.name[layer.name.rindex("_l") :]  # weights are called after it: weight_ih_l0_reverse
        for kind in KINDS if layer.cell.recurrent else KINDS[::2]:  # some cells have no weight for h_prev
            names.append(kind + at)
            rows.append(_norms_and_cosines(layer, kind))
    norms, cosines, totals = (np.array(column) for column in zip(*rows))
    return names, norms, cosines, totals


def _verdict(names: list[str], norms: np.ndarray, coherence: np.ndarray, cut: bool = True) -> Verdict:
    seq_len = norms.shape[1]
    if not np.isfinite(norms).all():
        name = names[int(np.argmin(np.isfinite(norms).all(axis=1)))]
        words = f"What the time steps contribute to {name} is NaN or infinite."
        return blown_up(words)
    if seq_len < LEAST_STEPS:
        few = counted(seq_len, "time step is", "time steps are")
        words = f"{few} too few to tell early from late; {LEAST_STEPS} would do."
        return Verdict("unsure", words, {"seq_len": seq_len}, "Look at longer windows with `seq_len`." if cut else "")
    several = round(seq_len * TENTH)
    sums = norms.sum(axis=1)
    # weights of h_prev, and where a cell has none (indrnn, mingru), those of x
    recurrent = [n for n, name in enumerate(names) if name.startswith("weight_hh")]
    recurrent = recurrent or [n for n, name in enumerate(names) if name.startswith("weight_ih")]
    silent = [names[n] for n in recurrent if not sums[n]]
    if silent:
        words = f"No time step gives anything to {', '.join(silent)}: their gradient is 0, so they cannot learn."
        advice = "Their units are dead, or no loss reaches them: `micrornn inspect flow` says which."
        return Verdict("dead", words, {"silent": len(silent)}, advice)
    with np.errstate(invalid="ignore", divide="ignore"):
        top = np.where(sums == 0, 0, np.sort(norms, axis=1)[:, -several:].sum(axis=1) / sums)
    worst = int(top.argmax())
    numbers = {"top_tenth": float(top[worst]), "coherence": float(coherence[worst])}
    share = f"{percent(top[worst])} of what {names[worst]} gets comes from {several} of {counted(seq_len, 'time step')}"
    if top[worst] > HALF:
        peak = int(norms[worst].argmax())
        words = (
            f"{share}, and the most from time step {peak}. More than half of all from a tenth of the time steps counts "
            "as uneven: an update then follows those few."
        )
        advice = (
            "`micrornn inspect flow` says whether the gradient explodes there: if so, limit it with `clip_message`, or "
            "lower `lr`; if it fades on its way there, that is why."
        )
        return Verdict("uneven", words, numbers | {"t": peak}, advice)
    chance = 1 / np.sqrt(seq_len)
    agree = ", ".join(f"{percent(coherence[n])} for {names[n]}" for n in recurrent)
    least = min(coherence[n] for n in recurrent)
    means = (
        "so the time steps agree more than by chance"
        if least > AGREE * chance
        else "so they hardly agree: what one time step teaches is mostly undone by others, and only the mean over many "
        "lanes and updates is signal (`micrornn inspect noise` measures how many)"
    )
    words = (
        f"The time steps give about alike: at most {share}. Added up they partly cancel. What is left of the sum of "
        f"their norms: {agree}; directions at random would leave {percent(chance)} (1 / sqrt({seq_len})), {means}."
    )
    return Verdict("healthy", words, numbers | {"chance": float(chance)})


def panels(measure: Measure) -> list[Panel]:
    """Norms over time for each kind of weight, the cosines as a heat map, and a table of totals."""
    names, times, norms = measure.axes["weight"].places, measure.axes["t"].places, measure["norm"]
    over_time = [
        Lines(
            f"What each time step gives to {kind}", "time step", "norm of its contribution",
            [curve for curve in curves(names, times, norms) if curve.name.startswith(kind)],
            note="Through all later losses. The last time steps have few of them.",
        )
        for kind in ("weight_hh", "weight_ih")
    ]  # fmt: skip
    rows = [
        (name, f"{total:.3g}", percent(share))
        for name, total, share in zip(names, measure["total"], measure["coherence"])
    ]
    chance = percent(1 / np.sqrt(len(times)))
    note = (
        "Not cancelled: the gradient's norm as a share of the sum of its time steps' norms. If they pointed in random "
        f"directions it would be {chance}; 100 % if all pointed the same way."
    )
    return [
        *over_time,
        Heat(
            "Does it point along the gradient?", "time step", "weight", "cosine with the gradient", times, names,
            measure["cosine"], centred=True, note="1: straight along it. Below 0: against it.",
        ),
        Rows("Gradients", ("weight", "norm", "not cancelled"), rows, note=note),
    ]  # fmt: skip


class Weights(Measuring):
    """Which time step contributed what to each weight gradient.

    The norm of each time step's contribution to a weight gradient, and its cosine with the sum of all: do the
    time steps agree?
    """

    name = "weights"
    order = 2
    asks = "which time step taught the weights what?"
    title = "Weights: which time step taught which weight"
    example = "`csv` > weights.csv"
    quick = True
    by_part = True
    judges = ("uneven",)
    measure = staticmethod(weights)
    panels = staticmethod(panels)
