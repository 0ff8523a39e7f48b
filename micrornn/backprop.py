"""The values of `backprop`: the ways to propagate back, as they are typed. bptt/ implements them.

WAYS          name -> how it is written, what it does, and the class that does it
parse         a text such as "grow:1-50:every=100" -> Typed
Typed         name and numbers, and what follows from them for other settings
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from micrornn.errors import ConfigError, counted, instead, quoted

MOST = 2**31 - 1


@dataclass(frozen=True)
class Row:
    """A way: how it is written, what it does in a line, and its module:class, which is imported when it is needed."""

    form: str
    about: str
    target: str


WAYS = {
    "full": Row("full", "all the way back to the start of the sequence", "micrornn.bptt.full:Full"),
    "window": Row(
        "window[:K]", "windows of num_steps (K) time steps, the state carried", "micrornn.bptt.window:Window"
    ),
    "k1,k2": Row("K1,K2", "an update every K1 time steps, back through K2", "micrornn.bptt.k1k2:K1K2"),
    "online": Row("online", "an update each time step, nothing goes back", "micrornn.bptt.window:Window"),
    "stateless": Row("stateless", "windows that each begin with the initial state", "micrornn.bptt.window:Window"),
    "grow": Row("grow:A-B[:every=N,bias=X]", "windows that double from A to B time steps", "micrornn.bptt.grow:Grow"),
    "random": Row("random:P", "cut at random, compensated: unbiased", "micrornn.bptt.random:Random"),
    "rtrl": Row("rtrl", "real-time recurrent learning: forward, exact", "micrornn.bptt.rtrl:RTRL"),
    "snap1": Row("snap1", "rtrl that keeps what acts within a time step", "micrornn.bptt.snap1:SnAp1"),
    "uoro": Row("uoro", "rtrl by a random matrix of rank one: unbiased", "micrornn.bptt.uoro:UORO"),
}
FORMS = ", ".join(row.form for row in WAYS.values())
EVERY = 200  # updates after which a window grows by default


@dataclass(frozen=True)
class Typed:
    """A way as it was typed.

    name       of WAYS
    numbers    K; K1 and K2; A and B; P
    options    of grow: every (updates), bias
    """

    text: str
    name: str
    numbers: tuple[float, ...] = ()
    options: dict[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> tuple[int, ...]:
        """The numbers as integers, for ways whose numbers are whole."""
        return tuple(int(number) for number in self.numbers)

    @property
    def num_steps(self) -> int | None:
        """Time steps that a batch must have; None: any."""
        if self.name == "online":
            return 1
        if self.name == "grow":
            return math.gcd(*self.whole)
        return self.whole[0] if self.name in ("window", "k1,k2") and self.numbers else None

    @property
    def most_steps(self) -> int | None:
        """The most time steps that are on tapes at once, where these are more than a batch has."""
        return self.whole[1] if self.name in ("k1,k2", "grow") else None


def parse(text: Any, flag: str = "`backprop`") -> Typed:
    """The way that a text names. ConfigError for an unknown one, or numbers out of range."""
    if not isinstance(text, str):
        raise ConfigError(f"{flag} must be a text, not {quoted(text)}")
    if re.fullmatch(r"[-+.\d]+,[-+.\d]*", text, re.ASCII):
        k1, k2 = (_whole(part, flag, text) for part in text.split(","))
        if k2 < k1:
            raise ConfigError(
                f"{flag} {text}: it goes back through {counted(k2, 'time step')}, fewer than the {k1:,} of an update"
            )
        return Typed(f"{k1},{k2}", "k1,k2", (k1, k2))
    name, _, rest = text.partition(":")
    if name not in WAYS:
        raise ConfigError(f"{flag}: there is no way {quoted(name)} to propagate back{instead(name, FORMS.split(', '))}")
    if name == "window" and rest:
        return Typed(text, name, (_whole(rest, flag, text),))
    if name == "random":
        try:
            share = float(rest)
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            raise ConfigError(f"{flag} {quoted(text)}: P, how likely a cut is, lies between 0 and 1, as in random:0.5")
        return Typed(text, name, (share,))
    if name == "grow":
        return _grow(text, rest, flag)
    if rest or ":" in text:
        raise ConfigError(f"{flag} {quoted(text)}: {name} takes nothing; write {WAYS[name].form}")
    return Typed(text, name)


def _whole(text: str, flag: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= MOST):
        raise ConfigError(f"{flag} {quoted(whole)}: {quoted(text)} is no number of time steps; it must be 1 or more")
    return int(text)


def _grow(text: str, rest: str, flag: str) -> Typed:
    bounds, _, more = rest.partition(":")
    first, dash, last = bounds.partition("-")
    if not dash:
        raise ConfigError(f"{flag} {quoted(text)}: grow from how many time steps to how many? As in grow:1-50")
    low, high = _whole(first, flag, text), _whole(last, flag, text)
    if low > high:
        raise ConfigError(f"{flag} {text}: windows grow, and {low:,} is more than {high:,}; write grow:{high}-{low}")
    options: dict[str, float] = {"every": EVERY}
    for part in filter(None, more.split(",")):
        name, _, value = part.partition("=")
        if name == "every":
            options[name] = _whole(value, flag, text)
            continue
        if name != "bias":
            raise ConfigError(f"{flag} {quoted(text)}: grow has no option {quoted(name)}; it has: every, bias")
        try:
            options[name] = float(value)
        except ValueError:
            options[name] = math.nan
        if not 0 < options[name] < math.inf:
            raise ConfigError(f"{flag} {quoted(text)}: bias is {quoted(value)}; it must be a number above 0")
    return Typed(text, "grow", (low, high), options)
