"""What is varied: `hidden-size:64,128`, `lr:1e-4..1e-1:log`, and what people write in between.

axes(texts, task)     the settings that are varied, each with its values
Axis                  a setting and its values, or the range that they are drawn from
Range                 from low to high, evenly or by logarithm; whole numbers where the setting is one
combined(axes)        every combination of their values, in order

A comma stands between values, and between settings: a word is the next setting if it begins with a name of one and a
colon (or =). So is `hidden-size:64,128,lr:0.01` read, and `optimizer:sgd,rmsprop:decay=0.9,eps=1e-6` has two values.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from micrornn.config import Config, check
from micrornn.errors import ConfigError, counted, instead, quoted

MOST_VALUES = 200  # of one setting
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)([:=])(.*)", re.DOTALL)
_RANGE = re.compile(r"([^.:]*(?:\.[0-9][^.:]*)?)\.\.([^:]*)(:log)?")
_OPTION = re.compile(r"[a-z_0-9]+=.*")


@dataclass(frozen=True)
class Range:
    """low..high; `log`: equally many draws from each decade. `whole`: whole numbers, both ends among them."""

    low: float
    high: float
    log: bool
    whole: bool

    def draw(self, rng: np.random.Generator) -> float:
        """One of them: a number with four digits, which can be typed again."""
        at, beyond = rng.random(), 0.5 if self.whole else 0.0
        low, high = self.low - beyond, self.high + beyond
        value = math.exp(math.log(low) + at * math.log(high / low)) if self.log else low + at * (high - low)
        return min(max(round(value) if self.whole else float(f"{value:.4g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Axis:
    """The name of a setting, as in `Config`, and the values that it is to have, or the range of them."""

    name: str
    values: tuple[Any, ...] | Range

    def draw(self, rng: np.random.Generator) -> Any:
        """One value at random."""
        if isinstance(self.values, Range):
            return self.values.draw(rng)
        return self.values[int(rng.integers(len(self.values)))]


def axes(texts: Iterable[str], settings: type[Config], search: bool = False) -> list[Axis]:
    """The axes in texts such as `hidden-size:64,128`, in order; ConfigError says what is wrong with one.

    settings    those that may be varied, a task's
    search      whether a range may be given
    """
    fields = {entry.name: entry for entry in dataclasses.fields(settings)}
    found: dict[str, Axis] = {}
    for text in texts:
        for name, words in _split(text, fields):
            if name in found:
                raise ConfigError(f"`vary` names {typed(name)} twice; write all its values behind one name")
            found[name] = _axis(fields[name], words, search)
    return list(found.values())


def _split(text: str, fields: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(setting, the words of its values) for each that a text names."""
    parts: list[tuple[str, list[str]]] = []
    for n, word in enumerate(text.split(",")):
        match = _NAME.fullmatch(word.strip())
        name = match[1].replace("-", "_").lower() if match else ""
        if match and name in fields:
            parts.append((name, [match[3].strip()]))
            continue
        if n == 0:
            if match is None:
                raise ConfigError(f"`vary={quoted(text)}`: wanted NAME:VALUE,VALUE, as in hidden-size:64,128")
            near = instead(typed(name), map(typed, fields)) or "; the help of `micrornn train` lists them"
            raise ConfigError(f"`vary={quoted(match[1])}` is no setting{near}")
        words = parts[-1][1]
        if _OPTION.fullmatch(word.strip()) and ":" in words[-1]:  # of the value before: rmsprop:decay=0.9,eps=1e-6
            words[-1] += f",{word.strip()}"
        else:
            words.append(word.strip())
    return parts


def _axis(entry: dataclasses.Field[Any], words: Sequence[str], search: bool) -> Axis:
    flag, kind = f"`vary={typed(entry.name)}`", type(entry.default)
    words = [word for word in words if word]
    if not words:
        raise ConfigError(f"{flag} has no values (an unset shell variable?); write {typed(entry.name)}:VALUE,VALUE")
    if len(words) > MOST_VALUES:
        raise ConfigError(f"{flag} has {counted(len(words), 'value')}; it may have {MOST_VALUES} at most")
    if len(words) == 1 and kind in (int, float) and (match := _RANGE.fullmatch(words[0])):
        if not search:
            raise ConfigError(
                f"{flag} {words[0]} is a range, to draw from; that is for `search=N`. Write values instead"
            )
        return Axis(entry.name, _range(entry, flag, *match.groups()))
    values = _values(entry, words, flag)
    if len(set(values)) < len(values):
        twice = next(value for n, value in enumerate(values) if value in values[:n])
        raise ConfigError(f"{flag} names {quoted(twice)} twice")
    return Axis(entry.name, tuple(values))


def _values(entry: dataclasses.Field[Any], words: Sequence[str], flag: str) -> list[Any]:
    """Of each word the value; of two together, where one alone is none: there are values with a comma, such as 5,10 of
    `backprop`."""
    values, left = [], list(words)
    while left:
        try:
            values.append(value_of(entry, left[0], flag))
            left = left[1:]
        except ConfigError:
            if len(left) < 2 or type(entry.default) is not str:
                raise
            try:
                values.append(value_of(entry, ",".join(left[:2]), flag))
            except ConfigError:
                value_of(entry, left[0], flag)
            left = left[2:]
    return values


def value_of(entry: dataclasses.Field[Any], word: str, flag: str) -> Any:
    """A word as the value of a setting; ConfigError as the setting itself says it."""
    kind: type = type(entry.default)
    value: Any = word
    if kind is bool:
        value = {"true": True, "yes": True, "false": False, "no": False}.get(word.lower(), word)
    elif kind in (int, float):
        with contextlib.suppress(ValueError):  # check says what is wrong with it
            value = kind(word)
    return check(entry, value, flag)


def _range(entry: dataclasses.Field[Any], flag: str, low: str, high: str, log: str | None) -> Range:
    ends = [value_of(entry, end, flag) for end in (low.strip(), high.strip())]
    if not ends[0] < ends[1] or not all(math.isfinite(end) for end in ends):
        raise ConfigError(f"{flag} {low}..{high}: the lower end must come first, and be lower")
    if log and not ends[0] > 0:
        raise ConfigError(f"{flag} {low}..{high}:log must begin above 0")
    return Range(ends[0], ends[1], bool(log), type(entry.default) is int)


def typed(name: str) -> str:
    """The name of a setting as it is written here: hidden-size."""
    return name.replace("_", "-")


def combined(found: Sequence[Axis]) -> list[dict[str, Any]]:
    """Every combination, the last axis fastest: a table of settings each."""
    rows = [axis.values for axis in found if not isinstance(axis.values, Range)]
    return [dict(zip([axis.name for axis in found], values)) for values in product(*rows)]


def told(settings: dict[str, Any]) -> str:
    """Settings in few words, as they are typed: `hidden-size 64, lr 0.01`. Of one that speaks for itself (the name of
    a cell), the value alone."""
    if len(settings) == 1 and isinstance(value := next(iter(settings.values())), str) and "=" not in value:
        return value
    return ", ".join(f"{typed(name)} {shown(value)}" for name, value in settings.items()) or "as it is"


def shown(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else str(value)
