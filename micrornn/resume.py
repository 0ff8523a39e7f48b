"""Starting and resuming a run, with notes on what the user may not expect.

resume          restores a Training from a run folder; returns notes
fit_warmup      makes the warm-up fit the length of a run; returns notes
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from micrornn.checkpoint import RunFolder
from micrornn.config import Config, rate
from micrornn.errors import counted, named
from micrornn.optim import Schedule
from micrornn.snapshot import settings_of
from micrornn.train import LIMITS, Training, last_update


def resume(training: Training, folder: RunFolder) -> list[str]:
    """Continue the run in a folder, from best.ckpt if last.ckpt is gone; do nothing if it has saved nothing. Returns
    notes, a sentence each: what is lost, and what changed limits do. Errors as in Training.restore."""
    snapshot = folder.load_last()
    if snapshot is None:
        return []
    arrays, meta = snapshot
    where = named(folder.last if os.path.lexists(folder.last) else folder.best)
    training.restore(arrays, meta, folder.has_diverged, where)
    told = [*_lost(training, folder), *_changed(settings_of(meta), training), *_over(training)]
    return told + (fit_warmup(training, chosen=True) if training.updates < training.schedule.warmup else [])


def _lost(training: Training, folder: RunFolder) -> Iterator[str]:
    if not os.path.lexists(folder.last):
        yield f"last.ckpt is gone: it goes on from best.ckpt, which is of update {training.updates:,}"
    elif training.best_val_loss is not None and not os.path.lexists(folder.best):
        training.best_val_loss = None
        yield "best.ckpt is gone: the next validation writes a new one, be it better or not"


def _changed(before: Config, training: Training) -> Iterator[str]:
    """The effects of settings that differ from those of the checkpoint."""
    config, update = training.config, training.updates
    new = training.schedule
    old = Schedule(before.schedule, last_update(before, training.way.per_epoch), training.epoch_updates)
    if (before.lr, before.schedule) == (config.lr, config.schedule) and not math.isclose(
        old(update), new(update), rel_tol=0.01
    ):
        last, now = rate(config, old(max(update - 1, 0))), rate(config, new(update))
        ends = "has no end that is known" if new.num_updates is None else f"ends at update {new.num_updates:,}"
        was = "" if old.num_updates is None else f", not at {old.num_updates:,}"
        way = "rises again" if now > last else "falls at once"
        yield f"the learning rate {way}, from {last:.2g} to {now:.2g}: its schedule now {ends}{was}"
    for name in LIMITS:
        limit = getattr(before, name)
        if limit and not getattr(config, name):
            yield f"it no longer ends by `{name}={limit:g}`"
    if before.device != config.device:
        yield f"on {config.device} in place of {before.device}: from here on the same to rounding, not to the bit"


def _over(training: Training) -> Iterator[str]:
    """If the run is over already, why."""
    if training.pending is not None or not training.done():
        return
    ends, update = training.num_updates, training.updates
    if ends is not None and update >= ends:
        how = "reached" if update == ends else "passed"
        yield f"the limit of {counted(ends, 'update')} is {how}: it is at update {update:,}"
    elif training.config.max_minutes and training.seconds >= 60 * training.config.max_minutes:
        minutes = counted(training.config.max_minutes, "minute")
        done = f"{training.seconds / 60:.1f}, {counted(update, 'update')}"
        yield f"the limit of {minutes} is passed: it has trained for {done}"
    elif training.gave_up():
        stale = counted(training.stale, "validation was", "validations in a row were")
        yield f"{stale} no better, and `patience` is {training.config.patience}"


def fit_warmup(training: Training, chosen: bool) -> list[str]:
    """Shorten the warm-up of a run to a tenth of its updates, if it is longer and the user has not `chosen` it. A
    chosen warm-up stays, with a note if it is longer than the run. Returns notes."""
    schedule, ends = training.schedule, training.num_updates
    if ends is None or schedule.warmup <= (ends if chosen else ends // 10):
        return []
    if chosen:
        most = rate(training.config, schedule(ends - 1))
        return [
            f"the warm-up of {counted(schedule.warmup, 'update')} is longer than this run of {ends:,}: the learning "
            f"rate gets no further than {most:.2g}"
        ]
    short = max(1, ends // 10)
    training.reschedule(schedule.with_warmup(short))
    updates = counted(short, "update")
    return [f"a warm-up of {updates} in place of {schedule.warmup:,g}, as this run has {ends:,} (`schedule`)"]
