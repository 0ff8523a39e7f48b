"""What a task is: the interface that training, checkpoints and the command line know.

Task        a kind of job, with its settings and its data

What results.py, batches.py and evaluate.py hold for tasks is offered here, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from micrornn.config import MOST, Config
from micrornn.data import find
from micrornn.errors import ConfigError, DataError, DivergedError, counted
from micrornn.evaluate import losses
from micrornn.schema import Rule
from micrornn.tasks.batches import VALIDATION, Batches, Drawn, Slices, State
from micrornn.tasks.results import BySymbol, Confusion, Forecast, Judged, Metric
from micrornn.tasks.together import gathered, said

if TYPE_CHECKING:
    from micrornn.tasks.material import Material

__all__ = ["VALIDATION", "Batches", "BySymbol", "Confusion", "Drawn", "Forecast", "Judged", "Metric", "Progress",
           "Slices", "State", "Task", "losses"]  # fmt: skip

Progress = Callable[[int, int], None]
SPECIAL = tuple(row.name for row in fields(Config) if row.metadata["special"])  # settings that not all tasks have


class Task:
    """A kind of job, bound to its settings and its data. A subclass says what is marked with *, and may say the rest.

    name, about     * as it is typed, and a line of what is learned
    Settings        its settings: `Config`, or a frozen dataclass derived from it with rows of its own, or with other
                    defaults for rows that all tasks share
    uses            which of the settings of `Config` that are special mean something to it (config.py marks them); the
                    others are refused, and `unused` has their names
    metrics         what `evaluate` returns; the first one is the loss
    chooses         the metric whose best value makes best.ckpt; "": the loss
    takes           what a line of new input is, for `predict`; "": it has no answer to any
    writes          whether a trained network writes text: then `vocab` is there, and the network has a `stepper`
    unit            what the speed of training counts
    shape           settings on which the shapes of the weights depend: a run that starts from another (init_from) has
                    those of that one
    RULES           what a checkpoint holds of it besides settings: the rules for what `meta` returns

    batches         * what is learned from
    network()       * a Module with the attributes `config`, `rnn` (a Recurrent) and `flat`, and with the methods
                    loss(inputs, targets, state) -> (loss, last state), draw_dropout(update, start), copy(**settings);
                    where a window may be gone over in segments also read(inputs, state) -> last state
    validation()    the held-out batches from the first on, always the same; None: nothing is held out
    fingerprint     of the data: a run goes on only where it is the same
    baseline        (in words, the loss of it): what takes no network; None where there is nothing of that kind
    baselines       the same for each metric that has one; by default `baseline` for the loss
    segment_steps   how many time steps of a window are on a tape at once
    per_step        whether there is an answer at every time step, or one for each sequence
    seq_len         time steps of a sequence; by default num_steps
    num_losses      of how many numbers the loss of a batch is the mean: by default one for each answer
    batch_tokens    how many of `unit` an update reads; by default one for each time step
    """

    name: ClassVar[str] = ""
    about: ClassVar[str] = ""
    Settings: ClassVar[type[Config]] = Config
    uses: ClassVar[Sequence[str]] = ("num_steps", "bidirectional", "loss")
    unused: ClassVar[Sequence[str]] = ()
    metrics: ClassVar[Sequence[Metric]] = (Metric("loss"),)
    chooses: ClassVar[str] = ""
    takes: ClassVar[str] = ""
    writes: ClassVar[bool] = False
    unit: ClassVar[str] = "steps"
    shape: ClassVar[Sequence[str]] = (
        "cell", "num_layers", "hidden_size", "embedding_size", "bidirectional", "tied", "level"
    )  # fmt: skip
    per_step: bool = True
    RULES: ClassVar[Mapping[str, Rule]] = {}
    # Of a task whose data is one long text, as `micrornn.data` has them; what writes, or looks at windows of a text,
    # asks for these, and says so where there are none.
    tokens: Any = None
    vocab: Any = None
    lanes: Any = None
    val_lanes: Any = None
    held_from = ""

    config: Config
    batches: Batches
    fingerprint: str = ""
    baseline: tuple[str, float] | None = None

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        if "unused" not in vars(cls):
            cls.unused = tuple(name for name in SPECIAL if name not in cls.uses)

    @classmethod
    def usual_files(cls) -> list[Path]:
        """What it learns from where no files are named."""
        return []

    @classmethod
    def files_of(cls, patterns: Sequence[str | Path]) -> list[Path]:
        """The files that these name (data/files.py), or the usual ones where none are named."""
        return find(patterns) if patterns else cls.usual_files()

    @classmethod
    def prepare(cls, config: Any, files: Sequence[Path] = (), progress: Progress | None = None) -> Task:
        """The task with its data, from the files or made up. This one takes no files."""
        cls.require_used(config)
        if files:
            raise DataError(f"the task {cls.name} makes its own data; leave {files[0]} out")
        return cls(config)

    @classmethod
    def example(cls, config: Any) -> Task:
        """The task with a little data that is made up, to try its network on. By default the one that `prepare` makes
        of no files."""
        return cls.prepare(config)

    @classmethod
    def require_used(cls, config: Config) -> None:
        """ConfigError where a setting that means nothing to it is not as usual."""
        way = config.way
        if (way.num_steps is not None and "num_steps" in cls.unused) or (
            way.name == "stateless" and "state" in cls.unused
        ):
            raise ConfigError(
                f"`backprop={config.backprop}` goes along a long sequence window by window, and those of the task "
                f"{cls.name} are read as they are; there is `backprop=full`"
            )
        usual = cls.Settings()
        for name in cls.unused:
            if getattr(config, name) != getattr(usual, name):
                raise ConfigError(f"`{name}` is no setting of the task {cls.name}; leave it out")

    def __init__(self, config: Any, data: Any = None):
        self.config = config

    @classmethod
    def without_data(cls, config: Any) -> Self:
        """A task with its settings alone, for `from_meta` to add what it is used with."""
        task = cls.__new__(cls)
        Task.__init__(task, config)
        return task

    def network(self) -> Any:
        raise NotImplementedError

    def validation(self) -> Batches | None:
        return None

    def require_validation(self) -> Any:
        """The held-out batches. ConfigError where there are none."""
        batches = self.validation()
        if batches is None:
            raise ConfigError("nothing is held out (`val_fraction=0`)")
        return batches

    def meta(self) -> dict[str, Any]:
        """What a checkpoint must hold, besides the settings, to make the network again."""
        return {}

    @classmethod
    def check_meta(cls, meta: Mapping[str, Any]) -> None:
        """DataError where what `meta` returned is no longer fit for use."""

    @classmethod
    def from_meta(cls, config: Any, meta: Mapping[str, Any]) -> Task:
        """The task of a trained network, from what `meta` returned: all that takes to use it, but none of the data it
        learned from. By default made anew with its data, which costs nothing where that is made up."""
        return cls.prepare(config)

    @classmethod
    def network_from(cls, config: Any, meta: Mapping[str, Any], num_parameters: int) -> Any:
        """The network of a checkpoint, which has so many parameters."""
        return cls.from_meta(config, meta).network()

    def by_symbol(self) -> Sequence[BySymbol]:
        """Which weights are those of symbols that the data has, such as its words."""
        return ()

    def material(self, remade: Callable[..., Task]) -> Material:
        """What a trained network is looked at with. remade(**settings): this task with other settings."""
        from micrornn.tasks.material import Material

        return Material(self, remade)

    @classmethod
    def material_of(cls, names: Sequence[str], config: Any, meta: Mapping[str, Any], unseen: str = "",
                    encoding: str = "") -> Material:  # fmt: skip
        """The same out of other files than it learns from."""
        raise ConfigError(f"`text`: a network of the task {cls.name} is looked at on its own data; leave it out")

    @property
    def segment_steps(self) -> int:
        if self.config.memory_budget:
            raise ConfigError(f"`memory_budget`: the task {self.name} does not go over a window in segments")
        return MOST

    @property
    def seq_len(self) -> int:
        return self.config.num_steps

    @property
    def num_losses(self) -> int:
        return self.config.batch_size * (self.seq_len if self.per_step else 1)

    @property
    def batch_tokens(self) -> int:
        return self.config.batch_size * self.seq_len

    @property
    def baselines(self) -> Mapping[str, tuple[str, float]]:
        """Metric -> (in words, its value) of what takes no network."""
        return {} if self.baseline is None else {self.metrics[0].name: self.baseline}

    def baselines_on(self, batches: Batches) -> Mapping[str, tuple[str, float]]:
        """The same on what `batches_of` gives."""
        return {}

    def scores(self, model: Any, inputs: Any, targets: Any, state: State | None) -> Mapping[str, tuple[float, float]]:
        """Of one batch, metric -> (its sum, over how many): for all metrics but the loss that are means."""
        return {}

    def evaluate(self, model: Any, batches: Batches | None = None) -> dict[str, float]:
        """Metric -> value over an epoch of the batches; by default of what is held out."""
        batches = batches or self.require_validation()
        model.train(False)
        sums: dict[str, list[tuple[float, float]]] = {}

        def look(inputs: Any, targets: Any, state: State | None) -> None:
            for name, found in self.scores(model, inputs, targets, state).items():
                sums.setdefault(name, []).append(found)

        loss = float(np.mean(list(losses(model, batches, look))))
        means = {name: np.sum(found, axis=0) for name, found in sums.items()}
        return {self.metrics[0].name: loss} | {name: float(s / n) if n else math.nan for name, (s, n) in means.items()}

    def batches_of(self, files: Sequence[Path]) -> Batches:
        """What a trained network is judged on where files are named: all that they hold, once."""
        raise DataError(f"the task {self.name} makes its own data, and is judged by what it holds out; leave FILES out")

    def judge(self, model: Any, files: Sequence[Path] = (), progress: Progress | None = None, **options: Any) -> Judged:
        """What `micrornn eval` tells: of the files, or of what is held out.

        options    those of a reading of text: unseen, encoding, batch_size, num_steps; None: not given
        """
        self.refuse(options)
        if files:
            batches = self.batches_of(files)
            return Judged(self.evaluate(model, batches), self.baselines_on(batches))
        return Judged(self.evaluate(model), self.baselines)

    def refuse(self, options: Mapping[str, Any]) -> None:
        """ConfigError where an option was given that means nothing here."""
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise ConfigError(f"`{given[0]}` is no option for the task {self.name}; leave it out")

    def confusion(self, model: Any) -> Confusion | None:
        """Which class is taken for which, of what is held out; None where there are no classes."""
        return None

    def forecast(self, model: Any) -> Forecast | None:
        """What is held out beside its forecast; None where that is no series."""
        return None

    def read_inputs(self, lines: Iterable[str], where: str) -> Iterator[tuple[int, Any]]:
        """(line number from 1, example) for each example in the lines of a file, in turn. By default one a line.

        where    the name of the file
        DataError where a line is no example, with file and line.
        """
        for number, line in enumerate(lines, 1):
            try:
                yield number, self.parse(line)
            except DataError as error:
                told = str(error) if "wanted" in str(error) or not self.takes else f"{error}; wanted {self.takes}"
                raise DataError(f"{where}:{number}: {told}") from None

    def parse(self, line: str) -> Any:
        """One line as an example. DataError says what is wrong with it."""
        raise DataError(f"the task {self.name} has no answer to new input")

    def encode(self, example: Any) -> Any:
        """An example as the network's inputs, one lane wide."""
        return example

    def predict(self, model: Any, examples: Iterable[Any], proba: bool = False,
                at_hand: Callable[[], bool] = lambda: True) -> Iterator[dict[str, Any]]:  # fmt: skip
        """An answer to each example, in their order: a dictionary fit for JSON, whose "answer" a reader is told; with
        `proba` also "probabilities", where there are any. Some are read ahead and answered together.

        at_hand    whether the next example is there; if not, all that were read are answered before it is waited for
        """
        model.train(False)
        for group in gathered(examples, at_hand):
            for example, outputs in zip(group, said(model, [self.encode(example) for example in group])):
                if not np.isfinite(outputs).all():
                    raise DivergedError("the network's numbers became NaN or infinite on this input")
                yield self.answer(outputs, example, proba)

    def go_on(self, model: Any, examples: Iterable[Any], steps: int) -> Iterator[dict[str, Any]]:
        """The `steps` rows that follow the last example, as answers. ConfigError where examples are no series."""
        raise ConfigError(f"the task {self.name} has no series to continue; leave `horizon` out")

    def answer(self, outputs: np.ndarray, example: Any, proba: bool) -> dict[str, Any]:
        """What the outputs of one lane say: (output_size,), or (seq_len, output_size) of every time step."""
        return {"answer": outputs.tolist()}

    def told(self, model: Any) -> dict[str, str]:
        """What is said of data and network before training: a word -> what it is."""
        return {"task": f"{self.name}: {self.about}", "model": f"{counted(len(model.flat), 'parameter')}"}

    def drawing(self) -> str:
        """A picture of one batch, in plain lines; empty: none."""
        return ""
