"""Which num_steps, batch_size and learning rate? Measured: on this text, on this machine, with this model.

advise(config, tokens)    trains briefly, measures early and later, times updates -> Measure `advise`

    1  train for some hundred updates, and keep the model as it is early and later; or take a trained one
    2  of each, what windows of K time steps bend the gradient by             (inspect/truncation.py)
       -> num_steps, the smallest that can be borne
    3  of each, the gradient noise scale at that num_steps                    (inspect/noise.py)
    4  the seconds of an update at that num_steps, for each batch_size
       -> batch_size, where a loss is reached soonest, and the lr that goes with it

What follows from the numbers, and why, stands in inspect/advice.py.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from micrornn import device
from micrornn.config import Config
from micrornn.data import Tokens
from micrornn.errors import ConfigError, DataError, DivergedError
from micrornn.inspect.advice import Measured, advice, steps_by
from micrornn.inspect.cuts import Cuts
from micrornn.inspect.measure import Measure
from micrornn.inspect.noise import noise
from micrornn.inspect.subject import Subject
from micrornn.inspect.truncation_verdict import TOLERABLE
from micrornn.tasks.text import LanguageModel, memory_needed
from micrornn.train import Training

Progress = Callable[[str, int, int], None]  # (what is being done, done, total)

EARLY, LATER = 50, 600  # updates
# Truncation: so many windows of so many time steps in so many lanes, and which num_steps are tried.
SEQ_LEN, WINDOWS, LANES = 512, 6, 4
STEPS = tuple(sorted(digit * 2**n for n in range(8) for digit in (2, 3)))  # 2, 3, 4, 6, 8, 12 ... 256, 384
NOISE_WINDOWS, NOISE_LANES = (4, 64), 32  # at least, at most; in so many lanes
BATCH_SIZES = (4, 8, 16, 32, 64, 128, 256)
LEAST_SIZES = 5  # are timed even if there is no time left
ROUNDS, SLICE = 6, 0.25  # each batch_size gets so many turns of so many seconds
# How much of the time may be gone at the end of each part. What one leaves is the next one's.
TRAINED, CUT, NOISE = 0.4, 0.6, 0.8


class Point(NamedTuple):
    """A model after so many updates, and how much of the learning rate its schedule had left then."""

    updates: int
    model: LanguageModel
    lr_left: float = 1.0


def advise(config: Config, tokens: Tokens, seconds: float = 120.0, progress: Progress | None = None, *,
           trained: Point | None = None, tolerance: float = TOLERABLE, **about: Any) -> Measure:  # fmt: skip
    """Measure for so many seconds, or less, and say what to train with.

    config       the model, and the batch_size, num_steps and lr to start from; its limits do not matter
    tokens       the text
    progress     progress(what, done, total) hears what is being done
    trained      measure at this point, instead of training anew
    tolerance    the largest truncation bias to be borne
    about        what the measure tells of its subject

    The model is looked at without dropout. DataError: a text too short to measure on. DivergedError: the brief
    training blew up. ConfigError: messages that are clipped (config.clip_message), as inspect/truncation.py has it.
    """
    if not 0 < tolerance < 1:
        raise ConfigError(f"the truncation bias to be borne is {tolerance:g}; it must be above 0 and below 1")
    if not seconds > 0:
        raise ConfigError(f"the time to measure is {seconds:g} seconds; it must be above 0")
    if trained is None:  # a schedule that ends would end with the few updates that are made
        config = dataclasses.replace(config, num_updates=0, epochs=0.0, max_minutes=0.0)
    part = _Parts(config, tokens, time.monotonic(), seconds, progress or (lambda what, done, total: None))
    points = part.train() if trained is None else [part.schedule(trained)]
    steps, bias, cosine = part.truncation(points)
    num_steps = steps_by(bias, steps, tolerance)[0] or steps[-1]
    scale = part.noise(points, num_steps)
    own = config.batch_size, config.num_steps
    timed = part.time(num_steps, own)
    sizes = sorted(size for size, steps_of_it in timed if steps_of_it == num_steps)
    found = Measured(
        updates=[point.updates for point in points], lr_left=points[-1].lr_left, steps=steps, bias=bias,
        cosine=cosine, tolerance=tolerance, scale=scale, num_steps=num_steps, batch_sizes=np.array(sizes),
        seconds=np.array([timed[size, num_steps] for size in sizes]), own=own, own_seconds=timed[own][0],
        lr=config.lr, optimizer=config.optimizer,
    )  # fmt: skip
    return advice(found, {**about, "seconds": round(time.monotonic() - part.start, 1)})


class _Parts:
    """What `advise` does, one after the other, by the clock."""

    def __init__(self, config: Config, tokens: Tokens, start: float, seconds: float, tell: Progress):
        self.config, self.tokens, self.start, self.seconds, self.tell = config, tokens, start, seconds, tell
        self.training = Training(config, tokens)
        self.ids = self.training.lanes.tokens

    def left(self, share: float) -> float:
        """Seconds until so much of the time is gone."""
        return self.start + share * self.seconds - time.monotonic()

    def subject(self, model: LanguageModel) -> Subject:
        return Subject(model, self.tokens.vocab, {}, self.ids, "", "the text")

    def train(self) -> list[Point]:
        """The model early and later; if there was no time for both, as far as it came."""
        training, points = self.training, []
        while training.updates < LATER and (self.left(TRAINED) > 0 or training.updates < 2):
            try:
                training.update()
            except DivergedError as error:
                raise DivergedError(f"the brief training stopped at {error}\n  try a lower --lr") from None
            self.tell("training briefly", training.updates, LATER)
            if training.updates == EARLY:
                points.append(self._point())
        if training.updates < 2 * EARLY:
            points.clear()
        return [*points, self._point()]

    def _point(self) -> Point:
        model = self.training.model.copy()
        model.train(False)
        return Point(self.training.updates, model)

    def schedule(self, trained: Point) -> Point:
        """The same, with what its schedule had left."""
        return trained._replace(lr_left=self.training.schedule(max(0, trained.updates - 1)))

    @np.errstate(over="ignore", invalid="ignore")
    def truncation(self, points: list[Point]) -> tuple[list[int], np.ndarray, np.ndarray]:
        """(num_steps tried, bias, cosine (point, K, window)), NaN for windows that time did not allow."""
        seq_len = min(SEQ_LEN, (len(self.ids) - 1) // (WINDOWS * LANES))
        steps = [k for k in STEPS if k <= seq_len // 2]
        if not steps:
            least = WINDOWS * LANES * 2 * STEPS[0] + 1
            raise DataError(f"the training part has {len(self.ids):,} tokens; to measure, {least:,} are needed")
        bias, cosine = np.full((2, len(points), len(steps), WINDOWS), np.nan)
        for n, point in enumerate(points):
            share = CUT - (CUT - TRAINED) * (1 - (n + 1) / len(points))
            model = point.model.copy(granularity="sequence")
            for at, window in enumerate(self.subject(model).windows(seq_len, WINDOWS, LANES)):
                if at > 1 and self.left(share) < 0:
                    break
                cut = Cuts(model, window)
                for row, k in enumerate(steps):
                    cut.windows(k)
                    bias[n, row, at], cosine[n, row, at] = _compared(cut)
                if not np.isfinite(bias[n, :, at]).all():
                    raise DivergedError("the gradient is zero, NaN or infinite: there is nothing to measure")
                self.tell("truncation", n * WINDOWS + at + 1, len(points) * WINDOWS)
        return steps, bias, cosine

    def noise(self, points: list[Point], num_steps: int) -> np.ndarray:
        """(point, 3): the gradient noise scale in lanes, and its range."""
        room = (len(self.ids) - 1) // (num_steps * NOISE_WINDOWS[0])
        width = max(1, min(NOISE_LANES, room // 4))
        found = []
        for n, point in enumerate(points):
            share, subject = CUT + (NOISE - CUT) * (n + 1) / len(points), self.subject(point.model)
            start = time.monotonic()  # as many windows as fit into the time, as the first few tell
            noise(point.model, list(subject.windows(num_steps, 2, width)))
            took = (time.monotonic() - start) / 2
            least, most = NOISE_WINDOWS
            most = min(most, (len(self.ids) - 1) // (num_steps * width))
            count = max(min(least, most), min(most, int(self.left(share) / took)))
            tell = partial(self._nth, "noise", n, len(points))
            measure = noise(point.model, list(subject.windows(num_steps, count, width)), tell)
            if not measure.numbers:
                raise DivergedError(f"{measure.verdicts[0].words} Try a lower --lr.")
            found.append([measure.numbers[name].value for name in ("scale", "scale_low", "scale_high")])
        return np.array(found, float)

    def _nth(self, what: str, n: int, of: int, done: int, total: int) -> None:
        self.tell(what, n * total + done, of * total)

    def time(self, num_steps: int, own: tuple[int, int]) -> dict[tuple[int, int], tuple[float, float, float]]:
        """(batch_size, num_steps) -> seconds of a real training update: median, lower and upper quartile.

        They take turns, so that what else the machine does meanwhile is shared by all.
        """
        trainings: dict[tuple[int, int], Training] = {}
        for sizes in dict.fromkeys([own, *((size, num_steps) for size in BATCH_SIZES)]):
            if len(trainings) > 2 and (not self._fits(*sizes) or (len(trainings) > LEAST_SIZES and self.left(1) < 0)):
                break
            trainings[sizes] = Training(self._with(*sizes), self.tokens)
            trainings[sizes].update()  # what is allocated and compiled at the first is not counted
        times: dict[tuple[int, int], list[float]] = {sizes: [] for sizes in trainings}
        for turn in range(ROUNDS):
            for n, (sizes, training) in enumerate(trainings.items()):
                if turn and self.left(1) < 0:
                    break
                until = time.monotonic() + min(SLICE, max(0.0, self.left(1)) / len(trainings))
                while not times[sizes] or time.monotonic() < until:
                    start = time.perf_counter()
                    training.update()
                    times[sizes].append(time.perf_counter() - start)
                self.tell("timing updates", turn * len(trainings) + n + 1, ROUNDS * len(trainings))
        quartiles = {sizes: np.percentile(found, (50, 25, 75)).tolist() for sizes, found in times.items()}
        return {sizes: (median, low, high) for sizes, (median, low, high) in quartiles.items()}

    def _with(self, batch_size: int, num_steps: int) -> Config:
        return dataclasses.replace(self.config, batch_size=batch_size, num_steps=num_steps)

    def _fits(self, batch_size: int, num_steps: int) -> bool:
        """At least four windows, or there is no epoch to speak of; and all in a quarter of the memory."""
        needed, there = memory_needed(self._with(batch_size, num_steps), self.tokens.vocab.size), device.memory()
        return 4 * batch_size * num_steps < len(self.ids) and (not there or 4 * needed < there)


def _compared(cut: Cuts) -> tuple[float, float]:
    """(bias, cosine) of one window's gradient as it is cut now."""
    off, rest = cut.full - cut.row, float(cut.rest @ cut.rest)
    full, left = math.sqrt(cut.full @ cut.full + rest), math.sqrt(cut.row @ cut.row + rest)
    return float(np.linalg.norm(off)) / full, float(cut.full @ cut.row + rest) / full / left
