"""The training loop: yields a report per update and prints nothing.

Training(config, tokens)    model, optimizer, schedule, place in the data; all that a checkpoint holds
.update()                   one window forward and backward, one optimizer step -> Report
.validate()                 mean loss over the held-out part; touches nothing that training uses
run(training, folder)       update after update, validating, checkpointing, until a limit is reached
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.bptt import Windows
from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import Lanes, Tokens, split
from micrornn.errors import CheckpointError, ConfigError, DivergedError
from micrornn.evaluate import window_losses
from micrornn.inspect.nonfinite import LOST, Blown, blown
from micrornn.inspect.watched import flow_row
from micrornn.inspect.words import number
from micrornn.ops import cross_entropy
from micrornn.optim import Optimizer, Schedule, clip_scale, global_norm
from micrornn.recompute import Segments
from micrornn.runs import load_parameters
from micrornn.tape import Tape
from micrornn.tasks.text import LanguageModel, require_memory, segment_steps

CHECKPOINT_SECONDS = 30.0
# A run is given up after so many updates in a row with a loss above LOST, if a weight is this large by then. With
# ordinary weights there is hope: an rnn_relu that starts from the identity may be lost for 60 updates and then learn.
LOST_UPDATES, LARGE_WEIGHT = 10, 100.0
LIMITS = ("num_updates", "epochs", "max_minutes")  # what a resumed run may change: where it ends,
PLACE = ("device", "matmul_precision")  # and where it runs


@dataclass(frozen=True)
class Report:
    """What one update did. loss and val_loss in nats per token, averaged over time and lanes; the gradient's norm
    before clipping; seconds and tokens since the start of the run; tokens_per_second of this update."""

    update: int
    tokens: int
    seconds: float
    loss: float
    val_loss: float | None
    lr: float
    grad_norm: float
    tokens_per_second: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Training:
    """Everything that changes while a model learns from a text."""

    def __init__(self, config: Config, tokens: Tokens):
        device.require(config.device)
        kernels.set_matmul_precision(config.device, config.matmul_precision)
        self.config, self.tokens, self.vocab = config, tokens, tokens.vocab
        training, validation = split(tokens, config.val_fraction)
        self.lanes = Lanes(training, config.batch_size, config.num_steps)
        self.segment_steps = segment_steps(config, self.vocab.size)  # time steps that are on a tape at once
        self.val_lanes = (
            Lanes.validation(validation, config.batch_size, self.segment_steps) if config.val_fraction else None
        )
        require_memory(dataclasses.replace(config, num_steps=self.segment_steps), self.vocab.size)
        self.model = LanguageModel(config, self.vocab.size)
        self.optimizer = Optimizer(self.model.flat, config.optimizer)
        self.windows = Windows(self.lanes, carried=config.state == "carried")
        self.num_updates = self._num_updates()
        self.schedule = Schedule(config.schedule, self.num_updates)
        self.updates, self.seconds = 0, 0.0
        self.warm = False  # the first update of a process compiles kernels: that is no time of training
        self.whole = True  # False while an update is under way: such a state is worth no checkpoint
        self.watch_every = 0
        self.gradients: dict[str, Any] | None = None  # what `watch` shows of the last update, if it was watched
        self.lost, self.lost_first = 0, ""  # updates in a row with a loss above LOST; what blew up at the first
        self.best_val_loss: float | None = None
        self.history: list[dict[str, Any]] = []  # the reports of the updates at which there was a validation

    def _num_updates(self) -> int | None:
        """Where the run ends by itself, if it is known beforehand."""
        ends = [self.config.num_updates, math.ceil(self.config.epochs * self.lanes.num_windows)]
        return min((end for end in ends if end), default=None)

    def watch(self, every: int) -> None:
        """From now on `gradients` shows, at the first update and at every so many, how the gradient went back:
        a row of gradients.jsonl (inspect/watched.py); 0: never. Training stays the same to the bit."""
        if every and self.config.granularity != "sequence":
            raise ConfigError(
                f"--watch-gradients needs --granularity sequence, not {self.config.granularity}: "
                "it reads what the op of a whole sequence has saved"
            )
        if every and self.segment_steps < self.config.num_steps:
            raise ConfigError(
                f"--watch-gradients needs all {self.config.num_steps:,} time steps of a window at once, and "
                f"--memory-budget allows {self.segment_steps:,}; leave one of the two away, or lower --num-steps"
            )
        self.watch_every = every

    def update(self) -> Report:
        """One window forward and backward, one step of the optimizer. DivergedError leaves all as it was before."""
        start, self.whole = time.perf_counter(), False
        config, flat = self.config, self.model.flat
        self.model.train()
        place = self.windows.epoch, self.windows.window, self.windows.state
        # cross_entropy is the mean over time and lanes; the sum over time is num_steps times that
        seed = config.num_steps if config.loss == "sum" else 1.0
        window = Segments(self.model, *self.windows.next(), length=self.segment_steps, seed=seed, update=self.updates)
        value = window.backward()
        norm = global_norm(flat)
        what = self._blown_up(window, value, norm)
        if what:
            self.windows.epoch, self.windows.window, self.windows.state = place
            self.whole = True
            raise DivergedError(f"update {self.updates + 1}: {what}")
        self.gradients = self._watched(window, value)
        lr = config.lr * self.schedule(self.updates)
        self.optimizer.update(lr, clip_scale(norm, config.clip_norm), config.clip_value or math.inf)
        self.windows.carry(window.last)
        self.updates += 1
        took = time.perf_counter() - start
        self.seconds += took if self.warm else 0.0
        self.warm = self.whole = True
        size = self.lanes.tokens_per_update
        return Report(self.updates, self.updates * size, self.seconds, value, None, lr, norm, size / took)

    def _blown_up(self, window: Segments, value: float, norm: float) -> str:
        """What is wrong with this update, and in a second line what blew up first; empty if nothing is wrong."""
        if not (math.isfinite(value) and math.isfinite(norm)):
            what = f"loss is {value}" if not math.isfinite(value) else f"gradient's norm is {norm}"
            found, limit = window.blown(), None
            if found is None:  # each number is finite, but not its square
                limit = math.sqrt(np.finfo(self.model.flat.data.dtype).max)
            found = found or window.blown(limit)
            if found is None and self.config.device != "cpu":
                return f"the {what}\nthe processor, which computed this window again, finds nothing that blows up"
            return f"the {what}\n{_first(found, limit)}"
        self.lost = self.lost + 1 if value > LOST else 0
        if self.lost == 1:
            self.lost_first = _first(window.blown(LOST), LOST, f", at update {self.updates + 1}")
        if self.lost < LOST_UPDATES:
            return ""
        sizes = {name: _largest(p.data) for name, p in self.model.flat.parameters.items()}
        name = max(sizes, key=lambda name: sizes[name])
        if sizes[name] < LARGE_WEIGHT:
            return ""
        return (
            f"the loss is {number(value)} nats, for {self.lost} updates it was above {LOST:.0f}, and {name} has values "
            f"of {number(sizes[name])}\n{self.lost_first}"
        )

    def _watched(self, window: Segments, value: float) -> dict[str, Any] | None:
        """What to show of this update, if it is one to be watched."""
        update = self.updates + 1
        if not self.watch_every or (update % self.watch_every and update != 1):
            return None
        assert window.whole is not None
        row = flow_row(window.whole.tape, self.lanes.tokens_per_update / window.seed)
        return {"update": update, "every": self.watch_every, "loss": value} | row

    def validate(self, stopped: Callable[[], bool] = lambda: False) -> float | None:
        """Mean loss in nats per token over the held-out part, its state carried from window to window from the
        start; None if nothing is held out, or if `stopped()` meanwhile."""
        if self.val_lanes is None:
            return None
        self.model.train(False)
        total = 0.0
        for loss in window_losses(self.model, self.val_lanes):
            if stopped():
                return None
            total += loss
        return total / self.val_lanes.num_windows

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, meta): all that is needed to go on to the bit, or to use the model."""
        arrays = {f"parameter/{name}": device.host(p.data) for name, p in self.model.flat.parameters.items()}
        arrays |= {f"optimizer/{name}": device.host(array) for name, array in self.optimizer.state.items()}
        for n, array in enumerate(self.windows.state or ()):
            arrays[f"carried/{n}"] = device.host(array)
        meta = {
            "task": "text",
            "config": self.config.to_dict(),
            "vocab": self.vocab.to_dict(),
            "text": self.tokens.fingerprint,
            "updates": self.updates,
            "seconds": self.seconds,
            "epoch": self.windows.epoch,
            "window": self.windows.window,
            "best_val_loss": self.best_val_loss,
            "history": self.history,
        }
        return arrays, meta

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Go on where a snapshot was taken. CheckpointError if it is of another model or another text."""
        if meta["text"] != self.tokens.fingerprint:
            raise CheckpointError(
                "the text has changed since this run was started, so it cannot be resumed to the bit; "
                "give the same files, or start a new run"
            )
        load_parameters(self.model, arrays)
        before = Config.from_dict(meta["config"], "the checkpoint").to_dict()  # an old one lacks what is new
        for name, value in self.config.to_dict().items():
            was = before[name]
            if name not in LIMITS + PLACE and value != was:
                raise CheckpointError(
                    f"the checkpoint is of another run: its {name} was {was!r}, and is now to be {value!r}"
                )
        for name, array in self.optimizer.state.items():
            array[...] = arrays[f"optimizer/{name}"]
        count, table = sum(key.startswith("carried/") for key in arrays), kernels.of(self.model.flat.data)
        carried = [table.asarray(arrays[f"carried/{n}"]) for n in range(count)]
        self.windows.state = tuple(carried) or None
        self.windows.epoch, self.windows.window = meta["epoch"], meta["window"]
        self.updates = self.optimizer.updates = meta["updates"]
        self.seconds, self.best_val_loss = meta["seconds"], meta["best_val_loss"]
        self.history = list(meta["history"])

    def done(self) -> bool:
        """Whether a limit of the configuration is reached."""
        limit = self.config.max_minutes * 60
        return (self.num_updates is not None and self.updates >= self.num_updates) or (
            limit > 0 and self.seconds >= limit
        )


def run(training: Training, folder: RunFolder | None = None,
        stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:  # fmt: skip
    """Update until a limit is reached or `stopped()`; a report each. Validates every `val_every` updates and at
    the end.

    With a folder, metrics go there line by line, and a checkpoint at every validation, every half minute, and when
    the loop ends or is left. A DivergedError leaves the last checkpoint as it is.
    """
    saved_at, saved_update = time.monotonic(), training.updates
    if folder is not None:
        folder.lock()
    if folder is not None and not folder.has_checkpoint:
        _save(training, folder, best=False)  # a run killed from here on resumes from something
    try:
        while not (training.done() or stopped()):
            report = training.update()
            start = time.perf_counter()
            whole, best = training.updates % training.config.val_every == 0 or training.done(), False
            if whole:
                report = dataclasses.replace(report, val_loss=training.validate(stopped))
                if report.val_loss is not None:
                    if not math.isfinite(report.val_loss):
                        what = f"update {report.update}: the validation loss is {report.val_loss}"
                        raise DivergedError(what + _first_in_validation(training))
                    training.history.append(report.to_dict())
                    best = training.best_val_loss is None or report.val_loss < training.best_val_loss
                    training.best_val_loss = report.val_loss if best else training.best_val_loss
            if folder is not None:
                folder.append_metrics(report.to_dict())
                if training.gradients is not None:
                    folder.gradients.append(training.gradients)
                if whole or time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
                    _save(training, folder, best)
                    saved_at, saved_update = time.monotonic(), training.updates
            training.seconds += time.perf_counter() - start
            yield report
    except DivergedError as error:
        kept = f"; the checkpoint of update {saved_update} is kept" if folder is not None else ""
        saved_update = training.updates  # what led to it is not worth keeping
        what, *first = str(error).splitlines()
        clip = "" if training.config.clip_norm else ", or limit the gradient with --clip-norm"
        advice = f"{what}{kept}. Lower --lr{clip}"
        raise DivergedError("\n  ".join([advice, *first])) from None
    finally:
        if folder is not None and training.whole and training.updates != saved_update:
            _save(training, folder, best=False)


def _first(found: Blown | None, limit: float | None = None, when: str = "") -> str:
    """The second line of an error: what blew up first."""
    what = "blow up" if limit is None else f"be larger than {limit:.3g}"
    return f"first to {what}{when}: {found.words() if found else 'unknown'}"


def _first_in_validation(training: Training) -> str:
    """A second line for an error: what blows up first when the held-out part is read."""
    assert training.val_lanes is not None
    model = training.model if training.config.device == "cpu" else training.model.copy(device="cpu")
    windows = Windows(training.val_lanes)
    for _ in range(training.val_lanes.num_windows):
        inputs, targets, state = windows.next()
        with Tape() as tape:
            logits, last = model(inputs, state)
            loss = cross_entropy(logits, targets=targets)
        windows.carry(last)
        found = blown(tape, loss)
        if found is not None:
            return "\n" + _first(found)
    return ""


def _largest(array: Any) -> float:
    """The largest absolute value; NaN if one is."""
    return float(np.abs(device.host(array)).max())


def _save(training: Training, folder: RunFolder, best: bool) -> None:
    if not math.isfinite(_largest(training.model.flat.data)):
        name = next(n for n, p in training.model.flat.parameters.items() if not math.isfinite(_largest(p.data)))
        raise DivergedError(f"update {training.updates}: a parameter is no longer finite: {name}")
    arrays, meta = training.snapshot()
    folder.save(arrays, meta, best=best)
