"""Which num_steps, batch_size and learning rate? Measured: on this text, on this machine, with this model.

advise(config, data)      trains briefly, measures early and later, times updates -> Measure `advise`

    1  train for some hundred updates with two seeds, and keep the models early and where validation is best
       (brief.py); or take a trained one
    2  for each model, how far windows of K time steps bend the mean gradient    (inspect/bias.py)
       and for the text, which lags tell something by themselves                 (inspect/lags.py)
       -> num_steps, the smallest whose bias is tolerated
    3  for each model, the gradient noise scale at that num_steps                (inspect/noise.py)
    4  the seconds of an update at that num_steps, for each batch_size
       -> batch_size, with which a loss is reached soonest, and the lr that goes with it

inspect/advice.py says what follows from the numbers, and why.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from micrornn import brief, device
from micrornn.config import Config
from micrornn.errors import ConfigError, DataError, DivergedError
from micrornn.inspect import bias
from micrornn.inspect.advice import Brief, Measured, Point, choose_steps
from micrornn.inspect.advised import advice
from micrornn.inspect.bias import Bias
from micrornn.inspect.lags import Gains, gains, reach
from micrornn.inspect.measure import Measure
from micrornn.inspect.noise import noise
from micrornn.inspect.subject import Subject
from micrornn.inspect.truncation_verdict import TOLERABLE
from micrornn.tasks import Task
from micrornn.tasks.material import Material
from micrornn.train import Training

Progress = Callable[[str, int, int], None]  # (what is being done, done, total)

SEEDS = 2
# Truncation: the longest window, windows per lane, and the most lanes of a piece; and which num_steps are tried. Each
# of them divides 384.
SEQ_LEN, WINDOWS, PIECE = 384, 4, 8
STEPS = tuple(sorted(digit * 2**n for n in range(7) for digit in (2, 3)))  # 2, 3, 4, 6, 8, 12 ... 128, 192
NOISE_WINDOWS, NOISE_LANES = (4, 64), 32  # windows at least and at most; lanes of a window
BATCH_SIZES = (4, 8, 16, 32, 64, 128, 256)
LEAST_SIZES = 5  # so many sizes are timed even if there is no time left
ROUNDS, SLICE = 6, 0.25  # turns of each batch_size, and the seconds of a turn
# The share of the time that may be used up at the end of each part. What a part leaves over goes to the next.
TRAINED, CUT, NOISE = 0.4, 0.65, 0.8


def advise(config: Config, data: Any, seconds: float = 120.0, progress: Progress | None = None, *,
           trained: Point | None = None, tolerance: float = TOLERABLE, **about: Any) -> Measure:  # fmt: skip
    """Measure for at most so many seconds, and say what to train with.

    config       the model, and the batch_size, num_steps and lr to start from. Sizes that are too large for the text
                 are made smaller. Limits such as num_updates are ignored
    data         the Tokens of a text; or data(**settings): a task, with these settings in the place of its
                 own
    progress     progress(what, done, total) is called meanwhile
    trained      measure at this point, instead of training anew
    tolerance    the largest truncation bias that is tolerated
    about        what the measure says of the model and the data

    The model is measured without dropout. DataError where the text is too short, DivergedError where the brief training
    diverges, ConfigError where messages are clipped (config.clip_message): see inspect/truncation.py.
    """
    if config.lines:
        raise ConfigError("advise measures windows of one long text; it has no advice for `lines`")
    if not 0 < tolerance < 1:
        raise ConfigError(f"the tolerated truncation bias is {tolerance:g}; it must be above 0 and below 1")
    if not seconds > 0:
        raise ConfigError(f"the time to measure is {seconds:g} seconds; it must be above 0")
    asked = config.batch_size, config.num_steps
    if trained is None:  # a schedule that ends would end with the few updates that are made
        config = dataclasses.replace(config, num_updates=0, epochs=0.0, max_minutes=0.0, patience=0)
        config = brief.shrunk(config, _room(config, data)) if callable(data) else brief.fitted(config, len(data))
    part = _Parts(config, data, time.monotonic(), seconds, progress or (lambda what, done, total: None))
    require_cut(part.material, part.training.task.name)
    part.fresh(config).update()  # compiles, which is no time of measuring
    part.start = time.monotonic()
    briefs = part.train() if trained is None else [part.resumed(trained)]
    past = [one for one in briefs if not one.inside] or briefs  # the warm-up
    points = [point for one in past for point in one.points]
    steps, biases = part.truncation(points)
    text, nothing = part.material, np.empty(0)
    lags = gains(text.tokens, text.vocab.size, steps[-1]) if text.vocab else Gains(math.nan, nothing, nothing)
    found = Measured(
        points=points, briefs=briefs if trained is None else [],
        steps=steps, biases=biases, tolerance=tolerance, lags=lags, lag=reach(lags),
        own=(config.batch_size, config.num_steps), asked=asked, lr=config.lr, optimizer=config.optimizer,
    )  # fmt: skip
    num_steps = choose_steps(found).num_steps
    scale, timed = part.noise(points, num_steps), part.time(num_steps, found.own)
    sizes = sorted(size for size, steps_of_it in timed if steps_of_it == num_steps)
    found = dataclasses.replace(
        found, scale=scale, batch_sizes=np.array(sizes),
        seconds=np.array([timed[size, num_steps] for size in sizes]), own_seconds=timed[found.own][0],
    )  # fmt: skip
    return advice(found, {"item": text.item, **about, "seconds": round(time.monotonic() - part.start, 1)})


def _room(config: Config, data: Callable[..., Task]) -> int:
    """Time steps that a task learns from. ConfigError where it does not cut sequences into windows. An error in its
    data is raised as it is; data that is only too short for batch_size and num_steps is no error."""
    batch_size, num_steps, wrong = config.batch_size, config.num_steps, None
    while True:
        try:
            task = data(**config.to_dict() | {"batch_size": batch_size, "num_steps": num_steps})
            break
        except (ConfigError, DataError) as error:
            wrong = wrong or error
            if batch_size == num_steps == 1:
                raise wrong from None
            batch_size, num_steps = max(1, batch_size // 2), max(1, num_steps // 2)
    material = task.material(data)
    require_cut(material, task.name)
    return material.room


def require_cut(material: Material, task: str) -> None:
    if not material.cut:
        raise ConfigError(
            f"advise weighs how to cut long sequences into windows, and the task {task} reads each as a whole"
        )


class _Parts:
    """The parts of `advise`, each of which keeps to its share of the time."""

    def __init__(self, config: Config, data: Any, start: float, seconds: float, tell: Progress):
        self.config, self.data, self.start, self.seconds, self.tell = config, data, start, seconds, tell
        self.training = self.fresh(config)
        self.material = self.training.task.material(self.remade)

    def fresh(self, config: Config) -> Training:
        """A training from the start."""
        if not callable(self.data):
            return Training(config, self.data)
        task = self.data(**config.to_dict() | {"backprop": "window"})
        return Training(task.config, task)

    def remade(self, **settings: Any) -> Task:
        """The task with other settings than those it was made with here."""
        task = self.training.task
        return self.data(**task.config.to_dict() | settings) if callable(self.data) else task

    def left(self, share: float) -> float:
        """Seconds until so much of the time is gone."""
        return self.start + share * self.seconds - time.monotonic()

    def subject(self, model: Any) -> Subject:
        return Subject(model, {}, self.material)

    def train(self) -> list[Brief]:
        """A brief training for each seed."""
        found = []
        for n in range(SEEDS):
            config = dataclasses.replace(self.config, seed=(self.config.seed + n) % 2**63)
            left = partial(self.left, TRAINED * (n + 1) / SEEDS)
            found.append(brief.train(config, self.fresh, left, partial(self._nth, "training briefly", n, SEEDS)))
        return found

    def resumed(self, trained: Point) -> Brief:
        """The trained model with what its schedule had left, as if it had been trained here."""
        left = self.training.schedule(max(0, trained.updates - 1))
        return Brief([trained._replace(lr_left=left)], float("nan"), trained.updates, 0.0, False, False, False)

    def truncation(self, points: list[Point]) -> tuple[list[int], list[Bias]]:
        """(num_steps tried, the bias of each point), from as much text as there is time for."""
        seq_len = min(SEQ_LEN, self.material.room // 8)
        steps = [k for k in STEPS if k <= seq_len // 2]
        if not steps:
            raise DataError(
                f"the training part has {self.material.room + 1:,} {self.material.item}s; to measure, 33 are needed"
            )
        rooms = self.material.room // seq_len
        windows = min(WINDOWS, rooms // 4)
        found = []
        for n, point in enumerate(points):
            share = CUT - (CUT - TRAINED) * (1 - (n + 1) / len(points))
            model = point.model.copy(granularity="sequence")
            model.train(False)
            lanes = min(rooms // windows, self._lanes(model, seq_len, steps, share) * bias.BLOCKS)
            text = bias.pieces(self.subject(model).windows(seq_len, windows, lanes), max(1, lanes // 16))

            def enough(done: int, of: int, n: int = n, share: float = share) -> bool:
                self.tell("truncation", n * of + done, len(points) * of)
                return self.left(share) < 0

            one = bias.measure(model, text, steps, enough)
            if not one.finite:
                raise DivergedError("the gradient is NaN or infinite: there is nothing to measure")
            found.append(one)
        return steps, found

    def _lanes(self, model: Any, seq_len: int, steps: list[int], share: float) -> int:
        """How many lanes a piece may have so that there is time for a piece in each block, estimated from one lane."""
        window = self.subject(model).windows(seq_len, 1, 1)[0]
        bias.measure(model, [window], steps)  # compiles
        start = time.monotonic()
        bias.measure(model, [window], steps)
        took = time.monotonic() - start
        return int(np.clip(self.left(share) / took / bias.BLOCKS, 1, PIECE))

    def noise(self, points: list[Point], num_steps: int) -> np.ndarray:
        """(point, 3): the gradient noise scale in lanes, and its range."""
        room = self.material.room // (num_steps * NOISE_WINDOWS[0])
        width = max(1, min(NOISE_LANES, room // 4))
        found = []
        for n, point in enumerate(points):
            share, subject = CUT + (NOISE - CUT) * (n + 1) / len(points), self.subject(point.model)
            start = time.monotonic()  # the first few windows say how many fit into the time
            noise(point.model, subject.windows(num_steps, 2, width))
            took = (time.monotonic() - start) / 2
            least, most = NOISE_WINDOWS
            most = min(most, self.material.room // (num_steps * width))
            count = max(min(least, most), min(most, int(self.left(share) / took)))
            tell = partial(self._nth, "noise", n, len(points))
            measure = noise(point.model, subject.windows(num_steps, count, width), tell)
            if not measure.numbers:
                raise DivergedError(f"{measure.verdicts[0].words} Try a lower `lr`.")
            found.append([measure.numbers[name].value for name in ("scale", "scale_low", "scale_high")])
        return np.array(found, float)

    def _nth(self, what: str, n: int, of: int, done: int, total: int) -> None:
        self.tell(what, n * total + done, of * total)

    def time(self, num_steps: int, own: tuple[int, int]) -> dict[tuple[int, int], tuple[float, float, float]]:
        """(batch_size, num_steps) -> seconds of a real training update: median, lower and upper quartile.

        The sizes take turns, so that other work on the machine slows all of them alike.
        """
        trainings: dict[tuple[int, int], Training] = {}
        lanes = BATCH_SIZES if self._fits(4 * BATCH_SIZES[0], num_steps) else (1, 2, *BATCH_SIZES)
        fitting = [size for size in lanes if self._fits(size, num_steps)] or [1]
        for sizes in dict.fromkeys([own, *((size, num_steps) for size in fitting)]):
            if len(trainings) > LEAST_SIZES and self.left(1) < 0:
                break
            trainings[sizes] = self.fresh(self._with(*sizes))
            trainings[sizes].update()  # the first one allocates and compiles, and is not timed
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
        return dataclasses.replace(self.config, batch_size=batch_size, num_steps=num_steps, backprop="window")

    def _fits(self, batch_size: int, num_steps: int) -> bool:
        """Whether there are at least four windows, so that there are epochs, and a quarter of the memory is enough."""
        needed, there = self.material.memory(self._with(batch_size, num_steps)), device.memory()
        return 4 * batch_size * num_steps <= self.material.room and (not there or 4 * needed < there)
