"""What every measure gives: arrays with named axes and units, and verdicts in words.

Axis       a direction of an array: its name, its unit, and what each place on it is called
Array      numbers along named axes, with their unit
Number     one number with its unit
Verdict    what the numbers mean, and what to do;  blown_up  where one is not finite
Learned    how much a model has learned, beside what takes no learning: it stands in every verdict
Measure    all of that together, ready for JSON, CSV or a picture
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from micrornn.errors import ConfigError, instead
from micrornn.inspect.kinds import ALL, KINDS
from micrornn.inspect.words import number


@dataclass(frozen=True)
class Axis:
    """A direction of arrays. `places` names each index: numbers (in `unit`) or texts."""

    unit: str
    places: tuple[Any, ...]

    @classmethod
    def of(cls, places: Any, unit: str = "") -> Axis:
        """From any row of numbers or texts."""
        return cls(unit, tuple(x.item() if isinstance(x, np.generic) else x for x in places))


@dataclass(frozen=True)
class Array:
    """`values` along the axes that are named in `axes`, which a Measure holds. `about` says in a line what it is."""

    values: np.ndarray
    axes: tuple[str, ...]
    unit: str
    about: str


@dataclass(frozen=True)
class Number:
    """One number. `about` says in a line what it is."""

    value: float
    unit: str
    about: str


@dataclass(frozen=True)
class Verdict:
    """kind: one of inspect/kinds.py. words: a sentence or two, with the numbers in them. numbers: the same, to be
    computed with. advice: what to do; empty where there is nothing to do. beside: the end of the words that is the
    same in all verdicts on one model."""

    kind: str
    words: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    advice: str = ""
    beside: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ALL:
            raise ValueError(f"there is no verdict {self.kind!r}; inspect/kinds.py has {', '.join(ALL)}")

    @property
    def short(self) -> str:
        """The words without what is the same in all verdicts on one model."""
        return self.words.removesuffix(self.beside).rstrip()


def blown_up(words: str, **numbers: float) -> Verdict:
    """The verdict where a number is not finite, and nothing can be measured."""
    return Verdict("nonfinite", words, numbers, "`micrornn inspect nonfinite` says what blew up first.")


# A loss within 2 % of what takes no learning, such as the frequencies of tokens, shows none: so far apart are losses of
# one and the same model on other parts of its data.
AT_LEAST = 0.02

# With less of the learning rate left than this, a run comes to rest where its gradient, or the truncated one, is 0, and
# noise is what remains: its noise scale is of another temperature (McCandlish et al. 2018, appendix C).
COOLED = 0.5


@dataclass(frozen=True)
class Learned:
    """How much a model has learned: its loss, beside those that take no learning.

    loss      on the data that is looked at
    unit      of all of them: nats per character, squared error
    beside    (name among numbers, how it comes about, its value): the best of them first, such as the unigram entropy
              of a text, ("frequencies", "by token frequencies alone", 2.9); empty where nothing of that kind is known
    """

    loss: float
    unit: str = "nats per token"
    beside: Sequence[tuple[str, str, float]] = ()

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Learned | None:
        """As the subject of a measure tells it ("learned", of `Subject.about()`); None where it does not."""
        return cls(**about["learned"]) if about.get("learned") else None

    @property
    def baseline(self) -> float:
        """The best that takes no learning; NaN where that is not known."""
        return float(self.beside[0][2]) if self.beside else math.nan

    @property
    def by(self) -> str:
        """How that comes about."""
        return self.beside[0][1] if self.beside else ""

    @property
    def anything(self) -> bool:
        """Whether the model has learned anything that takes learning; True where that cannot be told."""
        return not self.beside or self.loss < (1 - AT_LEAST) * self.baseline or self.baseline < 1e-6

    @property
    def words(self) -> str:
        """One sentence."""
        others = ", ".join(f"{number(value)} {words}" for _, words, value in self.beside)
        return f"Loss {number(self.loss)} {self.unit}" + (f"; {others}." if others else ".")

    def told(self, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
        """The same verdicts with the loss in them. Nothing that has learned nothing is healthy."""
        numbers = {"loss": self.loss} | {name: value for name, _, value in self.beside}
        found = []
        for verdict in verdicts:
            if verdict.beside:  # it was told before
                found.append(verdict)
                continue
            kind, words, advice = verdict.kind, verdict.words, verdict.advice
            if kind == "healthy" and not self.anything:
                kind = "unlearned"
                words = f"The model does no better than {number(self.baseline)} {self.by}, so this says little: {words}"
                advice = (
                    "Train it first: longer, with another `lr`, or with more units. If that does not help, the data "
                    "may hold nothing more to be learned."
                )
            words = f"{words.rstrip()} {self.words}"
            told = {**numbers, **verdict.numbers}
            found.append(replace(verdict, kind=kind, words=words, advice=advice, numbers=told, beside=self.words))
        return tuple(found)


@dataclass(frozen=True)
class Measure:
    """What was measured (`flow`, `credit`, ...), on what (`subject`: run, text, lanes, ...), and what came out.

    Where the subject says what the model has learned ("learned", as `Subject.about()` gives it), all verdicts are
    told beside that.
    """

    what: str
    subject: Mapping[str, Any]
    axes: Mapping[str, Axis]
    arrays: Mapping[str, Array]
    numbers: Mapping[str, Number] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            shape = tuple(len(self.axes[axis].places) for axis in array.axes)
            if array.values.shape != shape:
                raise ValueError(f"{self.what}.{name} has shape {array.values.shape}, its axes have {shape}")
        if learned := Learned.of(self.subject):
            object.__setattr__(self, "verdicts", learned.told(self.verdicts))

    def __getitem__(self, name: str) -> np.ndarray:
        """The values of an array by its name."""
        return self.arrays[name].values

    def judged(self, *verdicts: Verdict) -> Measure:
        """The same with its verdicts, for those that are read off what was measured."""
        return replace(self, verdicts=verdicts)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON. NaN and infinities become None: JSON knows none of them."""
        return {
            "what": self.what,
            "subject": plain(dict(self.subject)),
            "axes": {name: {"unit": a.unit, "places": list(a.places)} for name, a in self.axes.items()},
            "arrays": {
                name: {"axes": list(a.axes), "unit": a.unit, "about": a.about, "values": plain(a.values.tolist())}
                for name, a in self.arrays.items()
            },
            "numbers": {
                name: {"value": plain(n.value), "unit": n.unit, "about": n.about} for name, n in self.numbers.items()
            },
            "verdicts": [
                {"kind": v.kind, "words": v.words, "advice": v.advice, "numbers": plain(dict(v.numbers))}
                for v in self.verdicts
            ],
        }

    def to_csv(self) -> str:
        """One line for each number: array, its place on each axis (empty where the array lacks that axis), value,
        unit. Numbers stand first, with no place at all."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["array", *self.axes, "value", "unit"])
        for name, one in self.numbers.items():
            writer.writerow([name, *[""] * len(self.axes), one.value, one.unit])
        for name, array in self.arrays.items():
            for at, value in zip(product(*(range(n) for n in array.values.shape)), array.values.flat):
                place = {axis: self.axes[axis].places[i] for axis, i in zip(array.axes, at)}
                writer.writerow([name, *(place.get(axis, "") for axis in self.axes), value, array.unit])
        return out.getvalue()


def plain(value: Any) -> Any:
    """Numbers as JSON can hold them."""
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def kinds(names: str) -> Iterator[str]:
    """The verdict kinds in a list with commas. ConfigError names the one that is none."""
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in KINDS:
            raise ConfigError(f"there is no verdict {name!r}{instead(name, KINDS)}")
        yield name
