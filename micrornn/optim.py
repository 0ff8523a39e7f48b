"""Optimizers over one flat buffer, clipping, learning-rate schedules.

Adam(model, lr=0.001)                   and SGD, Momentum, Adagrad, RMSprop, AdamW: one pass over all parameters
Optimizer(model, "adam:beta2=0.99")     the same by name, as in a setting
OPTIMIZERS                              sgd, momentum, adagrad, rmsprop, adam, adamw, with their options
global_norm(flat)                       Euclidean norm of the whole gradient
Schedule("warmup:100+cosine")           the factor of the learning rate at each update
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.arguments import real
from micrornn.calls import checked
from micrornn.config import clip_scale as clip_scale
from micrornn.errors import ConfigError, OptionError, counted, instead, quoted
from micrornn.parameters import Flat, flat_of

__all__ = [
    "OPTIMIZERS", "SCHEDULES", "SGD", "Adagrad", "Adam", "AdamW", "Momentum", "Optimizer", "RMSprop", "Schedule",
    "global_norm",
]  # fmt: skip

# The range of each option of an optimizer and each number of a schedule, by its name: in words, and as a check.
_Range = tuple[str, Callable[[float], bool]]
_SHARE: _Range = ("0 or more and below 1", lambda x: 0 <= x < 1)
_ABOVE: _Range = ("above 0", lambda x: x > 0)
_LEAST: _Range = ("0 or more", lambda x: x >= 0)
RANGES: dict[str, _Range] = {
    "mu": _SHARE, "decay": _SHARE, "beta1": _SHARE, "beta2": _SHARE, "eps": _ABOVE,
    "weight_decay": _LEAST,
    "every": _ABOVE, "updates": _ABOVE, "start": _LEAST, "after": _LEAST,
    "factor": ("above 0 and at most 1", lambda x: 0 < x <= 1),
    "final": ("0 to 1", lambda x: 0 <= x <= 1),
}  # fmt: skip

# name -> (kernel, arrays of state, options with their defaults)
OPTIMIZERS: dict[str, tuple[str, tuple[str, ...], dict[str, float]]] = {
    "sgd": ("sgd", (), {}),
    "momentum": ("momentum", ("v",), {"mu": 0.9}),
    "adagrad": ("adagrad", ("s",), {"eps": 1e-10, "start": 0.0}),  # start: the first value of s
    "rmsprop": ("rmsprop", ("s",), {"decay": 0.95, "eps": 1e-8}),
    "adam": ("adam", ("m", "v"), {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    "adamw": ("adam", ("m", "v"), {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01}),
}


def parse_optimizer(text: str) -> tuple[str, dict[str, float]]:
    """`name` or `name:option=number,...` -> (name, all its options). ConfigError lists the known names or options."""
    if not isinstance(text, str):
        raise ConfigError(f"an optimizer is named by a text such as 'adam' or 'momentum:mu=0.9', not by {text!r}")
    name, _, rest = text.partition(":")
    if name not in OPTIMIZERS:
        raise ConfigError(f"there is no optimizer {quoted(name)}{instead(name, OPTIMIZERS)}")
    options = dict(OPTIMIZERS[name][2])
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in options:
            known = ", ".join(options) or "none"
            raise ConfigError(f"optimizer {name} has no option {quoted(key)}; it has: {known}")
        options[key] = _number(value, key, f"optimizer {name}: {key}")
    return name, options


def _number(text: str, name: str, what: str) -> float:
    """The number in a text, if it lies in the range of the option `name`; else ConfigError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{what} must be a number, not {quoted(text)}")
    words, fits = RANGES[name]
    if not fits(value):
        raise ConfigError(f"{what} is {value:g}; it must be {words}")
    return value


def global_norm(flat: Flat) -> float:
    """The Euclidean norm of the gradient of all parameters together."""
    flat.join()
    table = kernels.of(flat.grad)
    square = table.empty((1,), np.float64)
    table.sum_of_squares(square, flat.grad)
    return math.sqrt(square.item())


# A schedule is a product of parts, each a function (update, the schedule, numbers) -> factor.
_Part = Callable[[int, "Schedule", list[float]], float]


def _cosine(update: int, run: Schedule, numbers: list[float]) -> float:
    total = run.num_updates
    if total is None:  # the clock ends the run; if the rate depended on that, no two runs would be the same
        return 1.0
    low = numbers[0]
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, update / total)))


