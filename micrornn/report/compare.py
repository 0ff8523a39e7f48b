"""How a comparison is drawn: what each setting reaches and costs as tables, its loss over updates, tokens, seconds."""

from __future__ import annotations

import math

import numpy as np

from micrornn.errors import counted
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Curve, Lines, Panel, Rows
from micrornn.inspect.words import number, percent

MOST_CURVES, MOST_ROWS = 6, 30


def panels(measure: Measure) -> list[Panel]:
    """The tables, then the curves of the best settings."""
    return [*(_search(measure) if measure.what == "search" else _tables(measure)), *_curves(measure)]


def _search(measure: Measure) -> list[Panel]:
    """What was drawn, the best first, and how far each came."""
    rows, brackets = [], measure["bracket"]
    several = bool(brackets.max() > 1)
    for n, name in enumerate(map(str, measure.axes["setting"].places[:MOST_ROWS])):
        known = measure["loss"][n][np.isfinite(measure["loss"][n])]
        failed = "failed" if np.isinf(measure["loss"][n]).any() else percent(measure["trained"][n])
        bracket = [f"{brackets[n]:.0f}"] if several else []
        rows.append([name, f"{known.mean():.4g}" if known.size else "-", failed, *bracket])
    left = len(measure.axes["setting"].places) - len(rows)
    note = f"{counted(left, 'setting more is', 'settings more are')} left out. " if left > 0 else ""
    return [
        Rows("Settings drawn at random", ["setting", "loss", "trained", *["bracket"] * several], rows,
             note=f"{note}Only losses of settings that were trained as far can be compared."),
    ]  # fmt: skip


def _tables(measure: Measure) -> list[Panel]:
    names = [str(name) for name in measure.axes["setting"].places]
    losses, unit, what = measure["loss"], measure.arrays["loss"].unit, measure.arrays["loss"].about
    seeds, best = losses.shape[1], _best(losses)
    equal, uneven = measure["equal"], not np.array_equal(measure["equal"], losses, equal_nan=True)
    reached, target = measure["seconds_to_target"], measure.numbers["target"].value
    loss, cost = [], []
    for n, name in enumerate(names[:MOST_ROWS]):
        known = losses[n][np.isfinite(losses[n])]
        failed = int(np.isinf(losses[n]).sum())
        loss.append([
            name, f"{known.mean():.4g}" if known.size else "-",
            f"{known.std(ddof=1):.2g}" if known.size > 1 else "-",
            "best" if n == best else _number(measure["difference_mean"][n], "+"),
            "" if n == best else _interval(measure["difference_low"][n], measure["difference_high"][n]),
            f"{failed} of {seeds} failed" if failed else f"{known.size} of {seeds}",
        ])  # fmt: skip
        times = reached[n][np.isfinite(reached[n])]
        told = number(float(times.mean())) if times.size else "not reached" if known.size else "-"
        cost.append([
            name, _number(1e6 * measure["token_seconds"][n]),
            told + (f" ({times.size} of {known.size})" if 0 < times.size < known.size else ""),
            *([f"{even.mean():.4g}" if (even := equal[n][np.isfinite(equal[n])]).size else "-"] if uneven else []),
        ])  # fmt: skip
    more = counted(len(names) - MOST_ROWS, "setting more is", "settings more are")
    left = f" {more} left out." if len(names) > MOST_ROWS else ""
    token, tokens = measure.arrays["token_seconds"].about.removeprefix("of one "), measure.numbers["tokens"].value
    baseline = measure.numbers.get("baseline")
    beside = f" {baseline.about[:1].upper()}{baseline.about[1:]}: {number(baseline.value)}." if baseline else ""
    return [
        Rows(
            "Loss", ["setting", "loss", "+-", "to best", "95 %", "seeds"], loss,
            note=f"{what[:1].upper()}{what[1:]}{', ' + unit if unit else ''}: mean and standard deviation over seeds."
            f"{beside} 95 %: bootstrap interval of the difference, seed by seed; of few seeds it is too narrow, and "
            f"the verdict asks Student's t as well.{left}",
        ),
        Rows(
            "Cost",
            ["setting", f"us a {token}", f"seconds to loss {number(target)}",
             *[f"loss at {tokens:,.0f} {token}s"] * uneven],
            cost, note=f"Time of updates alone, without validation. us a {token}: microseconds, in the quickest tenth "
            f"of them. seconds to loss {number(target)}: until the loss was as low, by a straight line between two "
            "that are known, the mean over seeds; in brackets, where not every seed came so far: how many did.",
        ),
    ]  # fmt: skip


def _best(losses: np.ndarray) -> int:
    """The row that is the best: the first whose runs have all a loss."""
    fine = ~np.isinf(losses).any(axis=1) & np.isfinite(losses).any(axis=1)
    return int(np.flatnonzero(fine)[0]) if fine.any() else -1


def _number(value: float, sign: str = "") -> str:
    if not math.isfinite(value):
        return "-"
    return (sign if value > 0 else "") + number(value)


def _interval(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}" if math.isfinite(low) and math.isfinite(high) else "-"


def _curves(measure: Measure) -> list[Panel]:
    names = [str(name) for name in measure.axes["setting"].places]
    unit = measure.arrays["loss"].unit
    token = measure.arrays["token_seconds"].about.removeprefix("of one ")
    found: list[Panel] = []
    shown = [n for n in range(len(names)) if f"curve_updates_mean_{n}" in measure.arrays][:MOST_CURVES]
    more = f" Of the {counted(len(names), 'setting')}, the {len(shown)} best." if len(names) > len(shown) else ""
    seeds = len(measure.axes["seed"].places)
    band = "Mean over seeds; the band goes from the lowest to the highest." if seeds > 1 else ""
    for axis, label in (("updates", "update"), ("tokens", f"{token}s"), ("seconds", "seconds of training")):
        curves = [
            Curve(names[n], *(np.array(v, float) for v in (
                measure.axes[f"{axis}_{n}"].places, measure[f"curve_{axis}_mean_{n}"])),
                *([measure[f"curve_{axis}_{end}_{n}"] for end in ("low", "high")] if seeds > 1 else []))
            for n in shown
        ]  # fmt: skip
        ends = {float(curve.x[-1]) for curve in curves}
        if axis == "tokens" and len(ends) == 1 and len({float(c.x[-1]) for c in _updates(found)}) == 1:
            continue  # the same picture as over updates
        if curves:
            values = np.concatenate([curve.y for curve in curves])
            log = bool(values.min() > 0 and values.max() > 20 * values.min())
            title = f"Loss over {label if axis == 'tokens' else axis}"
            found.append(Lines(title, label, unit or "loss", curves, log_y=log, note=(band + more).strip()))
    return found


def _updates(found: list[Panel]) -> list[Curve]:
    return [curve for panel in found if isinstance(panel, Lines) for curve in panel.curves]
