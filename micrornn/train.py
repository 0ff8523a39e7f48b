"""The training loop: yields a report per update and prints nothing.

Training(config, data)    model, optimizer, schedule, position in the data; all that a checkpoint holds
.update()                 one batch forward and backward, one update of the weights -> Report
.validate()               mean loss over the held-out part; changes nothing that training uses
run(training, folder)     update after update, with validations and checkpoints, until a limit is reached

Only a Task (tasks/task.py) knows what is learned, and from what.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from micrornn import bptt, device, kernels
from micrornn.calls import checked
from micrornn.cells import fingerprint
from micrornn.checkpoint import RunFolder
from micrornn.config import Config, changeable, may_change, paced
from micrornn.divergence import Divergence, advice, in_validation
from micrornn.errors import CheckpointError, ConfigError, DivergedError, counted, quoted
from micrornn.initial import initialize
from micrornn.inspect.watched import flow_row
from micrornn.keeping import Keeper
from micrornn.optim import Optimizer, Schedule, global_norm
from micrornn.reports import Pending
from micrornn.reports import Report as Report
from micrornn.runs import load_parameters, warn_of_other_cell, why_other
from micrornn.snapshot import check_meta, fit, require_finite_arrays, settings_of
from micrornn.tasks import Metric, Task, find, losses

LIMITS = changeable("limit")


class Training:
    """Everything that changes while a model learns.

    data    a Task with its data; or `Tokens`, for the default task, which learns from text

    `update` makes one update, from a batch of inputs and targets (seq_len, batch_size, ...), and returns a report:

    >>> import micrornn as mr
    >>> task = mr.tasks.find("adding")
    >>> settings = task.Settings(hidden_size=4, batch_size=2, num_steps=5)
    >>> training = mr.Training(settings, task.prepare(settings))
    >>> training.update().update
    1
    """

    @checked
    def __init__(self, config: Config, data: Any):
        if not isinstance(config, Config):
            raise ConfigError(f"Training: the settings are a Config, such as Config(cell='gru'), not {quoted(config)}")
        device.require(config.device)
        kernels.set_matmul_precision(config.device, config.matmul_precision)
        self.config = config
        self.task: Task = data if isinstance(data, Task) else find()(config, data)
        self.segment_steps = self.task.segment_steps  # time steps that are on a tape at once
        self.model = self.task.network()
        initialize(self.model, config)
        self.divergence = Divergence(self.model)
        self.optimizer = Optimizer(self.model.flat, config.optimizer)
        self.batches = self.task.batches
        self.way = bptt.find(config, self.model, self.batches, self.segment_steps)
        self.num_updates = last_update(config, self.way.per_epoch)
        self.epoch_updates = self.way.per_epoch or self.batches.num_windows  # if it varies, an upper bound
        self.schedule = Schedule(config.schedule, self.num_updates, self.epoch_updates)
        self.updates, self.seconds, self.tokens = 0, 0.0, 0
        self.warm = False  # the first update of a process compiles kernels, and is not counted in `seconds`
        self.whole = True  # False during an update: then the state must not be saved
        self.watch(config.watch_gradients)
        self.pending: Pending | None = None
        chosen = next((metric for metric in self.task.metrics[1:] if metric.name == self.task.chooses), None)
        self.chooses: Metric | None = chosen  # the metric that chooses best.ckpt; None: the loss does
        self.best_val_loss: float | None = None  # the validation loss of the best checkpoint
        self.best_merit = math.inf  # how good that checkpoint is by what chooses it; less is better
        self.stale = 0  # validations in a row without a new best
        self.validates = self.task.validation() is not None
        if config.patience and not self.validates:
            raise ConfigError("`patience` counts validations, and `val_fraction=0` leaves nothing to validate on")
        self.history: list[dict[str, Any]] = []  # the reports of the updates at which there was a validation

    def reschedule(self, schedule: str) -> None:
        """Use another schedule of the learning rate from now on."""
        self.config = dataclasses.replace(self.config, schedule=schedule)
        self.schedule = Schedule(schedule, self.num_updates, self.epoch_updates)

    def watch(self, every: int) -> None:
        """From now on, record how the gradient flowed back at the first update and at every `every`-th, as the setting
        watch_gradients does; 0: never. Training stays the same to the bit. ConfigError where it cannot be recorded."""
        self.config = dataclasses.replace(self.config, watch_gradients=every)
        if self.config.watch_gradients and self.config.granularity != "sequence":
            raise ConfigError(
                f"`watch_gradients` needs `granularity=sequence`, not {self.config.granularity}: "
                "it reads what the op of a whole sequence has saved"
            )
        if self.config.watch_gradients and self.segment_steps < self.config.num_steps:
            raise ConfigError(
                f"`watch_gradients` needs all {counted(self.config.num_steps, 'time step')} of a window at once, and "
                f"`memory_budget` allows {self.segment_steps:,}; leave one of the two out, or lower `num_steps`"
            )

    def update(self) -> Report:
        """One batch forward and backward, and one update of the weights. DivergedError leaves everything as it was."""
        start, self.whole = time.perf_counter(), False
        if not self.model.training:
            self.model.train()
        batches = self.batches
        position = batches.epoch, batches.window, batches.state
        step = self.way.next(self.updates)
        value = step.backward()
        norm = global_norm(self.model.flat)
        what = self.divergence.found(step, value, norm, self.updates + 1)
        if what:
            batches.epoch, batches.window, batches.state = position
            self.whole = True
            raise DivergedError(f"update {self.updates + 1}: {what}")
        gradients, config = self._watched(step, value), self.config
        lr, scale, limit = paced(config, self.schedule(self.updates), norm)
        self.optimizer.update(lr, scale, limit)
        self.way.commit(step)
        self.updates += 1
        took = time.perf_counter() - start
        self.seconds += took if self.warm else 0.0
        size = self.task.batch_tokens * self.way.batches_read
        self.tokens += size
        report = Report(self.updates, self.tokens, self.seconds, value, None, lr, norm, size / took)
        self.pending = Pending(report, gradients)
        self.warm = self.whole = True
        return report

    def _watched(self, step: bptt.Step, value: float) -> dict[str, Any] | None:
        """The row for gradients.jsonl (inspect/watched.py), if this update is one to be watched; else None."""
        update, every = self.updates + 1, self.config.watch_gradients
        if not every or (update % every and update != 1):
            return None
        assert step.whole is not None
        row = flow_row(step.whole.tape, self.task.num_losses / step.dloss)
        return {"update": update, "every": every, "loss": value} | row

    def validate(self, stopped: Callable[[], bool] = lambda: False) -> float | None:
        """Mean loss over the held-out part, for text in nats per token, with the state carried from batch to batch.
        None if nothing is held out, or if `stopped()` becomes true meanwhile."""
        batches = self.task.validation()
        if batches is None:
            return None
        self.model.train(False)
        total = 0.0
        for loss in losses(self.model, batches):
            if stopped():
                return None
            total += loss
        return total / batches.num_windows

    def judge(self, report: Report, stopped: Callable[[], bool]) -> Report:
        """The report with the result of a validation: the loss, and the metric that chooses best.ckpt."""
        if self.chooses is None or stopped():
            return dataclasses.replace(report, val_loss=self.validate(stopped))
        found = self.task.evaluate(self.model) if self.validates else {}
        loss, score = found.get(self.task.metrics[0].name), found.get(self.chooses.name)
        score = None if score is None or math.isnan(score) else score  # NaN: there was nothing to count
        return dataclasses.replace(report, val_loss=loss, score=score)

    def merit(self, row: Mapping[str, Any]) -> float:
        """How good the validation in a report is; less is better."""
        if self.chooses is None:
            return float(row["val_loss"])
        score = row.get("score")
        return math.inf if score is None else (-score if self.chooses.better == "higher" else score)

    @property
    def best_score(self) -> float | None:
        """The best value of the metric that chooses best.ckpt; None where that is the loss, or there is none."""
        if self.chooses is None or not math.isfinite(self.best_merit):
            return None
        return -self.best_merit if self.chooses.better == "higher" else self.best_merit

    def record(self, report: Report) -> bool:
        """Add a report with a validation to the history. Returns whether it is the best so far. DivergedError if its
        loss is not finite."""
        if report.val_loss is None:  # nothing is held out
            return False
        if not math.isfinite(report.val_loss):
            batches = self.task.validation()
            assert batches is not None
            what = f"update {report.update}: the validation loss is {report.val_loss}"
            raise DivergedError(what + in_validation(self.model, batches))
        row = report.to_dict()
        best = self.best_val_loss is None or self.merit(row) < self.best_merit
        self.history.append(row)
        self.stale = 0 if best else self.stale + 1
        if best:
            self.best_val_loss, self.best_merit = report.val_loss, self.merit(row)
        return best

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, meta): all that is needed to use the model, or to continue the training exactly."""
        arrays = {f"parameter/{name}": device.host(p.data) for name, p in self.model.flat.parameters.items()}
        arrays |= {f"optimizer/{name}": device.host(array) for name, array in self.optimizer.state.items()}
        for n, array in enumerate(self.batches.state or ()):
            arrays[f"carried/{n}"] = device.host(array)
        kept, way = self.way.snapshot()
        arrays |= {f"backprop/{name}": array for name, array in kept.items()}
        rnn = self.model.rnn  # None where a network has no recurrent layers
        meta = {
            "task": self.task.name,
            "config": self.config.to_dict(),
            **({"cell_file": fingerprint(rnn.cell)} if rnn is not None and rnn.cell.file else {}),
            **self.task.meta(),
            "text": self.task.fingerprint,
            "updates": self.updates,
            "tokens": self.tokens,
            "backprop": way,
            "seconds": self.seconds,
            "epoch": self.batches.epoch,
            "window": self.batches.window,
            "best_val_loss": self.best_val_loss,
            "history": self.history,
            "pending": None if self.pending is None else dataclasses.asdict(self.pending),
        }
        return arrays, meta

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], diverged: bool = False,
                where: str = "the checkpoint") -> None:  # fmt: skip
        """Continue from a snapshot. CheckpointError if it is of another model or another text, or if a setting differs
        that must stay the same in a run (config.may_change)."""
        meta = check_meta(meta, where)
        if meta["task"] != self.task.name:
            raise CheckpointError(f"{where} is of the task {meta['task']}, not of {self.task.name}")
        if meta["text"] != self.task.fingerprint:
            raise CheckpointError(
                f"{why_other(self.task.vocab, meta)}, so it cannot be resumed to the bit; "
                "give the same text (`resume=RUN` FILES), or start a new run"
            )
        self._require_fitting(arrays, meta, may_change(diverged))
        load_parameters(self.model, arrays)
        warn_of_other_cell(self.model, meta, "the checkpoint")
        for name, array in self.optimizer.state.items():
            array[...] = arrays[f"optimizer/{name}"]
        count, table = sum(key.startswith("carried/") for key in arrays), kernels.of(self.model.flat.data)
        carried = [table.asarray(arrays[f"carried/{n}"]) for n in range(count)]
        self.batches.state = tuple(carried) or None
        self.batches.epoch, self.batches.window = meta["epoch"], meta["window"]
        self.updates = self.optimizer.updates = meta["updates"]
        self.tokens = meta.get("tokens", self.updates * self.task.batch_tokens)  # an old one lacks it
        kept = {name.removeprefix("backprop/"): array for name, array in arrays.items() if name.startswith("backprop/")}
        self.way.restore(kept, meta.get("backprop", {}))
        self.seconds, self.best_val_loss = meta["seconds"], meta["best_val_loss"]
        self.history, pending = list(meta["history"]), meta["pending"]
        self.pending = None if pending is None else Pending(Report(**pending["report"]), pending["gradients"])
        if self.pending is not None:  # a signal may have come after it was added to the history
            self.history = [row for row in self.history if row["update"] < self.updates]
            self.best_val_loss = min(self.history, key=self.merit)["val_loss"] if self.history else None
        merits = [self.merit(row) for row in self.history]
        self.stale = len(merits) - 1 - merits.index(min(merits)) if merits else 0
        self.best_merit = min(merits, default=math.inf)
        if self.chooses is None and self.best_val_loss is not None:
            self.best_merit = self.best_val_loss

    def _require_fitting(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any],
                         may_differ: tuple[str, ...]) -> None:  # fmt: skip
        """CheckpointError if a snapshot is not of this model, with these settings, on this text."""
        parameters, state = self.model.flat.parameters, self.optimizer.state
        fit(arrays, {f"parameter/{name}": (p.shape, p.dtype) for name, p in parameters.items()}, "parameter/")
        before = settings_of(meta).to_dict()  # an old one lacks what is new
        for name, value in self.config.to_dict().items():
            if name not in may_differ and value != before[name]:
                raise CheckpointError(
                    f"the checkpoint is of another run: its {name} was {quoted(before[name])}, "
                    f"and is now to be {quoted(value)}"
                )
        fit(arrays, {f"optimizer/{name}": (array.shape, array.dtype) for name, array in state.items()}, "optimizer/")
        rnn = self.model.rnn
        if rnn is not None:
            shape = (rnn.num_layers * len(rnn.directions), self.config.batch_size, rnn.hidden_size)
            count = len(rnn.cell.states) if self.batches.carried and meta["updates"] else 0
            fit(arrays, {f"carried/{n}": (shape, self.model.flat.data.dtype) for n in range(count)}, "carried/")
        require_finite_arrays(arrays, ("optimizer/", "carried/", "backprop/"))
        if meta["window"] > self.batches.num_windows:
            raise CheckpointError(
                f"the checkpoint is of another text: it is at window {meta['window']:,} of {self.batches.num_windows:,}"
            )

    def done(self) -> bool:
        """Whether a limit of the configuration is reached."""
        limit = self.config.max_minutes * 60
        return (
            (self.num_updates is not None and self.updates >= self.num_updates)
            or (limit > 0 and self.seconds >= limit)
            or (self.way.per_epoch is None and self._read_enough())
            or self.gave_up()
        )

    def _read_enough(self) -> bool:
        """Whether `epochs` are over, for a way to propagate back whose updates per epoch vary."""
        num_windows, epochs = self.batches.num_windows, self.config.epochs
        return 0 < epochs * num_windows <= self.batches.epoch * num_windows + self.batches.window

    def gave_up(self) -> bool:
        """Whether `patience` ends the run: too many validations in a row without a new best."""
        return 0 < self.config.patience <= self.stale