def _decay(update: int, run: Schedule, numbers: list[float]) -> float:
    if run.epoch is None:
        return 1.0
    return numbers[1] ** max(0.0, update // run.epoch + 1 - numbers[0])


# name -> (part, the numbers it takes with their defaults; None: it must be given)
SCHEDULES: dict[str, tuple[_Part, dict[str, float | None]]] = {
    "constant": (lambda update, run, numbers: 1.0, {}),
    "step": (lambda update, run, n: n[1] ** (update // n[0]), {"every": None, "factor": 0.5}),
    "exponential": (lambda update, run, n: n[1] ** (update / n[0]), {"every": None, "factor": 0.5}),
    "cosine": (_cosine, {"final": 0.0}),
    "decay": (_decay, {"after": None, "factor": 0.5}),
    "warmup": (lambda update, run, n: min(1.0, (update + 1) / n[0]), {"updates": None}),
}


class Schedule:
    """factor(update) of the learning rate, update counted from 0.

    constant                1
    step:EVERY:FACTOR       FACTOR ^ floor(update / EVERY)
    exponential:EVERY:FACTOR  FACTOR ^ (update / EVERY)
    cosine[:FINAL]          from 1 down to FINAL at the last update, along half a cosine (Loshchilov, Hutter 2017);
                            1 throughout where the last update is not known beforehand
    decay:AFTER:FACTOR      1 in the first AFTER epochs, then multiplied by FACTOR at the start of each epoch; 1
                            throughout where the number of updates in an epoch is not known
    warmup:UPDATES          rises from 1/UPDATES to 1; joined to another part by +, as in warmup:100+cosine

    num_updates    updates of the whole run; None: not known
    epoch          updates of an epoch; None: not known
    """

    def __init__(self, text: str, num_updates: int | None = None, epoch: int | None = None):
        self.text, self.num_updates, self.epoch = text, num_updates, epoch
        self.parts: list[tuple[_Part, list[float]]] = []
        for part in text.split("+"):
            name, *given = part.split(":")
            if name not in SCHEDULES:
                raise ConfigError(f"there is no schedule {quoted(name)}{instead(name, SCHEDULES)}")
            function, wanted = SCHEDULES[name]
            defaults = list(wanted.values())
            if len(given) > len(wanted) or None in defaults[len(given) :]:
                raise ConfigError(f"schedule {quoted(part)}: write {':'.join([name, *map(str.upper, wanted)])}")
            numbers = [_number(value, key, f"schedule {quoted(part)}: {key}") for key, value in zip(wanted, given)]
            self.parts.append((function, numbers + [n for n in defaults[len(numbers) :] if n is not None]))

    def __call__(self, update: int) -> float:
        return math.prod(function(update, self, numbers) for function, numbers in self.parts)

    @property
    def warmup(self) -> float:
        """The length of the warm-up in updates; 0 if there is none."""
        return max((numbers[0] for part, numbers in self.parts if part is SCHEDULES["warmup"][0]), default=0)

    def with_warmup(self, updates: int) -> str:
        """The text of this schedule, with so many updates in its warm-up, if it has one."""
        parts = (f"warmup:{updates}" if part.startswith("warmup:") else part for part in self.text.split("+"))
        return "+".join(parts)


class Optimizer:
    """Updates all parameters in one pass over one buffer. The equations: kernels/formulas.py.

    parameters  a Module, parameters, a list of both, or a Flat. Their Flat is made here if there is none yet
    text        name and options, e.g. "rmsprop:decay=0.95"
    lr          learning rate; None: it is given to each call of `update`
    schedule    the factor of lr: a Schedule, its text, or any function of the number of updates made so far
    state       name -> array (n,), of the size of the flat buffer: the optimizer's own numbers, such as averages
    updates     the number of updates made so far
    """

    @checked
    def __init__(self, parameters: Any, text: str, lr: float | None = None,
                 schedule: str | Callable[[int], float] = "constant"):  # fmt: skip
        what = type(self).__name__
        if lr is not None and not 0 <= real(f"{what}: lr", lr) < math.inf:
            raise ConfigError(f"{what}: lr must be a number of 0 or more, not {lr}")
        if not isinstance(schedule, str) and not callable(schedule):
            raise ConfigError(f"{what}: schedule is a text such as 'cosine', or a function, not {quoted(schedule)}")
        self.flat, self.lr = flat_of(parameters), None if lr is None else float(lr)
        self.schedule = Schedule(schedule) if isinstance(schedule, str) else schedule
        self.name, self.options = parse_optimizer(text)
        _, names, _ = OPTIMIZERS[self.name]
        table = kernels.of(self.flat.data)
        self.state = {name: table.zeros(self.flat.data.shape, self.flat.data.dtype) for name in names}
        for array in self.state.values():
            array[...] = self.options.get("start", 0.0)
        self.updates = 0

    def __repr__(self) -> str:
        options = "".join(f", {name}={value:g}" for name, value in self.options.items())
        return f"<{type(self).__name__}: {self.name}, lr={self.lr}{options}, {counted(self.updates, 'update')}>"

    def zero_grad(self) -> None:
        """Set all gradients to zero, because `Tape.backward` adds to them."""
        self.flat.zero_grad()

    @checked
    def update(self, lr: float | None = None, scale: float = 1.0, limit: float = math.inf,
               clip_norm: float = 0.0) -> None:  # fmt: skip
        """One update with the gradient clip(grad * scale, +-limit).

        lr           None: the optimizer's own, times its schedule
        clip_norm    the largest Euclidean norm of the whole gradient; a longer one is scaled down. 0: no limit
        """
        if lr is None:
            if self.lr is None:
                raise ConfigError(f"this optimizer has no learning rate: write {self.name}'s lr=... where it is made")
            lr = self.lr * self.schedule(self.updates)
        lr, scale, limit = real("lr", lr), real("scale", scale), real("limit", limit)
        if not (math.isfinite(lr) and math.isfinite(scale) and limit >= 0):
            raise ConfigError(f"lr {lr} and scale {scale} must be finite, and limit {limit} 0 or more")
        if clip_norm:
            scale *= clip_scale(global_norm(self.flat), real("clip_norm", clip_norm))
        self.flat.join()
        self.updates += 1
        options = {name: value for name, value in self.options.items() if name != "start"}
        if self.name in ("adam", "adamw"):
            options["shrink"] = 1 - lr * options.pop("weight_decay", 0.0)
            options["step"] = self.updates
        kernel = getattr(kernels.of(self.flat.data), OPTIMIZERS[self.name][0])
        kernel(self.flat.data, self.flat.grad, *self.state.values(), lr, *options.values(), scale, limit)
        self.flat.touch()


class _Named(Optimizer):
    """An optimizer as a class of its own: name(parameters, lr, schedule="constant", and its options by name)."""

    lr_usual = 0.001

    @checked
    def __init__(self, parameters: Any, lr: float | None = None, schedule: str | Callable[[int], float] = "constant",
                 **options: float):  # fmt: skip
        what, kind = type(self).__name__, type(self).__name__.lower()
        known = OPTIMIZERS[kind][2]
        for name, value in options.items():
            if name not in known:
                raise OptionError(
                    f"{what} has no option {quoted(name)}{instead(name, ['lr', 'schedule', *known], 'it has')}"
                )
            options[name] = real(f"{what}: {name}", value)
        given = ",".join(f"{name}={value!r}" for name, value in options.items())
        lr = self.lr_usual if lr is None else lr
        super().__init__(parameters, f"{kind}:{given}", lr, schedule)


class SGD(_Named):
    """p -= lr g. The default of lr is 0.1.

    >>> import micrornn as mr
    >>> optimizer = mr.optim.SGD(mr.Linear(3, 1), lr=0.1, schedule="step:1000:0.5")
    """

    lr_usual = 0.1


class Momentum(_Named):
    """v = mu v + g;  p -= lr v (Polyak 1964). The default of lr is 0.1, that of mu 0.9."""

    lr_usual = 0.1


class Adagrad(_Named):
    """s += g^2;  p -= lr g / (sqrt(s) + eps) (Duchi, Hazan, Singer 2011). The default of lr is 0.01."""

    lr_usual = 0.01


class RMSprop(_Named):
    """s = decay s + (1 - decay) g^2;  p -= lr g / (sqrt(s) + eps) (Tieleman and Hinton 2012). The default of lr is
    0.001, that of decay 0.95."""


class Adam(_Named):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr m^ / (sqrt(v^) + eps) (Kingma and Ba 2015), where m^
    and v^ are divided by 1 - b1^updates and 1 - b2^updates. Options: beta1=0.9, beta2=0.999, eps=1e-8.

    >>> import micrornn as mr
    >>> optimizer = mr.optim.Adam(mr.GRU(2, 8), lr=0.003, beta2=0.99)
    """


class AdamW(_Named):
    """Adam, and each update multiplies the weights by 1 - lr weight_decay (Loshchilov and Hutter 2019). The default of
    weight_decay is 0.01."""


def __dir__() -> list[str]:
    return __all__
