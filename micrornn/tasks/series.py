"""A series from a table: at each time step, what its columns will be some steps later, or whether they will be higher.

    read              x_1   x_2   x_3  ...  x_t
    to be said                              x_t+1 ... x_t+horizon

In step, on windows of a series in lanes, the state carried. The series is split by time: what is learned from comes
first, then what chooses best.ckpt, then what the network is judged by. Beside each score stands that of a naive
forecast, and a verdict says whether the network is better than it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from micrornn import device
from micrornn.config import setting
from micrornn.data import Padded
from micrornn.data.columns import Chosen, Columns, Row, TableSettings, read_columns, row_reader
from micrornn.data.forecasts import WAYS, Compared
from micrornn.data.series import Scaling, ahead, parts
from micrornn.errors import CheckpointError, ConfigError, DataError, counted
from micrornn.evaluate import losses
from micrornn.ops import binary_cross_entropy, mean_squared_error
from micrornn.schema import Rule
from micrornn.tasks.following import Follower
from micrornn.tasks.lookahead import Lookahead, Stretch
from micrornn.tasks.parts import LARGEST, Features, defaults
from micrornn.tasks.task import Confusion, Forecast, Judged, Metric, Progress, Slices, State, Task


@dataclass(frozen=True)
@defaults(batch_size=4, num_steps=24, hidden_size=32, lr=0.003, val_fraction=0.15, val_every=50, patience=20)
class SeriesSettings(TableSettings):
    """Of Config: windows of num_steps in batch_size lanes."""

    predict: str = setting(
        "value", "What to forecast: values, or the direction: whether they will be higher than they are now.",
        choices=("value", "direction"),
    )  # fmt: skip
    horizon: int = setting(
        1, "Time steps ahead: all values up to there, or the direction to there.", low=1, high=10_000
    )  # fmt: skip
    season: int = setting(
        0, "Time steps of a season, such as 12 of months: what a seasonal naive forecast repeats. 0: there is none.",
        low=0, high=10**6,
    )  # fmt: skip
    log: bool = setting(False, "Read and forecast logarithms: of what grows by a share of itself.")
    difference: int = setting(
        0, "Read and forecast differences to the value N time steps before, such as 1 or a season: for a trend. "
        "0: the values themselves.",
        low=0, high=10**6,
    )  # fmt: skip
    test_fraction: float = setting(
        0.15, "Part of the series, its end, that nothing but `micrornn eval` looks at.", low=0, below=1
    )


class Series(Task):
    name, about = "series", "in step: what the columns of a table will be, or whether they will be higher"
    Settings = SeriesSettings
    uses = ("num_steps", "state", "encoding", "val_fraction")
    shape = (*Task.shape, "predict")
    takes = "a row of the table, or its columns that are read, with commas between"
    RULES = {"columns": Rule(dict), "scaling": Rule(dict), "known": Rule(dict)}
    config: SeriesSettings
    batches: Slices

    @classmethod
    def prepare(cls, config: Any, files: Sequence[Path] = (), progress: Progress | None = None) -> Series:
        cls.require_used(config)
        if not files:
            raise DataError("the task series learns from a table; name its file, and its column with `target`")
        return cls(config, read_columns(files, config, config.target, config.inputs))

    @classmethod
    def example(cls, config: Any) -> Series:
        """Two waves, the first of which is forecast."""
        least = 2 * config.batch_size * config.num_steps + config.difference + config.horizon + config.season
        count = round(least / max(0.05, 1 - config.val_fraction - config.test_fraction)) + 50
        t = np.arange(count)
        values = np.stack([2 + np.sin(0.7 * t), 2 + np.cos(0.3 * t)], axis=1)
        chosen = Chosen(("wave", "other"), (0, 1), 1, -1, 2)
        return cls(
            config, Columns(chosen, values, [(Path("made up"), n) for n in range(1, count + 1)], [""] * count, {})
        )

    def __init__(self, config: SeriesSettings, data: Columns):
        super().__init__(config)
        self.data, self.chosen, values = data, data.chosen, data.values
        self.require_fit(data)
        self.ends = parts(len(values), (config.val_fraction, config.test_fraction))
        self.job = Lookahead.fitted(config, self.chosen.names[: self.chosen.targets], values[: self.ends[0]])
        self.batches = self.job.lanes(values, np.arange(config.difference, self.ends[0] - config.horizon))
        self.metrics = self._metrics()  # type: ignore[misc]
        self.fingerprint = hashlib.sha256(values.tobytes() + repr(self.chosen.names).encode()).hexdigest()

    @classmethod
    def from_meta(cls, config: Any, meta: Mapping[str, Any]) -> Series:
        task = cls.without_data(config)
        try:
            task.chosen, scaling = Chosen.from_dict(meta["columns"]), Scaling.from_dict(meta["scaling"])
            task.job = Lookahead(config, task.chosen.names[: task.chosen.targets], scaling, meta["known"])
            if len(scaling.mean) != len(task.chosen.names):
                raise DataError("scaling: its numbers do not fit the columns")
        except DataError as error:  # damaged, or mended by hand
            raise CheckpointError(str(error)) from None
        task.metrics = task._metrics()  # type: ignore[misc]
        return task

    def meta(self) -> dict[str, Any]:
        return {"columns": self.chosen.to_dict(), "scaling": self.job.scaling.to_dict(), "known": self.job.known}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        Chosen.from_dict(meta["columns"]), Scaling.from_dict(meta["scaling"])

    def _metrics(self) -> tuple[Metric, ...]:
        if self.job.direction:
            return Metric("loss", "nats per forecast"), Metric("accuracy", "", "higher")
        each = [Metric(error + end) for end in self.job.ends for error in ("rmse", "mae", "mase")]
        return Metric("loss", "squared error, scaled"), *each

    def network(self) -> Features:
        loss = binary_cross_entropy if self.job.direction else mean_squared_error
        return Features(self.config, len(self.chosen.names), self.job.output_size, loss)

    # What the network is judged by

    def validation(self) -> Stretch | None:
        return self.job.stretch(self.data.values, *self.ends[:2]) if self.config.val_fraction else None

    @cached_property
    def judged(self) -> Stretch:
        """What `eval` looks at: the end of the series."""
        if not hasattr(self, "data"):
            raise ConfigError("what this network is to be judged by is not there; name FILES")
        first = 1 if self.config.test_fraction else 0
        if not first and not self.config.val_fraction:
            raise ConfigError("nothing is held out (`test_fraction=0`, `val_fraction=0`)")
        return self.job.stretch(self.data.values, *self.ends[first : first + 2])

    def batches_of(self, files: Sequence[Path]) -> Stretch:
        data = read_columns(files, self.config, self.config.target, self.config.inputs)
        if len(data.chosen.names) != len(self.chosen.names):
            raise DataError(f"{files[0]} has other columns than {', '.join(self.chosen.names)}")
        self.require_fit(data)
        self.data, self.judged = data, self.job.stretch(data.values, 0, len(data.values))
        return self.judged

    def require_fit(self, data: Columns) -> None:
        """DataError where a row holds what no network can read."""
        wrong = np.argwhere((np.abs(data.values) > LARGEST) | (self.config.log & (data.values <= 0)))
        if len(wrong):
            path, line = data.where[wrong[0][0]]
            values = data.values[wrong[0][0]]
            helps = bool(self.config.log and (np.abs(values) <= LARGEST).all())
            what = self._unfit(values, data.chosen.names)
            raise DataError(f"{path}:{line}: {what}; leave {'`log` out, or ' * helps}such rows out")

    def _unfit(self, values: np.ndarray, names: Sequence[str] = ()) -> str:
        """What is wrong with a row; "" if nothing is."""
        if self.config.log and (values <= 0).any():
            n = int(np.argmax(values <= 0))
            return f"{(names or self.chosen.names)[n]} is {values[n]:g}, which has no logarithm (`log`)"
        if (np.abs(values) > LARGEST).any():
            n = int(np.argmax(np.abs(values)))
            return f"{(names or self.chosen.names)[n]} is {values[n]:g}, and at most {LARGEST:g} can be read"
        return ""

    def outputs(self, model: Any, stretch: Stretch) -> tuple[float, np.ndarray]:
        """(loss, what the network says at stretch.at: (len(at), output_size))."""
        found: list[np.ndarray] = []
        stretch.window, stretch.state = 0, None

        def look(inputs: Any, targets: Padded, state: State | None) -> None:
            found.append(device.host(model(inputs, state)[0].data)[targets.mask])

        model.train(False)
        loss = float(np.mean(list(losses(model, stretch, look))))
        return loss, np.concatenate(found).astype(np.float64)

    # How good it is

    @property
    def baseline(self) -> tuple[str, float] | None:  # type: ignore[override]
        held_out = self.validation()
        return None if held_out is None else self.job.loss_of_plain(held_out)

    @property
    def baselines(self) -> Mapping[str, tuple[str, float]]:
        none = np.zeros((len(self.judged.at), self.job.output_size))
        return self._beside(self.job.compare(none, self.judged), self.judged)

    def _beside(self, found: Compared, stretch: Stretch) -> dict[str, tuple[str, float]]:
        return {self.metrics[0].name: self.job.loss_of_plain(stretch)} | found.baselines

    def evaluate(self, model: Any, batches: Any = None) -> dict[str, float]:
        stretch = batches or self.judged
        loss, said = self.outputs(model, stretch)
        return {self.metrics[0].name: loss} | self.job.compare(said, stretch).scores

    def judge(self, model: Any, files: Sequence[Path] = (), progress: Progress | None = None, **options: Any) -> Judged:
        self.refuse(options)
        stretch = self.batches_of(files) if files else self.judged
        at, (loss, said) = stretch.at, self.outputs(model, stretch)
        found = self.job.compare(said, stretch)
        scores, baselines = ({self.metrics[0].name: loss} | found.scores), self._beside(found, stretch)
        span = self.data.span(int(at[0]) + 1, int(at[-1]) + 1 + self.config.horizon)
        values = {"verdict": found.verdict, "beats_baseline": found.better, "forecasts": len(at)}
        rows, words = {"judged on": f"{counted(len(at), 'forecast')}, {span}"}, {}
        if self.job.direction:
            low, high = found.interval
            words["accuracy"] = f"{scores['accuracy']:.4g}, of which chance makes {low:.4g} to {high:.4g} (95 %)"
            values["interval"] = [low, high]
        else:
            each = [f"{name} {e['mae']:.4g} (RMSE {e['rmse']:.4g})" for name, e in found.plain.items()]
            rows["no network"] = "MAE " + ", ".join(each)
            values["plain"] = found.plain
        return Judged(scores, baselines, rows | {"verdict": found.verdict}, values, words)

    def confusion(self, model: Any) -> Confusion | None:
        """Of directions, of all columns together."""
        if not self.job.direction:
            return None
        counts, values = np.zeros((2, 2), np.int64), self.judged.values[:, : self.chosen.targets]
        np.add.at(
            counts,
            (self.job.up(values, self.judged.at).astype(int), (self.outputs(model, self.judged)[1] > 0).astype(int)),
            1,
        )
        return Confusion(WAYS, counts)

    def forecast(self, model: Any) -> Forecast | None:
        """Of the first column, as many steps ahead as are asked for."""
        if self.job.direction:
            return None
        stretch = self.judged
        came = ahead(stretch.values, stretch.at, self.config.horizon)
        ours = self.job.values(self.outputs(model, stretch)[1], stretch)
        name, plain = list(self.job.plain(stretch).items())[-2]
        title = f"{self.chosen.names[0]}, {counted(self.config.horizon, 'time step')} ahead (baseline: {name})"
        return Forecast(title, *(rows[:, -1, 0] for rows in (came, ours, plain)))

    # How it is used

    def read_inputs(self, lines: Iterable[str], where: str) -> Iterator[tuple[int, Row]]:
        return row_reader(self.chosen, self.config, self._unfit)(lines, where)

    def predict(self, model: Any, examples: Iterable[Row], proba: bool = False,
                at_hand: Any = None) -> Iterator[dict[str, Any]]:  # fmt: skip
        """After each row, what comes: of the first rows, whose difference to rows before is not known, "-"."""
        follower = self._follower(model)
        for row in examples:
            follower.read(row.values)
            found: dict[str, Any] = {"time": row.time} if row.time else {}
            yield found | self._answer(follower, proba)

    def _follower(self, model: Any) -> Follower:
        return Follower(model, self.job.scaling, self.chosen.targets)

    def _answer(self, follower: Follower, proba: bool) -> dict[str, Any]:
        names = self.chosen.names[: self.chosen.targets]
        if follower.said is None:
            if self.job.direction:
                return {"answer": "-"} | ({"probabilities": dict.fromkeys(names)} if proba else {})
            return {"answer": "-", "forecast": {name: [None] * self.config.horizon for name in names}}
        if self.job.direction:
            shares = {name: 1 / (1 + math.exp(-value)) for name, value in zip(names, follower.said)}
            words = [WAYS[share > 0.5] for share in shares.values()]
            return {"answer": " ".join(words)} | ({"probabilities": shares} if proba else {})
        rows = follower.ahead()
        answer = " ".join(f"{value:.6g}" for value in rows.ravel())
        return {"answer": answer, "forecast": {name: rows[:, n].tolist() for n, name in enumerate(names)}}

    def go_on(self, model: Any, examples: Iterable[Row], steps: int) -> Iterator[dict[str, Any]]:
        """The `steps` rows that follow the last example. Beyond `horizon` steps what was forecast is read as if it had
        come. ConfigError, DataError where that cannot be."""
        names, horizon = self.chosen.names, self.config.horizon
        if self.job.direction:
            raise ConfigError("this network forecasts directions, and cannot continue a series")
        if steps > horizon and len(names) > self.chosen.targets:
            raise ConfigError(
                f"this network forecasts {counted(horizon, 'time step')}; for more it would have to know what "
                f"{', '.join(names[self.chosen.targets :])} will be"
            )
        follower, read, done = self._follower(model), 0, 0
        for row in examples:
            follower.read(row.values)
            read += 1
        if follower.said is None:
            raise DataError(
                f"there are {counted(read, 'row')}; to forecast takes {self.config.difference + 1:,} or more"
            )
        while True:
            rows = follower.ahead()
            for row in rows[: steps - done]:
                done += 1
                answer = " ".join(f"{value:.6g}" for value in row)
                yield {"ahead": done, "answer": answer, "forecast": dict(zip(names, row.tolist()))}
            if done == steps:
                return
            for row in rows:
                follower.read(row)

    def told(self, model: Any) -> dict[str, str]:
        names, config = self.chosen.names, self.config
        what = "whether it is higher" if self.job.direction else "forecast"
        ends = [0, *self.ends]
        spans = [self.data.span(a, b) if b > a else "nothing" for a, b in itertools.pairwise(ends)]
        scaled = ("logarithms, " if config.log else "") + (
            f"differences to {counted(config.difference, 'time step')} before, " if config.difference else ""
        )
        return super().told(model) | self.data.told | {
            what: f"{', '.join(names[: self.chosen.targets])}, {counted(config.horizon, 'time step')} ahead",
            "read": f"{', '.join(names)}; {scaled}scaled by mean and deviation of what is learned from",
            "learned from": f"{counted(self.ends[0], 'row')}, {spans[0]}",
            "for best.ckpt": f"{counted(self.ends[1] - self.ends[0], 'row')}, {spans[1]}",
            "for eval": f"{counted(self.ends[2] - self.ends[1], 'row')}, {spans[2]}",
        }  # fmt: skip

    def drawing(self) -> str:
        """A lane of the first window: what is read, and what is to be said."""
        inputs, said, job = self.batches.inputs, self.batches.targets, self.job
        lanes, d, out = self.config.batch_size, len(self.chosen.names), job.output_size
        what = "up?" if job.direction else f"{counted(self.config.horizon, 'step')} ahead"
        first = {"said": said[:5, 0, 0], "read": inputs[:5, 0, 0]}
        rows = {name: "".join(f"{value:7.2f}" for value in row) + "  ..." for name, row in first.items()}
        arrows = "      ^" * len(first["read"])
        cell = f"{self.config.cell_title} {self.config.hidden_size}" + ", state carried" * self.batches.carried
        wide = max(len(cell), 28)
        return "\n".join([
            f"{f'to be said ({lanes}, {out}), {what}':<{wide}}{rows['said']}",
            f"{'':<{wide}}{arrows}",
            f"{cell:<{wide}}" + "  --> o" + "  --> o" * (len(first["read"]) - 1),
            f"{'':<{wide}}{arrows}",
            f"{f'read ({lanes}, {d}), scaled':<{wide}}{rows['read']}",
        ])  # fmt: skip
