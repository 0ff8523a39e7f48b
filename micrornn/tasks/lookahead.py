"""What a network is to say of a series that it reads, and how good that is, in arrays.

Lookahead    what is read, what is to be said, what takes no network
Stretch      time steps of a series to judge forecasts by
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from micrornn.data import Padded
from micrornn.data.forecasts import Compared, compare_directions, compare_values
from micrornn.data.series import Scaling, ahead, naive
from micrornn.errors import DataError, counted
from micrornn.schema import Rule
from micrornn.tasks.batches import Slices, State

SMALLEST = 1e-150  # change of a series: the squares of smaller ones are 0
WARM = 4  # windows that are read before the first forecast that counts


class Stretch(Slices):
    """Time steps of a series to judge forecasts by, in one lane, with some before them that only warm the state up.

    values    (T, D) of the whole series
    at        the time steps whose forecasts count, in order
    weight    what the mean loss of the batch at hand counts in the mean over all
    """

    def __init__(self, values: np.ndarray, at: np.ndarray, inputs: np.ndarray, targets: np.ndarray, num_steps: int,
                 carried: bool):  # fmt: skip
        super().__init__(inputs, targets, num_steps, carried)
        self.values, self.at, self.weight = values, at, 1.0
        self.mask = np.arange(len(inputs))[:, None] >= len(inputs) - len(at)

    def next(self) -> tuple[np.ndarray, Padded, State | None]:
        inputs, targets, state = super().next()
        mask = self.mask[(self.window - 1) * self.num_steps : self.window * self.num_steps]
        self.weight = float(mask.sum() * self.num_windows / len(self.at))
        return inputs, Padded(targets, mask), state


class Lookahead:
    """Of the first columns of a series, its targets: what they will be `horizon` steps later, or whether higher.

    config     the settings of the task series
    ends       what the name of a metric ends in, of each target
    scaling    fitted on what is learned from
    known      what else is known of that, of each target: naive_error, the mean error of a (seasonal) naive forecast;
               drift, the mean change over a season; up, how often it was higher `horizon` steps later
    """

    def __init__(self, config: Any, names: Sequence[str], scaling: Scaling, known: Mapping[str, list[float]]):
        self.config, self.scaling, self.targets, self.horizon = config, scaling, len(names), config.horizon
        self.ends = [""] if len(names) == 1 else [f" {name}" for name in names]
        self.direction = config.predict == "direction"
        self.output_size = self.targets * (1 if self.direction else self.horizon)
        self.known = {}
        for name in ("naive_error", "drift", "up"):
            row = Rule(list, items=Rule(float, finite=True)).check(known.get(name), f"known: {name}", DataError)
            if len(row) != self.targets:
                raise DataError(f"known: {name} has {counted(len(row), 'number')}, wanted {self.targets}")
            self.known[name] = row
        if scaling.horizon != self.horizon or scaling.out_mean.shape[1] != self.targets:
            raise DataError("scaling: its numbers do not fit the columns")

    @classmethod
    def fitted(cls, config: Any, names: Sequence[str], learned: np.ndarray) -> Lookahead:
        """learned (T, D): the part that is learned from. DataError where that is too short."""
        season, targets = max(1, config.season), learned[:, : len(names)]
        least = max(config.difference, season) + config.horizon + 2
        if len(learned) < least:
            raise DataError(
                f"too few rows are there to learn from: {len(learned):,}, and `horizon`, `difference` and `season` ask "
                f"for {least:,}"
            )
        for name, column in zip(names, targets.T):
            if not np.ptp(column) > max(1e-12 * np.abs(column).max(), SMALLEST):
                raise DataError(
                    f"{name} stays {column[0]:g} in all of the {len(column):,} rows that are learned from, "
                    "and so there is nothing to learn of it; choose another `target`, or give other rows"
                )
        change = targets[season:] - targets[:-season]
        higher = targets[config.horizon :] > targets[: -config.horizon]
        known = {"naive_error": np.abs(change), "drift": change, "up": higher}
        scaling = Scaling.fitted(learned, config.log, config.difference, len(names), config.horizon)
        return cls(config, names, scaling, {name: rows.mean(axis=0).tolist() for name, rows in known.items()})

    def up(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(len(at), targets): whether they are higher `horizon` steps later."""
        k = self.targets
        return values[at + self.horizon, :k] > values[at, :k]

    def _said(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(len(at), output_size): what the network is to say at these time steps."""
        if self.direction:
            return self.up(values, at).astype(self.config.dtype)
        said = self.scaling.said(values[:, : self.targets], at)
        return said.reshape(len(at), -1).astype(self.config.dtype)

    def _read(self, values: np.ndarray, at: np.ndarray) -> np.ndarray:
        return self.scaling.read(values)[at - self.config.difference].astype(self.config.dtype)

    def lanes(self, values: np.ndarray, at: np.ndarray) -> Slices:
        """All time steps `at` to learn from, but for some at the beginning, side by side in lanes."""
        lanes, steps = self.config.batch_size, self.config.num_steps
        length = len(at) // lanes // steps * steps
        if not length:
            raise DataError(
                f"{counted(len(at), 'time step is', 'time steps are')} there to learn from, too few for "
                f"{counted(lanes, 'lane')} of {steps:,}; lower `batch_size` or `num_steps`, or give more rows"
            )
        at = at[len(at) - lanes * length :]
        inputs, said = (
            np.ascontiguousarray(rows.reshape(lanes, length, -1).swapaxes(0, 1))
            for rows in (self._read(values, at), self._said(values, at))
        )
        return Slices(inputs, said, steps, self.config.state == "carried")

    def stretch(self, values: np.ndarray, start: int, end: int) -> Stretch:
        """What is to be said of the rows start..end, whatever of those before them is known."""
        config = self.config
        at = np.arange(max(start - 1, config.difference), end - config.horizon)
        if config.season > 1:
            at = at[at >= config.season - 1]
        if not len(at):
            raise DataError(
                f"{counted(end - start, 'row is', 'rows are')} too few to judge forecasts of "
                f"{counted(config.horizon, 'step')} by; give more, or change `val_fraction` or `test_fraction`"
            )
        last = int(at[-1]) + 1
        there = last - config.difference  # time steps that can be read
        steps = min(config.num_steps, there)
        windows = min(-(-len(at) // steps) + WARM, there // steps)
        if windows * steps < len(at):
            windows, steps = 1, there
        read = np.arange(last - windows * steps, last)
        inputs, said = self._read(values, read)[:, None], self._said(values, read)[:, None]
        return Stretch(values, at, inputs, said, steps, config.state == "carried")

    def plain(self, stretch: Stretch) -> dict[str, np.ndarray]:
        """The forecasts that take no network: (len(at), horizon, targets) each."""
        values, season = stretch.values[:, : self.targets], max(1, self.config.season)
        mean = (values.cumsum(axis=0)[stretch.at] / (stretch.at + 1)[:, None])[:, None]
        found = {"mean so far": mean.repeat(self.horizon, axis=1), "naive": naive(values, stretch.at, self.horizon)}
        name = "seasonal naive" if season > 1 else "naive"
        found[name] = naive(values, stretch.at, self.horizon, season)
        seasons = -(-np.arange(1, self.horizon + 1) // season)
        found[f"{name} with drift"] = found[name] + seasons[:, None] * np.array(self.known["drift"])
        return found

    def values(self, said: np.ndarray, stretch: Stretch) -> np.ndarray:
        """What is forecast, when this is said: (len(at), horizon, targets)."""
        values = stretch.values[:, : self.targets]
        return self.scaling.values(said.reshape(len(said), self.horizon, -1), values, stretch.at)

    def compare(self, said: np.ndarray, stretch: Stretch) -> Compared:
        """What is said, beside what takes no network."""
        truth = stretch.values[:, : self.targets]
        if self.direction:
            return compare_directions(self.ends, said > 0, self.up(truth, stretch.at), self.horizon)
        came = ahead(truth, stretch.at, self.horizon)
        return compare_values(
            self.ends, self.values(said, stretch), came, self.plain(stretch), self.known["naive_error"]
        )

    def loss_of_plain(self, stretch: Stretch) -> tuple[str, float]:
        """The smallest loss that takes no network."""
        values = stretch.values[:, : self.targets]
        if self.direction:
            p, up = np.clip(self.known["up"], 1e-6, 1 - 1e-6), self.up(values, stretch.at)
            return "by how often it went up before", float(-np.where(up, np.log(p), np.log(1 - p)).mean())
        truth = self.scaling.said(values, stretch.at)
        found = {
            name: float(np.square(self.scaling.scaled(rows, values, stretch.at) - truth).mean())
            for name, rows in self.plain(stretch).items()
            if not self.config.log or (rows > 0).all()
        }
        best = min(found, key=lambda name: found[name])
        return f"by the {best} forecast", found[best]
