"""What the flow of a gradient means, in words: thresholds, each with its reason, and the sentences.

of_flow        verdicts on one model: how far back, saturated, dead
of_training    verdicts on a run that was watched while it trained
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from micrornn.inspect.credit import LEFT
from micrornn.inspect.measure import Array, Axis, Verdict
from micrornn.inspect.words import number, percent

# Vanishing: fewer than NEAR time steps back, under 1 % of the last time step's gradient is left, in whichever layer
# it reaches farthest. What lies further back can hardly be learned, and a table of 5 tokens in a row sees as far.
# An LSTM that has learned characters reaches 9 to 30 time steps by this count: it forgets because it may, and that
# is healthy. A network that multiplies its gradient by less than 0.3 at each time step cannot do otherwise.
NEAR = 4

# Exploding: somewhere on its way back the gradient is 10 times what it was where it began. In a network that learns
# well it falls from the first time step on, or grows for a few and by less than half.
GROWN = 10.0

# Saturated: 9 of 10 values of a gate lie where its slope is small. Trained LSTMs have up to 7 of 10 there in some
# gates, and are well. Not counted: a forget gate (z in the GRU) that is open, for that is how a state is kept.
MOSTLY = 0.9
KEEPS = {"f", "z"}

# Dead: a tenth of a layer never moves. It costs as much as the rest, and nothing will wake it.
TENTH = 0.1

# In fewer time steps than this there is no telling how far back a gradient goes.
LEAST_STEPS = 10

CALM = "Lower --lr, or start from smaller weights: a saturated gate has almost no slope, so it hardly learns."


def of_flow(axes: Mapping[str, Axis], arrays: Mapping[str, Array]) -> tuple[Verdict, ...]:
    """Verdicts on the arrays of the measure `flow`, the gravest first."""
    layers, gates, seq_len = axes["layer"].places, axes["gate"].places, len(axes["t"].places)
    dh, left = arrays["dh"].values, arrays["left"].values
    broken = _nonfinite(layers, dh)
    if broken:
        return (broken,)
    found = [*_exploding(layers, left)]
    if seq_len >= LEAST_STEPS:
        found += _vanishing(layers, arrays, seq_len)
    low, high = (arrays[name].values.mean(axis=2) for name in ("low", "high"))
    found += _saturated(layers, gates, low, high) + _dead(layers, arrays["dead"].values)
    if not found and seq_len < LEAST_STEPS:
        words = f"{seq_len} time steps are too few to say how far back the gradient goes; {LEAST_STEPS} would do."
        found = [Verdict("unsure", words, {"seq_len": seq_len}, "Look at longer windows with --seq-len.")]
    return tuple(found) or (_healthy(layers, arrays, seq_len, float(_stuck(gates, low, high).max())),)


def of_training(axes: Mapping[str, Axis], arrays: Mapping[str, Array]) -> tuple[Verdict, ...]:
    """Verdicts on the arrays of the measure `flow_over_training`: on its last update, in the light of those before.

    Only the gradient of all losses together was recorded, and that never vanishes. But one that explodes grows from
    the end of the window to its beginning without end, while a sound one stays level behind the first few steps.
    """
    layers, gates, updates = axes["layer"].places, axes["gate"].places, axes["update"].places
    dh, low, high = (arrays[name].values for name in ("dh", "low", "high"))
    broken = _nonfinite(layers, dh[-1])
    if broken:
        return (broken,)
    found, middle = [], np.median(dh, axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        peaks = np.where(middle > 0, dh.max(axis=2) / middle, np.nan)
    worst, growth = _largest(peaks[-1])
    if growth > GROWN:
        words = (
            f"At update {updates[-1]:,} the gradient in {layers[worst]} is {number(growth)} times as large at its "
            "highest time step as at the middle one: it grows on its way back."
        )
        found.append(Verdict("exploding", words, {"growth": growth, "update": updates[-1]}, _limit()))
    found += _saturated(layers, gates, low[-1], high[-1])
    if found:
        return tuple(found)
    span = f"From update {updates[0]:,} to {updates[-1]:,}"
    first, last = middle[0].max(), middle[-1].max()
    share = float(_stuck(gates, low[-1], high[-1]).max())
    words = (
        f"{span} the norm of dL/dh_t at the middle time step went from {number(first)} to {number(last)}; at no time "
        f"did one time step stand out by more than {number(np.nanmax(peaks, initial=0))} times. At the end at most "
        f"{percent(share)} of a gate's values are saturated."
    )
    numbers = {"first": float(first), "last": float(last), "saturated": share}
    if len(updates) < 2:
        return (Verdict("unsure", "Only one update was recorded.", numbers, "Train on, or lower --watch-gradients."),)
    return (Verdict("healthy", words, numbers),)


def _nonfinite(layers: tuple[str, ...], dh: np.ndarray) -> Verdict | None:
    """dh (layer, t)"""
    bad = ~np.isfinite(dh)
    if not bad.any():
        return None
    layer, t = np.argwhere(bad)[-1]
    words = f"dL/dh_t is NaN or infinite at {bad.sum()} of {bad.size} time steps, so in {layers[layer]} at {t}."
    return Verdict("nonfinite", words, {"t": int(t)}, "`micrornn inspect nonfinite` says what blew up first.")


def _exploding(layers: tuple[str, ...], left: np.ndarray) -> list[Verdict]:
    """left (layer, lag)"""
    peaks = np.where(np.isnan(left), 0, left).max(axis=1)
    worst, growth = _largest(peaks)
    if not growth > GROWN:
        return []
    lag = int(np.argmax(left[worst]))
    words = (
        f"The gradient of the last time step's loss grows on its way back: in {layers[worst]} to {number(growth)} "
        f"times its size after {lag} time steps, by a factor of {number(growth ** (1 / max(lag, 1)))} at each."
    )
    return [Verdict("exploding", words, {"growth": growth, "lag": lag}, _limit())]


def _limit() -> str:
    return "Limit it with --clip-norm, or at each time step with --clip-message; lower --lr; or take --cell lstm."


def _vanishing(layers: tuple[str, ...], arrays: Mapping[str, Array], seq_len: int) -> list[Verdict]:
    """One for each direction in which no layer's gradient reaches far."""
    left, reach, half = (arrays[name].values for name in ("left", "reach", "half_life"))
    found = []
    for reverse in (False, True):
        mine = [n for n, name in enumerate(layers) if name.endswith("_reverse") == reverse]
        if not mine:
            continue
        if np.isnan(left[mine, 0]).all():
            words = f"Nothing of the last time step's loss arrives at {', '.join(layers[n] for n in mine)}."
            advice = "Look for units that are dead, or for a decoder whose weights are zero."
            found.append(Verdict("vanishing", words, {"reach": 0}, advice))
            continue
        best = mine[_largest(left[mine, NEAR])[0]]
        if left[best, NEAR] >= LEFT:
            continue
        words = (
            f"Of the gradient of the last time step's loss less than 1 % is left {reach[best]:.0f} time steps back "
            f"(in {layers[best]}, where it reaches farthest); it halves every {half[best]:.2g} time steps."
        )
        advice = (
            f"What lies further back is not learned, and of {seq_len} time steps most cost time only. Take --cell lstm "
            "with --forget-bias 1 or more, or gru; or start from an orthogonal weight_hh."
        )
        found.append(Verdict("vanishing", words, _numbers(reach=reach[best], half_life=half[best]), advice))
    return found


