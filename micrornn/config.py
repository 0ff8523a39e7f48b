"""Every setting of a training run, once: name, type, default, range, and what help says of it.

The command line, the environment (MICRORNN_*), run.toml and a checkpoint all read this one table.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from micrornn.backprop import FORMS, Typed
from micrornn.backprop import parse as parse_backprop
from micrornn.errors import ConfigError, OptionError, instead, quoted
from micrornn.folders import cache_home as cache_home  # offered here too
from micrornn.folders import expand
from micrornn.owncode import is_own_code
from micrornn.schema import Rule

# Of the words of a text half come once. Nothing is learned of those, and each takes its share of every update.
WORDS = 8000
CELL_NAMES = (  # a file each in cells/
    "rnn", "rnn_relu", "lstm", "gru", "lstm_peephole", "lstm_coupled", "lstm_noaf", "gru_before", "mgu", "indrnn",
    "rnn_leaky", "mingru", "minlstm", "slstm",
)  # fmt: skip
WINDOW = re.compile(r"window([1-9][0-9]?)")  # a feed-forward net over the last K inputs is a cell, too: window2
MOST = 2**31 - 1  # no size of anything can sensibly be larger


def setting(default: Any, help: str, *, low: float | None = None, high: float | None = None,
            choices: tuple[str, ...] = (), above: float | None = None, below: float | None = None,
            size: bool = False, prefix: str = "", parse: Callable[[Any, str], Any] | None = None,
            special: bool = False, cap: float | None = None) -> Any:  # fmt: skip
    """A field: `low <= value <= high`, or `above < value < below`, or one of `choices`; `size`: a number of bytes,
    that may be written as 500MB; `prefix`: what may be written before a number, such as every=; `parse(value, flag)`
    raises ConfigError for a text that cannot be; `special`: it means something to some tasks only, which say so; `cap`:
    in the place of `high`, a bound that no sensible value comes near, and that help does not speak of."""
    told = Rule(type(default), low=low, high=high, above=above, below=below, choices=choices)
    rule = dataclasses.replace(told, high=cap if high is None else high)
    return field(
        default=default,
        metadata={
            "help": help, "rule": rule, "told": told, "choices": choices, "size": size, "prefix": prefix,
            "parse": parse, "special": special,
        },
    )  # fmt: skip


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
        "", "A file, folder or glob to validate on; nothing is held out of FILES then.", special=True
    )
    val_every: int = setting(1000, "Updates between validations (and checkpoints).", low=1, cap=MOST)

    watch_gradients: int = setting(
        0,
        "Record at the first update and at every N-th how the gradient flows, for `micrornn inspect flow`; written N "
        "or every=N. It changes nothing in training. 0: do not.",
        low=0, cap=MOST, prefix="every=",
    )  # fmt: skip
    keep_every: int = setting(
        0, "Every N updates keep a checkpoint of its own, update-NUMBER.ckpt. 0: do not.", low=0, cap=MOST
    )

    optimizer: str = setting(
        "adam", "sgd, momentum, adagrad, rmsprop, adam or adamw; options as in rmsprop:decay=0.9,eps=1e-6."
    )
    lr: float = setting(0.006, "Learning rate.", above=0, cap=1e9)
    schedule: str = setting(
        "warmup:100+cosine:0.05",
        "Of the learning rate: constant, step:EVERY:FACTOR, exponential:EVERY:FACTOR, cosine[:FINAL] (falls "
        "only where `num_updates` or `epochs` tell the end), decay:AFTER:FACTOR (with each epoch after so many), "
        "warmup:UPDATES, or two joined by +. By default, a run of "
        "fewer than 1,000 updates is warmed up for a tenth of them.",
    )
    clip_norm: float = setting(1.0, "Limit of the gradient's norm. 0: none.", low=0)
    clip_value: float = setting(0.0, "Limit of each number of the gradient. 0: none.", low=0)
    clip_message: float = setting(
        0.0,
        "Limit of each number of the message passed back from one time step to the one before. 0: none.",
        low=0,
    )
    loss: str = setting(
        "mean", "Loss averaged over time steps, or summed over them (always averaged over lanes).",
        choices=("mean", "sum"), special=True,
    )  # fmt: skip

    num_updates: int = setting(0, "Stop after N updates. 0: no limit.", low=0, cap=MOST)
    epochs: float = setting(0.0, "Stop after X passes over the data. 0: no limit.", low=0, cap=1e9)
    max_minutes: float = setting(
        0.0,
        "Stop after X minutes. 0: no limit. With no limit of any kind: 4600 updates or 1.4 minutes.",
        low=0,
        cap=1e9,
    )
    patience: int = setting(
        0,
        "Stop after N validations in a row without a new best. 0: do not. With it alone there is no other limit.",
        low=0, cap=MOST,
    )  # fmt: skip
    init_from: str = setting(
        "",
        "Start from the weights of this run or checkpoint of the same task, on any data, at any rate; cell and sizes "
        "are its own, and symbols (characters, words, labels) keep their weights where both have them.",
    )
    seed: int = setting(0, "Random seed of initial weights and dropout.", low=0, cap=2**63 - 1)
    device: str = setting("cpu", "Where to compute.", choices=("cpu", "cuda"))
    matmul_precision: str = setting(
        "float32",
        "Of matrix products on a graphics card: tf32 rounds the factors to 10 bits for its tensor cores.",
        choices=("float32", "tf32"),
    )
    threads: int = setting(0, "Processor cores to use. 0: all.", low=0, high=4096)

    def __new__(cls, *given: Any, **settings: Any) -> Config:
        cls._require_known(settings, cls.__name__)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            object.__setattr__(self, entry.name, check(entry, getattr(self, entry.name)))
        if self.validation:  # a run goes on from any folder
            object.__setattr__(self, "validation", os.path.abspath(expand(self.validation)))
        self._fit_windows()

    def _fit_windows(self) -> None:
        """A way to propagate back may say how many time steps a batch has, and whether the state is carried."""
        way = self.way
        usual = type(self).__dataclass_fields__["num_steps"].default
        if way.num_steps is not None and way.num_steps != self.num_steps:
            if self.num_steps != usual:
                raise ConfigError(
                    f"`backprop={way.text}` takes batches of {way.num_steps:,} time steps, and `num_steps` is "
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
        """The same; with no limit at all, those of a first look: enough to learn something, and soon over."""
        if self.num_updates or self.epochs or self.max_minutes or self.patience:
            return self
        return dataclasses.replace(self, num_updates=4600, max_minutes=1.4)

    @property
    def vocab_limit(self) -> int | None:
        """The most tokens of the vocabulary; None: all that the text has."""
        return self.vocab_size or (WORDS if self.level == "word" else None)

    @property
    def cell_title(self) -> str:
        """What the cell is called on a screen."""
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
        """From names and values; ConfigError names what is unknown, and what may have been meant."""
        cls._require_known(values, where)
        fields = {entry.name: entry for entry in dataclasses.fields(cls)}
        return cls(**{name: check(fields[name], value, f"{where}: {name}") for name, value in values.items()})


def check(entry: dataclasses.Field[Any], value: Any, name: str = "") -> Any:
    """The value in the field's own type, or ConfigError that says what was got and what is allowed.

    name    under which it was given; by default its own
    """
    flag = name or f"`{entry.name}`"
    if entry.metadata["size"] and isinstance(value, str):
        value = parse_size(value, flag)
    prefix = entry.metadata["prefix"]
    if prefix and isinstance(value, str):
        number = value.removeprefix(prefix)
        if not (number.isascii() and number.isdigit() and len(number) < 20):
            raise ConfigError(f"{flag} is {quoted(value)}; it must be a whole number, such as 50 or {prefix}50")
        value = int(number)
    if entry.name == "cell" and (is_own_code(value) or is_window(value)):
        return value
    rule: Rule = entry.metadata["rule"]
    value = rule.check(value, flag, ConfigError)
    if entry.metadata["parse"] is not None:
        entry.metadata["parse"](value, flag)
    return value


def is_window(cell: Any) -> bool:
    """Whether a cell's name is that of a sliding window: window1 to window99."""
    return isinstance(cell, str) and WINDOW.fullmatch(cell) is not None


UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(text: str, flag: str) -> int:
    """Bytes: 500MB, 1.5 GB, 300MiB or a number alone."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", text, re.ASCII)
    try:
        number, unit = found.groups() if found else ("", "")
        return int(float(number) * UNITS[unit.upper() or "B"])
    except (ValueError, KeyError, OverflowError):
        raise ConfigError(f"{flag} is {quoted(text)}; it must be a size such as 500MB or 2GB") from None


def allowed(entry: dataclasses.Field[Any]) -> str:
    """The range of a number in words, as help tells it: without a cap, and empty where all there is to it is that the
    default is the least."""
    told: Rule = entry.metadata["told"]
    default: Any = entry.default
    return "" if told == Rule(told.kind, low=default) else told.range()
