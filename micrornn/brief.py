"""Brief trainings to measure on: with more than one seed, early and where the validation loss is best.

fitted(config, num_tokens)  the settings, with batch_size and num_steps made small enough for a text
shrunk(config, room)        the same, given the number of time steps to learn from
train(config, make, ...)    -> Brief: the model at two points of a training, and the validation losses

Neither point lies within the warm-up of the learning rate, which is shortened for so short a training: the gradient of
a model that has hardly moved says nothing about the trained one. And neither lies after the lowest validation loss: the
gradient of a model that learns its text by heart is a different one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn.config import Config
from micrornn.data import Lanes
from micrornn.errors import ConfigError, DataError, DivergedError, counted
from micrornn.evaluate import window_losses
from micrornn.inspect.advice import Brief, Point
from micrornn.optim import Schedule
from micrornn.train import Training

EARLY, LATER = 50, 600  # updates
WARMUP, WARMUP_EPOCHS = 60, 3  # updates, and passes over the text, that the warm-up takes at most
LOOK = 25  # updates from one validation to the next
# Tokens held out at least; the largest part of the text that is held out for that; tokens read at most.
HELD_OUT, MOST_HELD_OUT, VAL_TOKENS = 500, 0.2, 8192
# The validation loss has turned if the last TIMES of it lie above the lowest by this many nats and by this share of it.
TURNED, TURNED_SHARE, TIMES = 0.02, 0.02, 3
FLAT, FLAT_LOOKS = 0.005, 6  # it no longer falls if it fell by less than this share in so many validations
LEAST = 64  # tokens of the training part
WINDOWS = 4  # per lane at least, so that there are epochs


def fitted(config: Config, num_tokens: int) -> Config:
    """The settings, with batch_size and num_steps so small that each lane has a few windows, and with enough tokens
    held out to validate on. DataError if the text is too short for that."""
    share = 0.0 if config.validation else max(config.val_fraction, min(MOST_HELD_OUT, HELD_OUT / max(1, num_tokens)))
    config = dataclasses.replace(config, val_fraction=share)
    room = int(num_tokens * (1 - share)) - 1
    if room < LEAST:
        least = int(np.ceil((LEAST + 1) / (1 - share)))
        raise DataError(f"the text has {counted(num_tokens, 'token')}; to measure, {least:,} are needed")
    return shrunk(config, room)


def shrunk(config: Config, room: int) -> Config:
    """The settings, with batch_size and num_steps so small that each lane has a few windows. room: the time steps to
    learn from, in all lanes together."""
    batch_size, num_steps = config.batch_size, config.num_steps
    while WINDOWS * batch_size * num_steps > room:
        if batch_size >= num_steps and batch_size > 1:
            batch_size = (batch_size + 1) // 2
        else:
            num_steps = (num_steps + 1) // 2
        if batch_size == num_steps == 1:
            break
    return dataclasses.replace(config, batch_size=batch_size, num_steps=num_steps, backprop="window")


def train(config: Config, make: Callable[[Config], Training], left: Callable[[], float],
          tell: Callable[[int, int], None]) -> Brief:  # fmt: skip
    """Train for LATER updates, or until the validation loss has turned, or until left(), in seconds, is 0.

    make    make(config) gives a training at its start
    """
    training = make(config)
    if not training.validates:
        raise ConfigError("a brief training goes by its validation loss, and nothing is held out; raise `val_fraction`")
    epoch = training.batches.num_windows
    schedule = Schedule(config.schedule)
    warmup = int(min(schedule.warmup, WARMUP, max(10, WARMUP_EPOCHS * epoch)))
    config = dataclasses.replace(config, schedule=schedule.with_warmup(warmup))
    training, lanes = make(config), None
    if training.task.val_lanes is not None:
        lanes = Lanes.validation(training.task.val_lanes.tokens[0:VAL_TOKENS], 16, config.num_steps)
    early, seed = max(EARLY, 2 * warmup), config.seed
    points: list[Point] = []
    best, losses = None, []
    while training.updates < LATER and (left() > 0 or training.updates < 2):
        try:
            training.update()
        except DivergedError as error:
            raise DivergedError(f"the brief training stopped at {error}\n  try a lower `lr`") from None
        tell(training.updates, LATER)
        if training.updates == early:
            points.append(Point(early, _copy(training), 1.0, seed, 0))
        if training.updates >= max(warmup, 2) and training.updates % LOOK == 0:
            losses.append(_validate(training, lanes))
            if losses[-1] <= min(losses):
                best = Point(training.updates, _copy(training), 1.0, seed, 1)
            if _turned(losses):
                break
    if not losses:
        losses.append(_validate(training, lanes))
    best = best or Point(training.updates, _copy(training), 1.0, seed, 1)
    if points and best.updates < 2 * early:  # hardly later than early
        points = []
    flat = len(losses) > FLAT_LOOKS and min(losses) > (1 - FLAT) * min(losses[:-FLAT_LOOKS])
    return Brief(
        [*points, best], min(losses), best.updates, best.updates / epoch, _turned(losses), flat,
        training.updates < warmup, training.updates, LATER,
    )  # fmt: skip


def _turned(losses: list[float]) -> bool:
    above = min(losses) + max(TURNED, TURNED_SHARE * min(losses))
    return len(losses) > TIMES and min(losses[-TIMES:]) > above


def _validate(training: Training, lanes: Lanes | None) -> float:
    """The loss on these lanes; without any, on all that the task holds out."""
    training.model.train(False)
    found = window_losses(training.model, lanes) if lanes else [training.validate()]
    loss = float(np.mean(list(found)))
    if not np.isfinite(loss):
        raise DivergedError(f"update {training.updates} of the brief training: the validation loss is {loss}")
    return loss


def _copy(training: Training) -> Any:
    model = training.model.copy(device="cpu")
    model.train(False)
    return model
