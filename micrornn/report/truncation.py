"""How the measure `truncation` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.words import percent
from micrornn.report.panels import Curve, Lines, Mark, Panel, Rows

TOLD = {"windows": "windows of K, as in training", "back": "each loss sees K time steps back"}


def panels(measure: Measure) -> list[Panel]:
    """Bias against K, the cosine, and a table; nothing where there was no gradient to compare with."""
    if not measure.numbers:
        return []
    k, bias, limit = np.array(measure.axes["K"].places), measure["bias"], measure["bound"]
    ways = [TOLD[way] for way in measure.axes["way"].places]
    trained = int(measure.subject.get("trained", {}).get("num_steps", 0))
    marks = [Mark(trained, f"num_steps {trained}")] if k[0] <= trained <= k[-1] else []
    low, high = (_drawn(measure[name]) for name in ("low", "high"))
    curves = [Curve(way, k, *rows) for way, *rows in zip(ways, _drawn(bias), low, high)]
    if np.isfinite(limit).any():
        curves.append(Curve("bound of the second (Aicher et al.)", k, np.where(np.isfinite(limit), limit, np.nan)))
    return [
        Lines(
            "What truncation costs", "K (time steps)", "bias: ||E g_K - E g|| / ||E g||", curves, log_x=True,
            log_y=True, marks=marks, note="Of the mean gradient over the text; band: two standard errors.",
        ),
        Lines(
            "Direction of the truncated gradient", "K (time steps)", "cosine of E g_K and E g",
            [Curve(way, k, rows) for way, rows in zip(ways, measure["cosine"])], log_x=True, marks=marks,
        ),
        Rows(
            "Truncated at K",
            ("K", "bias of windows", "low .. high", "cosine", "bias of K back", "bound"),
            [_row(measure, at) for at in range(len(k))],
            note="Windows: the gradient is cut at the border, as in training. K back: each loss sees K time steps. "
                 "Low, high: two standard errors.",
        ),
    ]  # fmt: skip


def _drawn(values: np.ndarray) -> np.ndarray:
    """Without zeros, which have no logarithm: there the bias cannot be told from 0."""
    return np.where(values > 0, values, np.nan)


def _row(measure: Measure, at: int) -> tuple[str, ...]:
    windows, back = measure["bias"][:, at]
    low, high, limit = measure["low"][0, at], measure["high"][0, at], measure["bound"][at]
    return (
        f"{measure.axes['K'].places[at]}", percent(windows), f"{percent(low)} .. {percent(high)}",
        f"{measure['cosine'][0, at]:.4f}", percent(back), percent(limit) if np.isfinite(limit) else "none",
    )  # fmt: skip
