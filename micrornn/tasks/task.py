"""What a task is: the interface that training and checkpoints know, and batches to build one from.

Task        a kind of job, with its settings and its data
Metric      what a trained network is judged by
Batches     what a task learns from, one batch an update, with a place to go on from
Drawn       batches that a function draws from random numbers
Slices      batches cut out of arrays along time, the state carried from one to the next
losses      the loss of each batch in turn
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from micrornn.config import MOST, Config
from micrornn.errors import ConfigError, DataError
from micrornn.schema import Rule
from micrornn.tape import Tensor, no_tape

State = tuple[Tensor, ...]
Progress = Callable[[int, int], None]
VALIDATION = 2**32 - 1  # the epoch that held-out batches are drawn for: no training ever gets there


@dataclass(frozen=True)
class Metric:
    """What a trained network is judged by: a name, a unit ("" where there is none), and which way is better."""

    name: str
    unit: str = ""
    better: str = "lower"


class Batches(Protocol):
    """What a task learns from, batch after batch, again and again.

    epoch, window    the place: the batch that comes next, and how often all were read before. Set both, and `state`,
                     and the batches go on from there to the bit
    state            the arrays that the batch before has left, or None: the initial state
    carried          whether the state is handed from batch to batch
    num_windows      batches of an epoch
    """

    epoch: int
    window: int
    state: tuple[np.ndarray, ...] | None
    carried: bool

    @property
    def num_windows(self) -> int: ...

    def next(self) -> tuple[Any, Any, State | None]:
        """(inputs, targets, the state to start from; None for the initial one)."""
        ...

    def carry(self, state: State) -> None:
        """Hand the last state of this batch to the next one: its value, not its history."""
        ...


class Drawn:
    """`num_windows` batches an epoch, each drawn by `draw(rng) -> (inputs, targets)`: the one at a place of a seed is
    always the same. With a fixed `epoch`, the same ones again and again, as for validation. No state is carried."""

    carried = False

    def __init__(self, draw: Callable[[np.random.Generator], tuple[Any, Any]], num_windows: int, seed: int,
                 epoch: int | None = None):  # fmt: skip
        self.draw, self.num_windows, self.seed, self.fixed = draw, num_windows, seed, epoch
        self.epoch, self.window = 0, 0
        self.state: tuple[np.ndarray, ...] | None = None

    def next(self) -> tuple[Any, Any, State | None]:
        if self.window == self.num_windows:
            self.epoch, self.window = self.epoch + 1, 0
        epoch = self.epoch if self.fixed is None else self.fixed
        inputs, targets = self.draw(np.random.default_rng([self.seed, epoch, self.window]))
        self.window += 1
        return inputs, targets, None

    def carry(self, state: State) -> None:
        pass


class Slices:
    """inputs and targets (T, batch_size, ...) in windows of `num_steps` time steps, one after the other; the state is
    carried from one to the next if `carried`, and each epoch begins with the initial one. A rest is left over."""

    cut = True  # a window goes on where the one before ends

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, num_steps: int, carried: bool = True):
        self.inputs, self.targets, self.num_steps, self.carried = inputs, targets, num_steps, carried
        self.num_windows = len(inputs) // num_steps
        if not self.num_windows:
            raise DataError(f"there are {len(inputs):,} time steps, fewer than --num-steps {num_steps:,}")
        self.epoch, self.window = 0, 0
        self.state: tuple[np.ndarray, ...] | None = None

    def next(self) -> tuple[Any, Any, State | None]:
        if self.window == self.num_windows:
            self.epoch, self.window, self.state = self.epoch + 1, 0, None
        part = slice(self.window * self.num_steps, (self.window + 1) * self.num_steps)
        self.window += 1
        state = None if self.state is None else tuple(Tensor(array) for array in self.state)
        return np.ascontiguousarray(self.inputs[part]), np.ascontiguousarray(self.targets[part]), state

    def carry(self, state: State) -> None:
        if self.carried:
            self.state = tuple(tensor.data for tensor in state)


def losses(model: Any, batches: Batches) -> Iterator[float]:
    """The loss of each batch of an epoch in turn, each from the state that the one before left; of padded batches
    times their `weight`, so that the mean of all is the mean over what is no padding."""
    for _ in range(batches.num_windows):
        with no_tape():  # not around the loop: whoever reads on may record in between
            inputs, targets, state = batches.next()
            loss, last = model.loss(inputs, targets, state)
            batches.carry(last)
        yield loss.item() * getattr(batches, "weight", 1.0)


class Task:
    """A kind of job, bound to its settings and its data. A subclass says what is marked with *, and may say the rest.

    name, about     * as it is typed, and a line of what is learned
    Settings        its settings: `Config`, or a frozen dataclass derived from it with rows of its own, or with other
                    defaults for rows that all tasks share
    unused          names of settings of `Config` that mean nothing to it, and are refused
    metrics         what `evaluate` returns; the first one is the loss, the smallest of which makes best.ckpt
    unit            what the speed of training counts
    RULES           what a checkpoint holds of it besides settings: the rules for what `meta` returns

    batches         * what is learned from
    network()       * a Module with the attributes `config`, `rnn` (a Recurrent) and `flat`, and with the methods
                    loss(inputs, targets, state) -> (loss, last state), draw_dropout(update, start), copy(**settings);
                    where a window may be gone over in segments also read(inputs, state) -> last state
    validation()    the held-out batches from the first on, always the same; None: nothing is held out
    fingerprint     of the data: a run goes on only where it is the same
    baseline        (in words, the loss of it): what takes no network; None where there is nothing of that kind
    segment_steps   how many time steps of a window are on a tape at once
    num_losses      of how many numbers the loss of a batch is the mean: time steps times batch_size, say
    batch_tokens    how many of `unit` an update reads
    """

    name: ClassVar[str] = ""
    about: ClassVar[str] = ""
    Settings: ClassVar[type[Config]] = Config
    unused: ClassVar[Sequence[str]] = ("lines",)
    metrics: ClassVar[Sequence[Metric]] = (Metric("loss"),)
    unit: ClassVar[str] = "steps"
    RULES: ClassVar[Mapping[str, Rule]] = {}
    # Of a task whose data is one long text, as `micrornn.data` has them; what writes, or looks at windows of a text,
    # asks for these, and says so where there are none.
    tokens: Any = None
    vocab: Any = None
    lanes: Any = None
    val_lanes: Any = None

    config: Config
    batches: Batches
    fingerprint: str = ""
    baseline: tuple[str, float] | None = None

    @classmethod
    def usual_files(cls) -> list[Path]:
        """What it learns from where no files are named."""
        return []

    @classmethod
    def prepare(cls, config: Any, files: Sequence[Path] = (), progress: Progress | None = None) -> Task:
        """The task with its data, from the files or made up. This one takes no files."""
        cls.require_used(config)
        if files:
            raise DataError(f"the task {cls.name} makes its own data; leave {files[0]} away")
        return cls(config)

    @classmethod
    def require_used(cls, config: Config) -> None:
        """ConfigError where a setting that means nothing to it is not as usual."""
        usual = cls.Settings()
        for name in cls.unused:
            if getattr(config, name) != getattr(usual, name):
                raise ConfigError(f"--{name.replace('_', '-')} is no setting of the task {cls.name}; leave it away")

    def __init__(self, config: Any, data: Any = None):
        self.config = config

    def network(self) -> Any:
        raise NotImplementedError

    def validation(self) -> Batches | None:
        return None

    def meta(self) -> dict[str, Any]:
        """What a checkpoint must hold, besides the settings, to make the network again."""
        return {}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        """DataError where what `meta` returned is no longer fit for use."""

    @classmethod
    def network_from(cls, config: Any, meta: Mapping[str, Any], num_parameters: int) -> Any:
        """The network of a checkpoint, which has so many parameters. By default made anew with its data."""
        return cls.prepare(config).network()

    @property
    def segment_steps(self) -> int:
        if self.config.memory_budget:
            raise ConfigError(f"--memory-budget: the task {self.name} does not go over a window in segments")
        return MOST

    @property
    def num_losses(self) -> int:
        return self.config.batch_size * self.config.num_steps

    @property
    def batch_tokens(self) -> int:
        return self.config.batch_size * self.config.num_steps

    def evaluate(self, model: Any) -> dict[str, float]:
        """Metric -> value over what is held out."""
        batches = self.validation()
        if batches is None:
            raise ConfigError("nothing is held out (--val-fraction 0)")
        model.train(False)
        return {self.metrics[0].name: float(np.mean(list(losses(model, batches))))}

    def told(self, model: Any) -> dict[str, str]:
        """What is said of data and network before training: a word -> what it is."""
        return {"task": f"{self.name}: {self.about}", "model": f"{len(model.flat):,} parameters"}

    def drawing(self) -> str:
        """A picture of one batch, in plain lines; empty: none."""
        return ""
