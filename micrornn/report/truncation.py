"""How the measure `truncation` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.measure import Measure
from micrornn.inspect.words import percent
from micrornn.report.panels import Curve, Lines, Mark, Panel, Rows

TOLD = {"windows": "windows of K, as in training", "back": "each loss sees K time steps back"}


def panels(measure: Measure) -> list[Panel]:
    """Bias against K with the noise beside it, the cosine, and a table of some K."""
    k, bias, cosine = np.array(measure.axes["K"].places), measure["bias"], measure["cosine"]
    ways = [TOLD[way] for way in measure.axes["way"].places]
    trained = int(measure.subject.get("trained", {}).get("num_steps", 0))
    marks = [Mark(trained, f"num_steps {trained}")] if 0 < trained <= len(k) else []
    drawn = np.where(bias > 0, bias, np.nan)[:, :-1]  # at K = T the bias is 0, which has no logarithm
    curves = [_curve(way, k[:-1], rows) for way, rows in zip(ways, drawn)]
    limit = np.where(measure["bound"] > 0, measure["bound"], np.inf)[:-1]
    if np.isfinite(limit).any():
        curves.append(Curve("bound of the second (Aicher et al.)", k[:-1], np.where(np.isfinite(limit), limit, np.nan)))
    noise = measure.numbers.get("noise")
    if noise is not None and noise.value > 0:
        curves.append(Curve("noise of one update", k[:-1], np.full(len(k) - 1, noise.value)))
    return [
        Lines(
            "What truncation costs", "K (time steps)", "bias: ||g_K - g|| / ||g||", curves, log_x=True, log_y=True,
            marks=marks, note="Mean over windows of text; band: lowest and highest of them.",
        ),
        Lines(
            "Direction of the truncated gradient", "K (time steps)", "cosine of g_K and g",
            [_curve(way, k, rows) for way, rows in zip(ways, cosine)], log_x=True, marks=marks,
        ),
        Rows(
            "Truncated at K",
            ("K", "bias of windows", "lowest .. highest", "cosine", "bias of K back", "bound"),
            [_row(measure, int(at)) for at in sorted({*_some(len(k)), *([trained] if marks else [])})],
            note="Windows: the gradient is cut at the border, as in training. K back: each loss sees K time steps.",
        ),
    ]  # fmt: skip


def _curve(name: str, k: np.ndarray, rows: np.ndarray) -> Curve:
    """The mean over windows, and the band of all of them: rows (K, window)."""
    return Curve(name, k, rows.mean(axis=1), rows.min(axis=1), rows.max(axis=1))


def _some(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to the last."""
    steps = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    return [k for k in steps if k < most] + [most]


def _row(measure: Measure, k: int) -> tuple[str, ...]:
    (windows, back), limit = measure["bias"][:, k - 1], measure["bound"][k - 1]
    return (
        f"{k}", percent(windows.mean()), f"{percent(windows.min())} .. {percent(windows.max())}",
        f"{measure['cosine'][0, k - 1].mean():.4f}", percent(back.mean()),
        percent(limit) if np.isfinite(limit) else "none",
    )  # fmt: skip
