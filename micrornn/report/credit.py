"""How the measure `credit` is drawn."""

from __future__ import annotations

import numpy as np

from micrornn.inspect.credit import fitted, half_life, reach, share
from micrornn.inspect.measure import Measure
from micrornn.inspect.words import percent
from micrornn.report.panels import Curve, Heat, Lines, Mark, Panel, Rows


def panels(measure: Measure) -> list[Panel]:
    """The profile over lags, the matrix, and a table of the layers."""
    parts, profile, spread = measure.axes["part"].places, measure["profile"], measure["spread"]
    lags, trained = np.arange(profile.shape[1]), _trained(measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative, band = profile / profile[:, :1], spread / spread[:, :1]
    relative[relative <= 0] = np.nan  # nothing of it can be drawn on a logarithmic axis
    curves = [Curve("all", lags, relative[0], band.min(axis=0), band.max(axis=0))]
    curves += [Curve(part, lags, row) for part, row in zip(parts[1:], relative[1:])]
    marks = [Mark(trained, f"num_steps {trained}")] if 0 < trained < len(lags) else []
    far = reach(profile[0])
    if far is not None:
        marks.append(Mark(far, "1 % left"))
    places = list(measure.axes["time"].places)
    whole = measure["credit"].shape[1] == 1  # one loss
    return [
        Lines(
            "How fast credit fades", "lag (time steps back)", "gradient, relative to lag 0", curves, log_y=True,
            marks=marks, note="Mean norm of dL_s/dh_t (and c_t) over all losses; band: lowest and highest window.",
        ),
        Lines(
            "Credit of each state", "state at time step t", "norm of dL/dh_t",
            [Curve(part, np.array(places), row[0]) for part, row in zip(parts, measure["credit"])],
            note=f"Of {measure.axes['loss'].places[0]}.",
        )
        if whole else
        Heat(
            "Credit of each state for each loss", "state at time step t", "loss at time step s", "norm of dL_s/dh_t",
            places, places, measure["credit"][0], log=True, window=trained or None,
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


def _trained(measure: Measure) -> int:
    """The num_steps trained with; 0 if the measure does not tell."""
    about = measure.subject
    return int(about.get("trained", {}).get("num_steps", 0)) if about.get("cut", True) else 0


def _row(part: str, profile: np.ndarray, trained: int) -> tuple[str, ...]:
    if not np.isfinite(profile).all() or not profile.any():
        return part, "-", "-", "-"
    far, half = reach(profile), float(half_life(fitted(profile)[0]))
    told = f"{half:,.1f}" if half <= 2 * len(profile) else "hardly fades"
    kept = percent(share(profile, trained)) if trained else "-"
    return part, told, f"more than {len(profile) - 1}" if far is None else f"{far}", kept