def _stuck(gates: tuple[str, ...], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The share of values (layer, gate) that are saturated where that is no good."""
    share: np.ndarray = low + np.where([gate in KEEPS for gate in gates], 0, high)
    return share


def _saturated(layers: tuple[str, ...], gates: tuple[str, ...], low: np.ndarray,
               high: np.ndarray) -> list[Verdict]:  # fmt: skip
    """low, high (layer, gate)"""
    stuck = _stuck(gates, low, high)
    if not stuck.max() >= MOSTLY:
        return []
    layer, gate = np.unravel_index(int(stuck.argmax()), stuck.shape)
    where = "of the values of gate {} in {}" if len(gates) > 1 else "of the values of tanh in {1}"
    words = (
        f"{percent(stuck[layer, gate])} " + where.format(gates[gate], layers[layer]) + " are saturated: "
        f"{percent(low[layer, gate])} at the lower end, {percent(high[layer, gate])} at the upper one."
    )
    many = int((stuck >= MOSTLY).sum())
    if many > 1:
        words += f" So it is in {many} of {stuck.size} gates."
    return [Verdict("saturated", words, {"share": float(stuck[layer, gate]), "gates": many}, CALM)]


def _dead(layers: tuple[str, ...], dead: np.ndarray) -> list[Verdict]:
    """dead (layer,)"""
    worst, share = _largest(dead)
    if share < TENTH:
        return []
    words = f"{percent(share)} of the units of {layers[worst]} never move over all that was read."
    advice = "They cost time and learn nothing: lower --lr, take fewer with --hidden-size, or another cell."
    return [Verdict("dead", words, {"share": share}, advice)]


def _healthy(layers: tuple[str, ...], arrays: Mapping[str, Array], seq_len: int, share: float) -> Verdict:
    reach, half = arrays["reach"].values, arrays["half_life"].values
    best, _ = _largest(np.where(np.isinf(reach), seq_len, reach))
    away = f"less than 1 % is left {reach[best]:.0f} time steps back"
    if np.isinf(reach[best]):
        away = f"more than 1 % is left {seq_len} time steps back"
    words = (
        f"The gradient of the last time step's loss halves every {half[best]:.2g} time steps, and {away} "
        f"(in {layers[best]}, where it reaches farthest). At most {percent(share)} of a gate's values are saturated."
    )
    return Verdict("healthy", words, _numbers(reach=reach[best], half_life=half[best], saturated=share))


def _largest(values: np.ndarray) -> tuple[int, float]:
    """(place, value) of the largest that is a number; (0, 0) if none is."""
    values = np.where(np.isnan(values), -np.inf, values)
    place = int(values.argmax())
    return (place, float(values[place])) if values[place] > -np.inf else (0, 0.0)


def _numbers(**values: float) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}
