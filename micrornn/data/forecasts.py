"""What forecasts of a series are worth, beside those that take no network.

errors                RMSE, MAE and MASE of forecasts
chance                how likely it is by chance alone that errors are so much smaller than others
wilson                in which interval a share lies, of which a sample is known
compare_values        forecasts of values beside naive ones -> Compared
compare_directions    forecasts of up or not-up beside the more frequent of the two -> Compared
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from micrornn.student import p_of_t

WAYS = ("not-up", "up")  # a direction in words: what stays is no higher, and not down either
LEVEL = 0.05  # what is less likely is hardly chance


def errors(forecasts: np.ndarray, truth: np.ndarray, scale: float) -> dict[str, float]:
    """Of forecasts (N, horizon): rmse, the root of the mean squared error; mae, the mean absolute error; mase, that as
    a share of the error (`scale`) that a (seasonal) naive forecast of one step, or one season, made on the part that
    was learned from.

    MASE: Hyndman, Koehler, Another look at measures of forecast accuracy, 2006, equation 10.
    """
    error = forecasts - truth
    mae = float(np.abs(error).mean())
    return {"rmse": float(np.sqrt(np.square(error).mean())), "mae": mae, "mase": mae / scale if scale else math.inf}


def chance(ours: np.ndarray, theirs: np.ndarray, horizon: int = 1) -> float:
    """How likely it is that errors (N,) of the same forecasts in order of time differ as much in the mean where none
    are better: two-sided, and 1 where too few tell.

    Errors near in time are alike, and forecasts of `horizon` steps ahead share all but one of their steps with the
    next: the standard error counts their covariance, and as many degrees of freedom are left as forecasts that do not
    overlap, less one. The covariance of few numbers comes out too small; 1 - (lags + 1) / N of it makes up for that.

    Diebold, Mariano, Comparing predictive accuracy, 1995; weights after Newey, West, 1987.
    """
    difference = theirs - ours
    n, mean = len(difference), float(difference.mean())
    most, freedom = max(1, horizon - 1, round(4 * (n / 100) ** (2 / 9))), round(n / horizon) - 1
    if freedom < 1 or n <= most + 1 or mean == 0:
        return 1.0
    d = difference - mean
    variance = float(d @ d) / n
    for lag in range(1, most + 1):
        variance += 2 * (1 - lag / (most + 1)) * float(d[lag:] @ d[:-lag]) / n
    variance /= n * (1 - (most + 1) / n)
    return p_of_t(mean / math.sqrt(variance), freedom) if variance > 0 else 0.0


def wilson(right: float, of: float, z: float = 1.96) -> tuple[float, float]:
    """The interval, of 95 % by itself, for a share of which a sample had `right` of so many.

    Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    p, n = right / of, of
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


@dataclass
class Compared:
    """What forecasts are worth.

    scores       metric -> value
    baselines    metric -> (in words, the value) of the best forecast that takes no network
    plain        the errors of each of those, by name
    interval     of the accuracy of directions, 95 %
    verdict      in words, whether the network is better; better: the same of all columns together
    """

    scores: dict[str, float] = field(default_factory=dict)
    baselines: dict[str, tuple[str, float]] = field(default_factory=dict)
    verdict: str = ""
    better: bool = True
    interval: tuple[float, float] = (0.0, 1.0)
    plain: dict[str, dict[str, float]] = field(default_factory=dict)

    def tell(self, words: str, better: bool) -> None:
        self.verdict += ("; " if self.verdict else "") + words
        self.better &= better


def compare_values(ends: Sequence[str], forecasts: np.ndarray, truth: np.ndarray, plain: Mapping[str, np.ndarray],
                   scale: Sequence[float]) -> Compared:  # fmt: skip
    """Forecasts, truth and each of the `plain` ones (N, horizon, columns).

    ends     what the name of a metric ends in, of each column
    scale    by what the MAE of each column is divided for its MASE
    """
    found = Compared()
    for n, end in enumerate(ends):
        ours, came = forecasts[:, :, n], truth[:, :, n]
        others = {name: errors(rows[:, :, n], came, scale[n]) for name, rows in plain.items()}
        best = min(others, key=lambda name: others[name]["mae"])
        mine, least = errors(ours, came, scale[n]), others[best]
        found.scores |= {metric + end: value for metric, value in mine.items()}
        found.baselines |= {metric + end: (best, value) for metric, value in least.items()}
        found.plain |= {name + end: told for name, told in others.items()}
        theirs = np.abs(plain[best][:, :, n] - came).mean(axis=1)
        p = chance(np.abs(ours - came).mean(axis=1), theirs, forecasts.shape[1])
        what = f"the {best} forecast{' of' + end if end else ''}: MAE {mine['mae']:.4g} against {least['mae']:.4g}"
        if mine["mae"] >= least["mae"]:
            found.tell(f"the network does not beat {what}", False)
        elif p > LEVEL:
            found.tell(f"the network hardly beats {what}, which may be chance (p = {p:.2g})", False)
        else:
            found.tell(f"the network beats {what}, {1 - mine['mae'] / least['mae']:.0%} less", True)
    return found


def compare_directions(ends: Sequence[str], up: np.ndarray, truth: np.ndarray, horizon: int) -> Compared:
    """up, truth (N, columns) bool: what was forecast, and what came. Each column is measured by always saying what came
    more often: what was more frequent before may have become rare, and is beaten by whoever says the other one.

    horizon    forecasts of so many steps ahead share all but one of their steps with the next: so many count as one
    """
    found, right, count = Compared(), up == truth, len(up) / horizon
    always = truth.mean(axis=0) >= 0.5
    for n, end in enumerate(ends):
        share, rate = float(right[:, n].mean()), float((truth[:, n] == always[n]).mean())
        low, high = wilson(share * count, count)
        words = f"always {WAYS[int(always[n])]}"
        what = f"{words}{' of' + end if end else ''}: right in {share:.1%} (95 %: {low:.1%} to {high:.1%})"
        what += f" against {rate:.1%}"
        if share <= rate:
            found.tell(f"the network does not beat {what}", False)
        elif low <= rate:
            found.tell(f"the network hardly beats {what}, which may be chance", False)
        else:
            found.tell(f"the network beats {what}", True)
    share, rate = float(right.mean()), float((truth == always).mean())
    found.scores["accuracy"] = share
    found.interval = wilson(share * count * len(ends), count * len(ends))
    found.baselines["accuracy"] = ("always the more frequent direction", rate)
    return found
