"""What is compared: settings that all runs share, variants of them, seeds; each checked before anything is trained.

Variant       one of the settings to compare, and how far it trains
Plan          all that a comparison is: two that are equal give the same numbers
plan(...)     made from settings and axes; ConfigError where the variants do not learn from the same data
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from micrornn import device, tasks
from micrornn.compare.vary import Axis, Range, combined, shown, told, typed
from micrornn.config import Config
from micrornn.errors import CheckpointError, ConfigError, MicrornnError, counted
from micrornn.tasks import Task
from micrornn.train import LIMITS, Training, last_update

VALIDATIONS = (4, 16)  # of each run, at least and at most, unless --val-every says otherwise
FORWARD = 1 / 3  # of the time of a token in training: reading it in a validation. No more is spent on validations
UNENDED = "warmup:100"  # the usual schedule, without what falls towards an end that not all of them know
USUAL_UPDATES = 1000  # how far the shared settings train where no limit is given; the others as many tokens
MOST_RUNS = 2000
ALIKE = 4096  # numbers of the data that are compared
# What changes nothing in the data. Whether another setting does, such as one of a task's own, is looked at.
FREE = (
    "cell", "num_layers", "hidden_size", "embedding_size", "tied", "bidirectional", "dropout", "forget_bias",
    "recurrent_dropout", "dropout_mask", "granularity", "batch_size", "state", "memory_budget", "val_every",
    "watch_gradients", "keep_every", "optimizer", "lr", "schedule", "clip_norm", "clip_value", "clip_message", "loss",
    "num_updates", "epochs", "max_minutes", "patience", "init_from", "device", "matmul_precision", "threads",
    "backprop",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """name: its settings in words. settings: those in which it differs. num_updates, epochs: where it ends, 0: not by
    that. val_every: updates between its validations. tokens: that it reads in all, 0: nobody knows."""

    name: str
    settings: dict[str, Any]
    num_updates: int
    epochs: float
    val_every: int
    tokens: int


@dataclass(frozen=True)
class Plan:
    """A comparison.

    common      all settings, as the variants share them
    varied      the settings that are varied
    seeds       each variant is trained once with each
    scheduled   whether the schedule of the learning rate was chosen, or is the usual one
    unit        what an update reads: token, step
    loss        the unit of the loss
    texts       the fingerprint of the data, of each seed: some tasks draw by it what they hold out
    baseline    (in words, its loss): what takes no network
    rungs       of a search: the shares of the whole training after which the worse half is dropped; else empty
    brackets    of a search: how many of the variants each bracket has, one behind the other. The n-th begins to drop at
                the n-th rung
    """

    task: str
    files: tuple[str, ...]
    common: dict[str, Any]
    varied: tuple[str, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    scheduled: bool
    unit: str
    loss: str
    texts: tuple[str, ...]
    baseline: tuple[str, float] | None
    rungs: tuple[float, ...] = ()
    brackets: tuple[int, ...] = ()

    def bracket(self, variant: int) -> int:
        """The number, from 0, of the bracket of a variant."""
        return next((n for n, end in enumerate(accumulate(self.brackets)) if variant < end), 0)

    def kind(self) -> type[Task]:
        return tasks.find(self.task)

    def config(self, variant: Variant, seed: int) -> Config:
        """The settings of one run."""
        own = {name: getattr(variant, name) for name in ("num_updates", "epochs", "val_every")} | {"seed": seed}
        return self.kind().Settings.from_dict(self.common | variant.settings | own, variant.name)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def plan(kind: type[Task], common: Config, found: Sequence[Axis], *, files: Sequence[str] = (), seeds: int = 3,
         tokens: int = 0, scheduled: bool = True, own_validations: bool = False, draws: Sequence[dict[str, Any]] = (),
         rungs: Sequence[float] = (), brackets: Sequence[int] = ()) -> Plan:  # fmt: skip
    """The plan of a comparison; ConfigError, DataError and so on where a variant cannot be trained.

    found             the axes; their combinations are compared, unless there are
    draws             settings that were drawn at random
    tokens            each run reads so many; 0: by the limits of `common`, and without one USUAL_UPDATES of `common`
    own_validations   val_every was chosen: all validate after so many updates
    rungs, brackets   every variant ends at an update that can be divided by what the rungs need
    """
    rows = list(draws) or combined(found)
    if len(rows) < 2 and not draws:
        raise ConfigError(
            "one setting is nothing to compare; vary one, as in `vary=hidden-size:64,128` or `cell=rnn,lstm`"
        )
    if seeds < 1 or len(rows) * seeds > MOST_RUNS:
        raise ConfigError(f"{counted(len(rows), 'setting')} with {counted(seeds, 'seed')} make {len(rows) * seeds:,}; "
                          f"at least 1 and at most {MOST_RUNS:,} can be")  # fmt: skip
    if "seed" in (axis.name for axis in found):
        raise ConfigError("`vary=seed`: each setting is trained with several seeds anyway; `seeds` says with how many")
    if not common.threads:
        common = dataclasses.replace(common, threads=1)  # the same bits, however many run at once
    paths = kind.files_of(files)
    _same_data(kind, _with(kind, common, rows[0]), found, paths)
    limited = any(getattr(common, name) or any(row.get(name) for row in rows) for name in (*LIMITS, "patience"))
    if tokens and limited:
        raise ConfigError(
            "`tokens` is a limit of its own; leave `num_updates`, `epochs`, `max_minutes`, `patience` out"
        )
    first = kind.prepare(common, paths)
    if not tokens and not limited:
        tokens = USUAL_UPDATES * first.batch_tokens
    variants = []
    for row in rows:
        try:
            config = _with(kind, common, row)
            training = Training(config, kind.prepare(config, paths))
        except MicrornnError as error:
            raise type(error)(f"{told(row)}: {error}") from None
        variants.append(_variant(row, training, tokens, own_validations, rungs))
        first = training.task if len(variants) == 1 else first
    if rungs and not all(variant.num_updates for variant in variants):
        raise ConfigError("`search` needs to know where a training ends: give `tokens`, `num_updates` or `epochs`")
    if not scheduled and len({variant.num_updates > 0 for variant in variants}) > 1:
        common = dataclasses.replace(common, schedule=UNENDED)
    every = tuple(range(common.seed, common.seed + seeds))
    return Plan(
        task=kind.name, files=tuple(files), common=common.to_dict(),
        varied=tuple(axis.name for axis in found),
        variants=tuple(variants), seeds=every, scheduled=scheduled,
        unit=first.unit, loss=first.metrics[0].unit, baseline=first.baseline, rungs=tuple(rungs),
        brackets=tuple(brackets),
        texts=tuple(fingerprints(kind, common, rows[0], every, paths)),
    )  # fmt: skip


def fingerprints(kind: type[Task], common: Config, row: Mapping[str, Any], seeds: Sequence[int],
                 paths: Sequence[Path]) -> Iterator[str]:  # fmt: skip
    """Of the data, as the first setting reads it with each of the seeds."""
    for seed in seeds:
        yield kind.prepare(_with(kind, common, {**row, "seed": seed}), paths).fingerprint


def require_same_texts(plan: Plan) -> None:
    """CheckpointError where the data has changed since the comparison was planned: its losses would mean something
    else."""
    kind, row = plan.kind(), plan.variants[0].settings
    common = kind.Settings.from_dict(plan.common, "the settings")
    if tuple(fingerprints(kind, common, row, plan.seeds, kind.files_of(plan.files))) != plan.texts:
        raise CheckpointError(
            "the data of this comparison has changed since it began; begin a new one, or put the old data back"
        )


def _with(kind: type[Task], common: Config, row: Mapping[str, Any]) -> Config:
    config = kind.Settings.from_dict(common.to_dict() | dict(row), told(dict(row)))
    device.require(config.device)
    return config


def _variant(row: dict[str, Any], training: Training, tokens: int, own: bool, rungs: Sequence[float]) -> Variant:
    """Where it ends, and how often it is validated: of a search, at each rung."""
    config, per_epoch, task = training.config, training.way.per_epoch, training.task
    epoch = training.batches.num_windows * task.batch_tokens
    if per_epoch is None:  # how much an update reads changes on the way
        ends, epochs = config.num_updates, tokens / epoch if tokens else config.epochs
        updates, tokens = _updates(config, epochs * training.batches.num_windows) or ends, round(epochs * epoch)
    else:
        ends = math.ceil(tokens * per_epoch / epoch) if tokens else last_update(config, per_epoch) or 0
        updates, epochs, tokens = ends, 0.0, round(ends * epoch / per_epoch)
    if rungs and ends:
        first = max(1, math.ceil(ends * rungs[0]))
        last = round(first / rungs[0])
        return Variant(told(row), row, last, epochs, first, round(tokens * last / ends))
    held_out = task.validation()
    each = FORWARD * (held_out.num_windows * task.batch_tokens if held_out is not None else 0)
    count = min(max(VALIDATIONS[0], round(tokens / each) if each and tokens else VALIDATIONS[1]), VALIDATIONS[1])
    every = config.val_every if own or not updates else max(1, math.ceil(updates / count))
    return Variant(told(row), row, ends, epochs, every, tokens)


def _updates(config: Config, num_windows: float) -> int:
    """About how many updates so many windows of num_steps make, where a way reads more of them as it goes on."""
    first, last = config.num_steps, max(config.num_steps, config.way.most_steps or 0)
    left, count = num_windows * config.num_steps, 0
    every = int(config.way.options.get("every", 0))
    if every:
        first = config.way.whole[0]
        while first < last and left > every * first:
            left, count, first = left - every * first, count + every, min(2 * first, last)
    return count + math.ceil(left / first)


# --- the same data ------------------------------------------------------------------------------------------


def _same_data(kind: type[Task], base: Config, found: Sequence[Axis], paths: Sequence[Path]) -> None:
    """ConfigError where one of the varied settings changes what is learned from: then losses cannot be compared."""
    for axis in found:
        if axis.name in FREE:
            continue
        values = (axis.values.low, axis.values.high) if isinstance(axis.values, Range) else axis.values
        lane = {"batch_size": 1} if axis.name == "num_steps" else {}  # windows of any length, one after the other
        seen = []
        for value in values:
            row = lane | {axis.name: value}
            try:
                task = kind.prepare(_with(kind, base, row), paths)
            except MicrornnError as error:
                raise type(error)(f"{told({axis.name: value})}: {error}") from None
            seen.append((task.batches.num_windows, _data(task)))
        for value, (count, data) in zip(values[1:], seen[1:]):
            if not _alike(seen[0][1], data, as_long=not lane) or (not lane and count != seen[0][0]):
                name, first = typed(axis.name), values[0]
                raise ConfigError(
                    f"`vary={name}`: {shown(first)} and {shown(value)} do not learn from the same data, so that their "
                    f"losses cannot be compared; compare settings for one {name} at a time"
                )


def _data(task: Task) -> list[np.ndarray]:
    """What is held out, else what is learned from: the first numbers of each of its arrays, in their order."""
    batches = task.validation() or task.batches
    parts: list[list[np.ndarray]] = []
    for _ in range(min(batches.num_windows, ALIKE)):
        inputs, targets, _ = batches.next()
        arrays = [*_arrays(inputs), *_arrays(targets)]
        parts = parts or [[] for _ in arrays]
        for part, array in zip(parts, arrays):
            part.append(np.array(array, np.float32).ravel())
        if all(sum(map(len, part)) >= ALIKE for part in parts):
            break
    return [np.concatenate(part)[:ALIKE] for part in parts]


def _arrays(value: Any) -> list[Any]:
    return [part for one in value for part in _arrays(one)] if isinstance(value, tuple | list) else [value]


def _alike(one: list[np.ndarray], two: list[np.ndarray], as_long: bool) -> bool:
    """Whether they are equal; unless `as_long`, as far as both go."""
    if len(one) != len(two) or (as_long and any(len(a) != len(b) for a, b in zip(one, two))):
        return False
    sizes = [min(len(a), len(b)) for a, b in zip(one, two)]
    return all(np.array_equal(a[:n], b[:n]) for a, b, n in zip(one, two, sizes))
