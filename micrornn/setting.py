"""A row of the table of settings: its type, default and range, and what else must be known about it.

setting(default, help, ...)    a field of a dataclass of settings: `Config`, or that of a task
check(entry, value)            the value in the field's own type and range
allowed(entry)                 the range in words, for help
RESUMED                        why a run that goes on may change a setting
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import field
from typing import Any

from micrornn.errors import ConfigError, quoted
from micrornn.schema import Rule

RESUMED = {  # why a resumed run may change a setting; all others would make another run of it
    "limit": "when the run ends",
    "where": "where it is computed, and where its data lies",
    "seen": "what is recorded and kept of it",
    "mends": "what may help one that diverged: of those only",
}


def setting(default: Any, help: str, *, low: float | None = None, high: float | None = None,
            choices: tuple[str, ...] = (), above: float | None = None, below: float | None = None,
            size: bool = False, prefix: str = "", parse: Callable[[Any, str], Any] | None = None,
            special: bool = False, cap: float | None = None, resumed: str = "", words: str = "",
            also: Callable[[Any], bool] | None = None) -> Any:  # fmt: skip
    """A field of a table of settings, with its default and its line in help.

    low, high       low <= value <= high; above, below: above < value < below; choices: one of these
    cap             in the place of `high`: a bound that no sensible value comes near, and that help does not show
    also(value)     whether a value is allowed beside `choices`
    size            a number of bytes, that may be written as 500MB
    prefix          what may be written before a number, such as every=
    parse           parse(value, flag) raises ConfigError for a text that cannot be
    special         it means something to some tasks only, which say so
    resumed         why a run may change it when it goes on: a key of RESUMED
    words           how a line about the learning tells a value that is not off, such as "norm at most {:g}"
    """
    told = Rule(type(default), low=low, high=high, above=above, below=below, choices=choices)
    rule = dataclasses.replace(told, high=cap if high is None else high)
    return field(
        default=default,
        metadata={
            "help": help, "rule": rule, "told": told, "choices": choices, "size": size, "prefix": prefix,
            "parse": parse, "special": special, "resumed": resumed, "words": words,
            "also": also,
        },
    )  # fmt: skip


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
    if entry.metadata["also"] is not None and entry.metadata["also"](value):
        return value
    rule: Rule = entry.metadata["rule"]
    value = rule.check(value, flag, ConfigError)
    if entry.metadata["parse"] is not None:
        entry.metadata["parse"](value, flag)
    return value


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
