"""What the flow of a gradient means, in words: thresholds, each with its reason, and the sentences.

of_flow        verdicts on one model: exploding, vanishing, saturated, dead
of_training    verdicts on a run that was watched while it trained
stuck          gates that are saturated, where learning suffers from it; and those that never forget
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micrornn.errors import counted
from micrornn.inspect.carried import ALL, LEFT, LIMIT, Carried
from micrornn.inspect.fading import GROWN, fading, growing
from micrornn.inspect.measure import Learned, Measure, Verdict, blown_up
from micrornn.inspect.saturated import no_good, told
from micrornn.inspect.words import number, percent, steps

# Saturated: 9 of 10 values of a gate lie where its slope is small. That alone is no fault: the LSTM that learned best
# of all that were tried had 19 of 20 there in one gate, its gradient arrived, and it learned on. So it is told only
# where learning suffers: where the loss is no better than frequencies alone, where the gradient explodes, or where
# hardly any value is left that has a slope (with a learning rate of 1 it was 999 in 1,000; ALL in inspect/carried.py).
MOSTLY = 0.9

# A forget gate may be open, but one that never closes is a fault: over ten times num_steps it forgets less than all of
# what it holds. Then nothing is ever dropped, whatever comes in is added, and the gate cannot learn to close, for it
# has no slope there.
NEVER = 30

# Dead: a tenth of a layer never moves. It costs as much as the rest, and nothing will wake it.
TENTH = 0.1

# In fewer time steps than this there is no telling how far back a gradient goes.
LEAST_STEPS = 10

CALM = "Lower `lr`, or start from smaller weights: a saturated gate has almost no slope, so it hardly learns."


def of_flow(measure: Measure, carried: Carried) -> list[Verdict]:
    """Verdicts on the measure `flow`, the gravest first. carried: how much of a gradient the layers can carry over half
    of num_steps."""
    layers, gates, times = (measure.axes[name].places for name in ("layer", "gate", "t"))
    last, seq_len = str(measure.subject["last_loss"]), len(times)
    broken = _nonfinite(layers, measure["dh"])
    if broken:
        return [broken]
    low, high = (measure[name].mean(axis=2) for name in ("low", "high"))
    found = _exploding(layers, measure["left"], last) or carried.exploding()
    saturated = stuck(layers, gates, low, high, Learned.of(measure.subject), bool(found))
    if seq_len >= LEAST_STEPS and not found:
        found += _vanishing(measure, carried, last)
    found += saturated or never_forgets(layers, measure["forgets"], carried.num_steps)
    found += _dead(layers, measure["dead"])
    if not found and seq_len < LEAST_STEPS:
        words = f"{counted(seq_len, 'time step is', 'time steps are')} too few to say how far back the gradient goes; "
        words += f"{LEAST_STEPS} would do."
        longer = "Look at longer windows with `seq_len`." if measure.subject.get("cut", True) else ""
        found = [Verdict("unsure", words, {"seq_len": seq_len}, longer)]
    return found or [_healthy(measure, carried, float(no_good(gates, low, high).max()), last)]


def of_training(measure: Measure, lengths: Sequence[int] = ()) -> list[Verdict]:
    """Verdicts on the measure `flow_over_training`: on its last update, in the light of those before.

    The gradient of all losses together never vanishes. But one that explodes grows from the end of the window to its
    beginning without end, while a sound one stays level behind the first few steps. Whether it vanishes is seen from
    what the layers could carry (`carried`; runs that were watched before that was recorded have NaN there).

    lengths    how many time steps each update had, where they differ: NaN stands behind them
    """
    layers, gates, updates = (measure.axes[name].places for name in ("layer", "gate", "update"))
    dh, low, high = (measure[name] for name in ("dh", "low", "high"))
    broken = _nonfinite(layers, dh[-1][:, : lengths[-1]] if lengths else dh[-1])
    if broken:
        return [broken]
    most, median = (np.nanmax, np.nanmedian) if len(set(lengths)) > 1 else (np.max, np.median)
    found, middle = [], median(dh, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        peaks = np.where(middle > 0, most(dh, axis=2) / middle, np.nan)
    worst, growth = _largest(peaks[-1])
    if growth > GROWN:
        words = (
            f"At update {updates[-1]:,} the gradient in {layers[worst]} is {number(growth)} times as large at its "
            "highest time step as at the middle one: it grows on its way back."
        )
        found.append(Verdict("exploding", words, {"growth": growth, "update": updates[-1]}, LIMIT))
    else:
        found += _carried_over_training(measure)
    found += stuck(layers, gates, low[-1], high[-1], None, bool(found), where=f" at update {updates[-1]:,}")
    if found:
        return found
    span = f"From update {updates[0]:,} to {updates[-1]:,}"
    first, last = middle[0].max(), middle[-1].max()
    share = float(no_good(gates, low[-1], high[-1]).max())
    words = (
        f"{span} the norm of dL/dh_t at the middle time step went from {number(first)} to {number(last)}; at no time "
        f"did one time step stand out by more than {number(np.nanmax(peaks, initial=0))} times. At the end at most "
        f"{told(gates, share)}."
    )
    numbers = {"first": float(first), "last": float(last), "saturated": share}
    if len(updates) < 2:
        return [Verdict("unsure", "Only one update was recorded.", numbers, "Train on, or lower `watch_gradients`.")]
    return [Verdict("healthy", words, numbers)]


def _carried_over_training(measure: Measure) -> list[Verdict]:
    """Vanishing, where at the last update no layer carries enough, and since when."""
    layers, updates = measure.axes["layer"].places, measure.axes["update"].places
    shares, num_steps = measure["carried"], measure["dh"].shape[2]  # a window that trains has num_steps
    cell = layers[0].rpartition(".")[2].partition("_l")[0]
    last = Carried(max(1, num_steps // 2), num_steps, dict(zip(layers, shares[-1].tolist())), {}, cell)
    best = np.where(np.isfinite(shares), shares, np.inf).max(axis=1)
    healthy = np.flatnonzero(best >= LEFT)
    since = updates[int(healthy[-1]) + 1] if len(healthy) and healthy[-1] + 1 < len(updates) else updates[0]
    told = "at every update that was watched" if not len(healthy) else f"since update {since:,}"
    return last.verdicts(f"So it was {told}.")


def _nonfinite(layers: tuple[str, ...], dh: np.ndarray) -> Verdict | None:
    """dh (layer, t)"""
    bad = ~np.isfinite(dh)
    if not bad.any():
        return None
    layer, t = np.argwhere(bad)[-1]
    where = f"{bad.any(axis=0).sum()} of {counted(bad.shape[1], 'time step')}"
    words = f"dL/dh_t is NaN or infinite at {where}, so in {layers[layer]} at {t}."
    return blown_up(words, t=int(t))


def _exploding(layers: tuple[str, ...], left: np.ndarray, last: str) -> list[Verdict]:
    """left (layer, lag)"""
    grown = [(found[1], found[0], n) for n, profile in enumerate(left) if (found := growing(profile)) is not None]
    if not grown:
        return []
    growth, lag, worst = max(grown)
    words = (
        f"The gradient of {last} grows on its way back: in {layers[worst]} to {number(growth)} "
        f"times its size after {steps(lag)}, by a factor of {number(growth ** (1 / max(lag, 1)))} at each."
    )
    return [Verdict("exploding", words, {"growth": growth, "lag": lag}, LIMIT)]


def _vanishing(measure: Measure, carried: Carried, last: str) -> list[Verdict]:
    """Where nothing arrives in one direction, or too little could arrive."""
    layers, left, reach = measure.axes["layer"].places, measure["left"], measure["reach"]
    for reverse in (False, True):
        mine = [n for n, name in enumerate(layers) if name.endswith("_reverse") == reverse]
        if mine and np.isnan(left[mine, 0]).all():
            words = f"Nothing of {last} arrives at {', '.join(layers[n] for n in mine)}."
            advice = "Look for units that are dead, or for a decoder whose weights are zero."
            return [Verdict("vanishing", words, {"reach": 0}, advice)]
    best = int(np.argmax(reach))
    tells = f"The gradient of {last} {fading(left[best])} (in {layers[best]})."
    return carried.verdicts(tells, reach[best] < carried.num_steps / 2)


def stuck(layers: Sequence[str], gates: Sequence[str], low: np.ndarray, high: np.ndarray, learned: Learned | None,
          suffers: bool = False, where: str = "") -> list[Verdict]:  # fmt: skip
    """Saturated, where learning suffers from it. low, high (layer, gate): shares of values at either end.

    learned    what the model has learned; where that is not known, nine in ten are taken for a fault
    suffers    whether the gradient is seen to suffer
    """
    share = no_good(gates, low, high)
    if not share.max() >= (MOSTLY if suffers or learned is None or not learned.anything else ALL):
        return []
    layer, gate = (int(n) for n in np.unravel_index(int(share.argmax()), share.shape))
    whose = f"gate {gates[gate]} in" if len(gates) > 1 else "tanh in"
    words = (
        f"{percent(share[layer, gate])} of the values of {whose} {layers[layer]} are saturated{where}: "
        f"{percent(low[layer, gate])} at the lower end, {percent(high[layer, gate])} at the upper one."
    )
    many = int((share >= MOSTLY).sum())
    if many > 1:
        words += f" So it is in {many} of {share.size} gates."
    if learned is not None and not learned.anything:
        words += " It is a fault because nothing is learned."
    elif suffers:
        words += " It is a fault because the gradient suffers."
    elif share.max() >= ALL:
        words += f" From {percent(ALL)} on hardly any value has a slope to learn by."
    return [Verdict("saturated", words, {"share": float(share[layer, gate]), "gates": many}, CALM)]


def never_forgets(layers: Sequence[str], forgets: np.ndarray, num_steps: int) -> list[Verdict]:
    """Saturated: forget gates that are always open. forgets (layer,): the mean of 1 - f, NaN where there is none."""
    known = np.where(np.isnan(forgets), np.inf, forgets)
    worst = int(known.argmin())
    if not num_steps or not known[worst] * NEVER * num_steps < 1:
        return []
    words = (
        f"The forget gates of {layers[worst]} never close: a time step drops {percent(float(known[worst]))} of the "
        f"state, so in {NEVER} times num_steps {num_steps:,} less than all of it. Whatever comes in is added up and "
        "kept, and a gate so far open has no slope to learn to close by."
    )
    advice = "Start with a lower `forget_bias`: 1 or 2; the logarithm of num_steps at most."
    return [Verdict("saturated", words, {"forgets": float(known[worst])}, advice)]


def _dead(layers: tuple[str, ...], dead: np.ndarray) -> list[Verdict]:
    """dead (layer,)"""
    worst, share = _largest(dead)
    if share < TENTH:
        return []
    words = f"{percent(share)} of the units of {layers[worst]} never move over all that was read."
    advice = "They cost time and learn nothing: lower `lr`, take fewer with `hidden_size`, or another cell."
    return [Verdict("dead", words, {"share": share}, advice)]


def _healthy(measure: Measure, carried: Carried, share: float, last: str) -> Verdict:
    best = int(np.argmax(measure["reach"]))
    words = (
        f"The gradient of {last} {fading(measure['left'][best])} (in {measure.axes['layer'].places[best]}, where it "
        f"reaches farthest). {carried.words} At most "
        f"{told(measure.axes['gate'].places, share)}"
    )
    words += ", and it learns all the same." if share >= MOSTLY else "."
    numbers = {name: float(measure[name][best]) for name in ("reach", "half_life")}
    return Verdict("healthy", words, numbers | {"saturated": share})


def _largest(values: np.ndarray) -> tuple[int, float]:
    """(place, value) of the largest that is a number; (0, 0) if none is."""
    values = np.where(np.isnan(values), -np.inf, values)
    place = int(values.argmax())
    return (place, float(values[place])) if values[place] > -np.inf else (0, 0.0)