def last_update(config: Config, per_epoch: int | None) -> int | None:
    """The last update of a run with so many updates in an epoch; None if that is not known beforehand."""
    ends = [config.num_updates, math.ceil(config.epochs * (per_epoch or 0))]
    return min((end for end in ends if end), default=None)


def run(training: Training, folder: RunFolder | None = None,
        stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:  # fmt: skip
    """Update until a limit is reached or `stopped()` is true, and yield a report for each update. Validates every
    `val_every` updates and at the end.

    With a folder, each report is written to its metrics, and a checkpoint is saved at every validation, every half
    minute, and when the loop ends or is left. A DivergedError leaves the last checkpoint as it is. If the run is
    stopped during a validation, the update stays pending, and the resumed run begins with that validation.
    """
    keeper = Keeper(training, folder)
    try:
        while training.pending is not None or not (training.done() or stopped()):
            report = training.pending.report if training.pending is not None else training.update()
            start = time.perf_counter()
            due, best = training.updates % training.config.val_every == 0 or training.done(), False
            if due:
                report = training.judge(report, stopped)
                if report.val_loss is None and training.validates:
                    return
                best = training.record(report)
            keeper.keep(report, due, best)
            training.seconds += time.perf_counter() - start
            yield report
    except DivergedError as error:
        kept = f"; the checkpoint of update {keeper.saved_update} is kept" if folder is not None else ""
        keeper.folder = None  # do not save the weights that diverged
        what, *first = str(error).splitlines()
        words = "\n  ".join([f"{what}{kept}. {advice(training.config)}", *first])
        if folder is not None:
            folder.set_diverged(words)
        raise DivergedError(words) from None
    finally:
        keeper.leave()
