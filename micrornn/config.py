"""Every setting of a training run, once: name, type, default, range, and what help says of it (setting.py); and what
the settings of an update come to.

The command line, the environment (MICRORNN_*), run.toml and a checkpoint all read this one table.

Config                      the table
changeable("limit", ...)    the settings that a resumed run may change
paced(config, factor, norm) learning rate, scale and limit of an update
learning(config)            how a run learns, in words
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from micrornn.backprop import FORMS, Typed
from micrornn.backprop import parse as parse_backprop
from micrornn.errors import ConfigError, OptionError, counted, instead, quoted
from micrornn.folders import cache_home as cache_home  # offered here too
from micrornn.folders import expand
from micrornn.owncode import is_own_code
from micrornn.setting import allowed as allowed
from micrornn.setting import check as check
from micrornn.setting import setting as setting

# Half of the different words of a text occur only once. Nothing can be learned about those, and each makes every update
# slower.
WORDS = 8000
CELL_NAMES = (  # a file each in cells/
    "rnn", "rnn_relu", "lstm", "gru", "lstm_peephole", "lstm_coupled", "lstm_noaf", "gru_before", "mgu", "indrnn",
    "rnn_leaky", "mingru", "minlstm", "slstm",
)  # fmt: skip
TIMED_CELLS = ("rnn", "gru", "lstm")  # by benchmarks, unless others are asked for: what other frameworks have too
WINDOW = re.compile(r"window([1-9][0-9]?)")  # window2: a feed-forward net over the last 2 inputs, also a cell
MOST = 2**31 - 1  # no size of anything can sensibly be larger


@dataclass(frozen=True)
class Config:
    """The settings of one run, as the flags of `micrornn train`. Raises ConfigError where one is out of its range.

    >>> Config(cell="gru", num_layers=2).hidden_size
    256
    """

    cell: str = setting(
        "lstm",
        "The recurrent cell; windowK, a feed-forward net over the last K inputs; or one of your own: FILE.py:CLASS.",
        choices=CELL_NAMES,
        also=lambda cell: is_own_code(cell) or is_window(cell),
    )
    num_layers: int = setting(1, "Recurrent layers, one above the other.", low=1, high=64)
    hidden_size: int = setting(256, "Units in each layer.", low=1, high=65536)
    embedding_size: int = setting(
        64,
        "Numbers that stand for one token. 0: a 1 among zeros, of which nothing is learned.",
        low=0,
        high=65536,
        special=True,
    )
    tied: bool = setting(
        False,
        "The output layer shares the embedding's weights, which must be as wide as the hidden layer.",
        special=True,
    )
    bidirectional: bool = setting(False, "Read in both directions (not for a language model).", special=True)
    dropout: float = setting(0.0, "Rate of dropout between layers and before the output.", low=0, below=1)
    input_dropout: float = setting(0.0, "Rate of dropout on what the lowest layer reads.", low=0, below=1)
    recurrent_dropout: float = setting(
        0.0,
        "Rate of dropout on the state where it goes through weights, the same at all time steps of a window.",
        low=0, below=1,
    )  # fmt: skip
    dropout_mask: str = setting(
        "step", "What is dropped of inputs, between layers and before the output: other numbers at each time step, or "
        "(sequence) the same ones at all of a window.",
        choices=("step", "sequence"),
    )  # fmt: skip
    forget_bias: float = setting(1.0, "Where the bias of a forget gate f starts.", low=-100, high=100)
    init: str = setting(
        "",
        "How all weights start: uniform:BOUND, uniform:LOW:HIGH, normal:DEVIATION, he[:GAIN], glorot, orthogonal, "
        "identity or zeros. By default each layer has its own way.",
    )
    init_recurrent: str = setting("", "How the weights from h_prev start, if in another way than `init` says.")
    init_embedding: str = setting("", "How an embedding starts, if in another way than `init` says.", special=True)
    init_bias: str = setting("", "How biases start: zeros, uniform:... or normal:...")
    granularity: str = setting("sequence", "How finely the tape records.", choices=("primitive", "cell", "sequence"))
    dtype: str = setting("float32", "Precision of all numbers.", choices=("float32", "float64"))

    level: str = setting(
        "char", "What a token is: a character, a word (or a mark), a byte of any file, or (spaced) whatever stands "
        "between spaces, of a text that is split into tokens already.",
        choices=("char", "word", "byte", "spaced"), special=True,
    )  # fmt: skip
    encoding: str = setting("utf-8", "What FILES are written in, such as cp1252, utf-16 or shift_jis.", special=True)
    vocab_size: int = setting(
        0,
        "Keep only the N most frequent tokens; all others are read as one. 0: all characters or bytes, the "
        f"{WORDS:,} most frequent words.",
        low=0, cap=MOST, special=True,
    )  # fmt: skip
    lines: bool = setting(
        False,
        "Each line of the text is a sequence of its own, with its own state; what it leaves of a window is padding.",
        special=True,
    )
    batch_size: int = setting(32, "Lanes: sequences, or pieces of the text, read side by side.", low=1, cap=MOST)
    num_steps: int = setting(
        32, "Time steps unrolled per update: how far back the gradient can go.", low=1, cap=MOST, special=True
    )
    state: str = setting(
        "carried", "State at the start of a window: carried from the last, or fresh zeros.",
        choices=("carried", "fresh"), special=True,
    )  # fmt: skip
    backprop: str = setting(
        "window",
        "How the gradient goes back: " + FORMS + " (docs/backprop.md).",
        parse=parse_backprop,
    )
    memory_budget: int = setting(
        0,
        "Memory that an update may take, as in 500MB or 2GB: a window that needs more is gone over in segments, each "
        "computed twice. Beside it come some 150 MB for Python and the compiler. 0: no limit.",
        low=0, cap=2**63 - 1, size=True, special=True,
    )  # fmt: skip
    val_fraction: float = setting(0.05, "Part of the text held out for validation.", low=0, below=1, special=True)
    validation: str = setting(
        "", "A file, folder or glob to validate on; nothing is held out of FILES then.", special=True, resumed="where"
    )
    val_every: int = setting(1000, "Updates between validations (and checkpoints).", low=1, cap=MOST)

    watch_gradients: int = setting(
        0,
        "Record at the first update and at every N-th how the gradient flows, for `micrornn inspect flow`; written N "
        "or every=N. It changes nothing in training. 0: do not.",
        low=0, cap=MOST, prefix="every=", resumed="seen",
    )  # fmt: skip
    keep_every: int = setting(
        0, "Every N updates keep a checkpoint of its own, update-NUMBER.ckpt. 0: do not.", low=0, cap=MOST,
        resumed="seen",
    )  # fmt: skip

    optimizer: str = setting(
        "adam", "sgd, momentum, adagrad, rmsprop, adam or adamw; options as in rmsprop:decay=0.9,eps=1e-6."
    )
    lr: float = setting(0.006, "Learning rate.", above=0, cap=1e9, resumed="mends")
    schedule: str = setting(
        "warmup:100+cosine:0.05",
        "Of the learning rate: constant, step:EVERY:FACTOR, exponential:EVERY:FACTOR, cosine[:FINAL] (falls "
        "only where `num_updates` or `epochs` tell the end), decay:AFTER:FACTOR (with each epoch after so many), "
        "warmup:UPDATES, or two joined by +. By default, a run of "
        "fewer than 1,000 updates is warmed up for a tenth of them.",
        resumed="mends",
    )
    clip_norm: float = setting(
        1.0, "Limit of the gradient's norm. 0: none.", low=0, resumed="mends", words="gradient norm at most {:g}"
    )
    clip_value: float = setting(
        0.0, "Limit of each number of the gradient. 0: none.", low=0, resumed="mends",
        words="each gradient at most {:g}",
    )  # fmt: skip
    clip_message: float = setting(
        0.0, "Limit of each number of the message passed back from one time step to the one before. 0: none.", low=0,
        resumed="mends", words="each message back in time at most {:g}",
    )  # fmt: skip
    loss: str = setting(
        "mean", "Loss averaged over time steps, or summed over them (always averaged over lanes).",
        choices=("mean", "sum"), special=True, words="loss summed over time",
    )  # fmt: skip

    num_updates: int = setting(0, "Stop after N updates. 0: no limit.", low=0, cap=MOST, resumed="limit")
    epochs: float = setting(0.0, "Stop after X passes over the data. 0: no limit.", low=0, cap=1e9, resumed="limit")
    max_minutes: float = setting(
        0.0, "Stop after X minutes. 0: no limit. With no limit of any kind: 4600 updates or 1.4 minutes.", low=0,
        cap=1e9, resumed="limit",
    )  # fmt: skip
    patience: int = setting(
        0,
        "Stop after N validations in a row without a new best. 0: do not. With it alone there is no other limit.",
        low=0, cap=MOST, resumed="seen",
    )  # fmt: skip
    init_from: str = setting(
        "",
        "Start from the weights of this run or checkpoint of the same task, on any data, at any rate; cell and sizes "
        "are its own, and symbols (characters, words, labels) keep their weights where both have them.",
    )
    seed: int = setting(0, "Random seed of initial weights and dropout.", low=0, cap=2**63 - 1)
    device: str = setting("cpu", "Where to compute.", choices=("cpu", "cuda"), resumed="where")
    matmul_precision: str = setting(
        "float32",
        "Of matrix products on a graphics card: tf32 rounds the factors to 10 bits for its tensor cores.",
        choices=("float32", "tf32"),
        resumed="where",
    )
    threads: int = setting(0, "Processor cores to use. 0: all.", low=0, high=4096)

    def __new__(cls, *given: Any, **settings: Any) -> Config:
        cls._require_known(settings, cls.__name__)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            object.__setattr__(self, entry.name, check(entry, getattr(self, entry.name)))
        if self.validation:  # a run can be resumed from any folder
            object.__setattr__(self, "validation", os.path.abspath(expand(self.validation)))
            if self.val_fraction not in (0, type(self).__dataclass_fields__["val_fraction"].default):
                raise ConfigError("`val_fraction` and `validation` both say what is held out; leave one of the two out")
        self._fit_windows()

    def _fit_windows(self) -> None:
        """Some ways to propagate back determine `num_steps` and `state`."""
        way = self.way
        usual = type(self).__dataclass_fields__["num_steps"].default
        if way.num_steps is not None and way.num_steps != self.num_steps:
            if self.num_steps != usual:
                raise ConfigError(
                    f"`backprop={way.text}` takes batches of {counted(way.num_steps, 'time step')}, and `num_steps` is "
                    f"{self.num_steps:,}; leave one of the two out"
                )
            object.__setattr__(self, "num_steps", way.num_steps)
        if way.name == "stateless":
            object.__setattr__(self, "state", "fresh")

    @property
    def way(self) -> Typed:
        """How the gradient goes back."""
        return parse_backprop(self.backprop)

    def limits(self) -> Config:
        """The same settings. If no limit is given, limits for a first try: enough to learn something, and soon over."""
        if self.num_updates or self.epochs or self.max_minutes or self.patience:
            return self
        return dataclasses.replace(self, num_updates=4600, max_minutes=1.4)

    @property
    def vocab_limit(self) -> int | None:
        """The most tokens of the vocabulary; None: all that the text has."""
        return self.vocab_size or (WORDS if self.level == "word" else None)

    @property
    def cell_title(self) -> str:
        """The cell's name on a screen."""
        return self.cell.rpartition(":")[2] if is_own_code(self.cell) else self.cell.upper()

    def to_dict(self) -> dict[str, Any]:
        """Name -> value."""
        return dataclasses.asdict(self)

    @classmethod
    def _require_known(cls, names: Iterable[str], where: str) -> None:
        known = cls.__dataclass_fields__
        for name in names:
            if name not in known:
                raise OptionError(f"{where} has no setting {quoted(name)}{instead(name, known)}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "the configuration") -> Config:
        """From names and values. ConfigError names an unknown setting, and what may have been meant."""
        cls._require_known(values, where)
        fields = {entry.name: entry for entry in dataclasses.fields(cls)}
        return cls(**{name: check(fields[name], value, f"{where}: {name}") for name, value in values.items()})


def may_change(diverged: bool) -> tuple[str, ...]:
    """The settings that a resumed run may change, the limits first. There are more if the run diverged."""
    return changeable("limit") + changeable("where", "seen", *(["mends"] if diverged else []))


def rate(config: Config, factor: float) -> float:
    """The learning rate of an update at which the schedule has this factor."""
    return config.lr * factor


def paced(config: Config, factor: float, norm: float) -> tuple[float, float, float]:
    """(lr, scale, limit): what `Optimizer.update` is told, for a gradient of this norm."""
    return rate(config, factor), clip_scale(norm, config.clip_norm), config.clip_value or math.inf


def learning(config: Config) -> str:
    """In words, how a run learns: the optimizer, the learning rate, and every setting with `words` that is not off."""
    parts = [f"{config.optimizer}, learning rate {config.lr:g} ({config.schedule})"]
    for entry in dataclasses.fields(config):
        value, words = getattr(config, entry.name), entry.metadata["words"]
        if words and value and value != (entry.metadata["choices"] or (None,))[0]:
            parts.append(words.format(value))
    return "; ".join(parts)


def clip_scale(norm: float, clip_norm: float) -> float:
    """What to multiply the gradient by so that its norm is at most clip_norm (0: no limit) (Pascanu et al. 2013)."""
    return min(1.0, clip_norm / (norm + 1e-6)) if clip_norm > 0 else 1.0


def changeable(*why: str) -> tuple[str, ...]:
    """The settings that a resumed run may change for these reasons, keys of RESUMED."""
    return tuple(entry.name for entry in dataclasses.fields(Config) if entry.metadata["resumed"] in why)


def is_window(cell: Any) -> bool:
    """Whether a cell's name is that of a sliding window: window1 to window99."""
    return isinstance(cell, str) and WINDOW.fullmatch(cell) is not None
