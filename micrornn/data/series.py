"""A series of numbers for a forecast: what is read and what is to be said at each time step, scaled.

Scaling    values to what a network reads and says, and back; fitted on the part that is learned from
naive      the value of now, or of the same season before, for every step ahead
ahead      what came
parts      a series in parts by time

Time steps are counted from 0; at time step t the values of 0..t are known, and those of t+1..t+horizon are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.errors import DataError
from micrornn.schema import Rule, check_table

_NUMBERS = Rule(list, items=Rule(float, finite=True), most=10**6)


def naive(values: np.ndarray, at: np.ndarray, horizon: int, season: int = 1) -> np.ndarray:
    """(len(at), horizon, columns) of values (T, columns): h steps after t, what was at the last time step known then
    that lies whole seasons before t + h. With season 1 that is the value at t.

    Hyndman, Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 2021, section 5.2.
    """
    ahead = np.arange(1, horizon + 1)
    return values[at[:, None] + ahead - season * -(-ahead // season)]


def ahead(values: np.ndarray, at: np.ndarray, horizon: int) -> np.ndarray:
    """(len(at), horizon, columns): the values that followed."""
    return values[at[:, None] + np.arange(1, horizon + 1)]


@dataclass(frozen=True)
class Scaling:
    """What a network reads of D columns, and what it says of the first K of them.

    It reads (value - mean) / sd. With `log`, of the logarithms. With a `difference` of d, of value[t] - value[t - d];
    and what it says of h steps ahead is then the difference to the last value known that lies a multiple of d before.

    mean, sd            (D,) of what is read, over the part that is learned from
    out_mean, out_sd    (horizon, K) of what is to be said, over the same part
    """

    log: bool
    difference: int
    mean: np.ndarray
    sd: np.ndarray
    out_mean: np.ndarray
    out_sd: np.ndarray

    @classmethod
    def fitted(cls, values: np.ndarray, log: bool, difference: int, targets: int, horizon: int) -> Scaling:
        """values (T, D): the part that is learned from, no less and no more."""
        blank = cls(log, difference, np.zeros(values.shape[1]), np.ones(values.shape[1]), *np.ones((2, 1, 1)))
        read = blank.read(values)
        at = np.arange(difference, len(values) - horizon)
        said = blank.said(values[:, :targets], at, horizon, fit=True)
        return cls(log, difference, *_moments(read), *_moments(said))

    @property
    def horizon(self) -> int:
        return len(self.out_mean)

    def read(self, values: np.ndarray) -> np.ndarray:
        """What is read at each time step from `difference` on: (T - difference, D)."""
        u = self._in(values)
        return (u[self.difference :] - (u[: len(u) - self.difference] if self.difference else 0) - self.mean) / self.sd

    def said(self, values: np.ndarray, at: np.ndarray, horizon: int = 0, fit: bool = False) -> np.ndarray:
        """What is to be said at time steps `at` of values (T, K): (len(at), horizon, K)."""
        u, horizon = self._in(values), horizon or self.horizon
        said = ahead(u, at, horizon) - self._base(u, at, horizon)
        return said if fit else (said - self.out_mean) / self.out_sd

    def scaled(self, forecasts: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """What a network would say whose forecasts (len(at), horizon, K) are these."""
        said = self._in(forecasts) - self._base(self._in(values), at, self.horizon)
        return (said - self.out_mean) / self.out_sd

    def values(self, said: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """What is forecast, when this is said: (len(at), horizon, K)."""
        u = said * self.out_sd + self.out_mean + self._base(self._in(values), at, self.horizon)
        return np.exp(u) if self.log else u

    def _in(self, values: np.ndarray) -> np.ndarray:
        return np.log(values) if self.log else values

    def _base(self, u: np.ndarray, at: np.ndarray, horizon: int) -> np.ndarray | float:
        return naive(u, at, horizon, self.difference) if self.difference else 0.0

    def to_dict(self) -> dict[str, Any]:
        names = ("mean", "sd", "out_mean", "out_sd")
        arrays = {name: getattr(self, name).ravel().tolist() for name in names}
        return {"log": self.log, "difference": self.difference, "horizon": self.horizon} | arrays

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Scaling:
        """DataError where it is not what `to_dict` gave."""
        rules = {"log": Rule(bool), "difference": Rule(int, low=0), "horizon": Rule(int, low=1)}
        rules |= dict.fromkeys(("mean", "sd", "out_mean", "out_sd"), _NUMBERS)
        found = check_table(found, rules, "scaling", DataError)
        mean, sd, out_mean, out_sd = (np.array(found[name]) for name in ("mean", "sd", "out_mean", "out_sd"))
        if mean.shape != sd.shape or out_mean.shape != out_sd.shape or len(out_mean) % found["horizon"]:
            raise DataError("scaling: its numbers do not fit together")
        said = (found["horizon"], -1)
        return cls(found["log"], found["difference"], mean, sd, out_mean.reshape(said), out_sd.reshape(said))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation over the first axis; of what never changes 1, so that it is 0 for the network."""
    sd = values.std(axis=0)
    return values.mean(axis=0), np.where(sd > 1e-12 * np.abs(values).max(axis=0, initial=0), sd, 1.0)


def parts(count: int, fractions: Sequence[float]) -> list[int]:
    """Where each part of a series ends: the first is what the fractions of those after it leave."""
    ends, end = [], count
    for fraction in reversed(fractions):
        ends.append(end)
        end -= round(count * fraction)
    return [end, *reversed(ends)]
