"""Checks of values from a file, a variable or a flag, before they are used.

Rule               what one value may be: its type, range, choices, length, and what its items may be
check_table        checks a table of names and values, with a rule for each name

The settings (config.py), the meta of a checkpoint, config.toml, JSON lines and vocabularies are checked by this. That a
file can be read does not make it right: it may be of another version, edited by hand, or forged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from micrornn.errors import MicrornnError, instead, quoted

_WORDS = {
    int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list", dict: "a table",
}  # fmt: skip


class _Wrong(Exception):
    """What is wrong with a value, and at which item of it."""

    place = ""


@dataclass(frozen=True)
class Rule:
    """What a value may be.

    kind           int, float, bool, str, list or dict; a whole number is a float too, true and false are neither
    low, high      low <= value <= high
    above, below   above < value < below
    finite         whether infinity is refused; NaN always is
    choices        the value is one of these
    most           the most characters of a text, or items of a list or table
    items          the rule for each item of a list, or for each value of a table
    none           None is allowed, too
    optional       the value may be missing from its table
    """

    kind: type
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    finite: bool = False
    choices: tuple[str, ...] = ()
    most: int | None = None
    items: Rule | None = None
    none: bool = False
    optional: bool = False

    def check(self, value: Any, name: str, error: type[MicrornnError]) -> Any:
        """The value; a whole number becomes a float if the rule is for floats. Otherwise raises `error`, which says
        what the value of this name is and what is allowed."""
        try:
            return self._checked(value)
        except _Wrong as wrong:
            raise error(f"{name}{wrong.place}{wrong}") from None

    def _checked(self, value: Any) -> Any:
        if value is None and self.none:
            return None
        if self.kind is float and type(value) is int:
            try:
                value = float(value)
            except OverflowError:  # 10**400
                value = math.inf if value > 0 else -math.inf
        kind: Any = self.kind
        if type(value) is not kind:
            raise _Wrong(f" must be {_WORDS[self.kind]}, not {quoted(value)}")
        if self.choices and value not in self.choices:
            raise _Wrong(f": there is no {quoted(value)}{instead(value, self.choices)}")
        if self.kind in (int, float) and not self._in_range(value):
            raise _Wrong(f" is {quoted(value)}; it must be {self.range() or 'a finite number'}")
        if self.most is not None and len(value) > self.most:
            what = "characters" if self.kind is str else "items"
            raise _Wrong(f" has {len(value):,} {what}; it may have at most {self.most:,}")
        if self.items is None:
            return value
        found = []
        for at, item in value.items() if self.kind is dict else enumerate(value):
            try:
                found.append((at, self.items._checked(item)))
            except _Wrong as wrong:
                wrong.place = f"[{quoted(at)}]{wrong.place}"
                raise
        return dict(found) if self.kind is dict else [item for _, item in found]

    def _in_range(self, value: float) -> bool:
        return (
            value == value  # no NaN
            and not (self.finite and value in (math.inf, -math.inf))
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def range(self) -> str:
        """The range of a number in words; empty if there is none."""
        parts = []
        if self.low is not None:
            parts.append(f"{self.low} or more")
        if self.above is not None:
            parts.append(f"above {self.above}")
        if self.below is not None:
            parts.append(f"below {self.below}")
        if self.high is not None:
            parts.append(f"at most {self.high:g}" if self.high < 1e6 else f"at most {self.high:.3g}")
        return ", ".join(parts)


def check_table(values: Any, rules: Mapping[str, Rule], where: str, error: type[MicrornnError]) -> dict[str, Any]:
    """The values of a table, each checked by its rule; one without a rule is not checked. Raises `error`, which names
    the first that is missing or wrong, and `where` the table is."""
    if not isinstance(values, Mapping):
        raise error(f"{where} must be a table of names and values, not {quoted(values)}")
    found = dict(values)
    for name, rule in rules.items():
        if name in values:
            found[name] = rule.check(values[name], f"{where}: {name}", error)
        elif not rule.optional:
            raise error(f"{where}: {name} is missing")
    return found
