"""Are my gradients right? Compares analytic with numeric ones, number by number or along one random direction.

    gradcheck(function, tensors)     every number (or a sample) of every tensor -> a Check for each tensor
    projected(function, tensors)     all tensors at once along one random direction: the cost of five forward passes
    numeric(f, x)                    the five-point central difference itself

The numeric side is (f(x-2e) - 8 f(x-e) + 8 f(x+e) - f(x+2e)) / 12e, with an error of e^4 |f^(5)| / 30
(Abramowitz and Stegun 25.3.6). With e = 1e-3 in float64 it agrees with a right gradient to 10 decimals and more.
In float32 only three decimals would agree, even for a right gradient. So tensors must be float64.

A difference across a kink (relu at 0, a maximum with a tie) says nothing about the gradient. So where analytic and
numeric do not agree, shorter steps are tried, which may not reach the kink. If the kink is at the number itself, the
slopes to its left and right differ for every step. Then any gradient between the two slopes is right, and the Check
says that there is a kink.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from micrornn import arguments, device
from micrornn.calls import checked
from micrornn.errors import ConfigError, DivergedError, counted
from micrornn.tape import Tape, Tensor, no_tape

STEP = 1e-3
CLOSE = 1e-10  # with a larger error, shorter steps are tried
SHORTER = (0.1, 0.01, 0.001)  # of the step
# A one-sided slope has a limit if it changes by less than this share when the step gets shorter (curvature and rounding
# change it, too). There is a kink if the slopes of the two sides differ by more than ten times that.
SIDES = 1e-4


@dataclass(frozen=True, repr=False)
class Check:
    """What was found for one tensor.

    name        of the tensor
    count       how many numbers were compared
    error       the largest |analytic - numeric| / max(1, |analytic|, |numeric|)
    where       the index of that number
    analytic, numeric   its two values
    by_step     the same error for each index of the first axis: of a time-major tensor, for each time step
    kinks       the count of numbers at which the function has a kink. The error of such a number is the distance of the
                analytic derivative from the range between the slopes to the left and to the right
    """

    name: str
    count: int
    error: float
    where: tuple[int, ...]
    analytic: float
    numeric: float
    by_step: tuple[float, ...] = ()
    kinks: int = 0

    @property
    def decimals(self) -> int:
        """How many decimals are equal."""
        return decimals(self.error)

    def __repr__(self) -> str:
        where = f"at {list(self.where)} " if self.where else ""
        kinks = f"; a kink at {self.kinks} of them, where the slopes to the left and right differ" if self.kinks else ""
        return (
            f"<Check {self.name or 'a tensor'}: {self.decimals} decimals equal in {counted(self.count, 'number')}, "
            f"{where}analytic {self.analytic:.12g}, numeric {self.numeric:.12g}{kinks}>"
        )


def decimals(error: float) -> int:
    """How many decimals are equal where numbers differ by this much: 0.0003 are 3."""
    if not error < 1:  # NaN and infinite too
        return 0
    return 16 if error == 0 else min(16, math.floor(-math.log10(error) + 1e-9))


def numeric(f: Callable[[], float], x: np.ndarray, index: tuple[int, ...], step: float = STEP) -> float:
    """df / dx[index] by the five-point central difference. x is restored afterwards, even if f raises."""
    before, total = float(x[index]), 0.0
    try:
        for offset, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            x[index] = before + offset * step
            total += weight * f()
    finally:
        x[index] = before
    return total / (12 * step)


class _Found(NamedTuple):
    """One number: its numeric derivative, how far the analytic one is off, and whether there is a kink."""

    numeric: float
    error: float
    kink: bool = False


def _compare(f: Callable[[], float], x: np.ndarray, index: tuple[int, ...], step: float, analytic: float) -> _Found:
    """With this step; if the error is not small, with shorter steps; at last with the slopes on both sides."""
    best = _Found(math.nan, math.inf)
    for size in (step, *(step * share for share in SHORTER)):
        value = numeric(f, x, index, size)
        error = _relative(analytic, value)
        if error < best.error or math.isnan(best.numeric):
            best = _Found(value, error)
        if best.error <= CLOSE:
            return best
    sides = _slopes(f, x, index, step * SHORTER[-1])
    if sides is None:
        return best
    low, high = sorted(sides)
    nearest = min(max(analytic, low), high)
    error = _relative(analytic, nearest)
    return _Found(nearest, 0.0 if error < SIDES else error, True)


def _slopes(f: Callable[[], float], x: np.ndarray, index: tuple[int, ...], step: float) -> tuple[float, float] | None:
    """At a kink, the slopes to the left and to the right; None elsewhere. At a kink both have a limit, and the limits
    differ. At a jump a slope grows without limit as the step gets shorter, and elsewhere both are the derivative."""
    before, middle = float(x[index]), f()
    found = []
    try:
        for sign in (-1, 1):
            slopes = []
            for size in (step, step / 4):
                x[index] = before + sign * size
                slopes.append((f() - middle) / (sign * size))
            found.append(slopes)
    finally:
        x[index] = before
    tolerance = SIDES * max(1.0, *(abs(slope) for slopes in found for slope in slopes))
    (left, left_before), (right, right_before) = (slopes[::-1] for slopes in found)
    if not max(abs(left - left_before), abs(right - right_before)) < tolerance:
        return None
    return (left, right) if abs(right - left) > 10 * tolerance else None


def _relative(analytic: float, number: float) -> float:
    """The error; infinite where one of the two is not finite."""
    error = abs(analytic - number) / max(1.0, abs(analytic), abs(number))
    return error if math.isfinite(error) else math.inf


def _prepare(function: Callable[[], Tensor], given: Sequence[Tensor], step: float,
             seed: int) -> tuple[list[Tensor], Callable[[], float], list[np.ndarray]]:  # fmt: skip
    """(the tensors, the function as a single number, the analytic gradients). Several outputs are summed with fixed
    random weights, because a wrong VJP may still be right for a cotangent of ones."""
    arguments.whole("gradcheck: seed", seed, least=0)
    if not 0 < arguments.real("gradcheck: step", step) < math.inf:
        raise ConfigError(f"gradcheck: step is {step}; it must be above 0 and finite")
    tensors: list[Tensor] = arguments.tensors("gradcheck", given)
    for tensor in tensors:
        name = tensor.name or "a tensor"
        if tensor.dtype != np.float64:
            raise ConfigError(f"gradcheck needs float64, {name} is {tensor.dtype}")
        if not tensor.requires_grad:
            raise ConfigError(f"gradcheck: {name} has requires_grad=False, so nothing flows back to it")
    if not callable(function):
        raise ConfigError("gradcheck: wanted a function that computes the output anew, lambda: f(x), not the output")
    with Tape() as tape:
        output = function()
    if not isinstance(output, Tensor):
        raise ConfigError(f"gradcheck: the function must return one tensor, not {type(output).__name__}")
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, output.shape) if output.data.size != 1 else None
    cotangents = tape.cotangents(tensors, [output], [weights])
    analytic = [
        np.zeros(tensor.shape) if cotangent is None else device.host(cotangent)
        for tensor, cotangent in zip(tensors, cotangents)
    ]

    def value() -> float:
        with no_tape():
            result = device.host(function().data)
        return float(result.item() if weights is None else (result * weights).sum())

    first = value()
    if not math.isfinite(first):
        bad = [tensor.name or "a tensor" for tensor in tensors if not np.isfinite(device.host(tensor.data)).all()]
        raise DivergedError(f"gradcheck: the function gives {first}" + (f"; {bad[0]} is not finite" if bad else ""))
    if value() != first:
        raise ConfigError(
            "gradcheck: the function gives another value each time, so it has no numeric derivative; "
            "what is random in it must be drawn from a fixed key"
        )
    return tensors, value, analytic


@checked
def gradcheck(function: Callable[[], Tensor], tensors: Sequence[Tensor], *, samples: int | None = None,
              step: float = STEP, seed: int = 0) -> list[Check]:  # fmt: skip
    """Check the gradients of function() with respect to each of the tensors. It must compute its output anew each time.

    samples    compare at most so many numbers of each tensor, drawn at random; None: all of them
    step       the e of the difference
    Raises ConfigError if a tensor is not float64 or requires no gradient, or if the function gives another value each
    time; DivergedError if it is not finite.

    >>> import numpy as np, micrornn as mr
    >>> w = mr.Tensor(np.array([[0.5, -1.0]]), requires_grad=True)
    >>> [check.decimals >= 10 for check in mr.gradcheck(lambda: mr.mean(mr.tanh(w)), [w])]
    [True]
    """
    samples = None if samples is None else arguments.whole("gradcheck: samples", samples, least=1)
    tensors, value, analytic = _prepare(function, tensors, step, seed)
    step = float(step)
    rng, checks = np.random.default_rng(seed), []
    for tensor, gradient in zip(tensors, analytic):
        places = _places(gradient, samples, rng)
        indices = [tuple(int(i) for i in np.unravel_index(place, tensor.shape)) for place in places]
        found = [_compare(value, tensor.data, index, step, float(gradient[index])) for index in indices]
        checks.append(_check(tensor, gradient, indices, found))
    return checks


def _check(tensor: Tensor, gradient: np.ndarray, indices: list[tuple[int, ...]], found: list[_Found]) -> Check:
    """The Check of a tensor, from what was found for each of its numbers."""
    by_step = np.zeros(tensor.shape[0] if tensor.ndim else 0)
    if not found:
        return Check(tensor.name, 0, 0.0, (), 0.0, 0.0, tuple(map(float, by_step)))
    for index, one in zip(indices, found):
        if index:
            by_step[index[0]] = max(by_step[index[0]], one.error)
    worst = max(range(len(found)), key=lambda n: found[n].error)
    return Check(
        tensor.name, len(indices), found[worst].error, indices[worst], float(gradient[indices[worst]]),
        found[worst].numeric, tuple(map(float, by_step)), sum(one.kink for one in found),
    )  # fmt: skip


def _places(gradient: np.ndarray, samples: int | None, rng: np.random.Generator) -> np.ndarray:
    """The flat indices of the numbers to compare. Half of a sample is drawn where the gradient is not zero: few rows of
    an embedding are used in one window."""
    if samples is None or samples >= gradient.size:
        return np.arange(gradient.size)
    alive = rng.permutation(np.flatnonzero(gradient))[: -(-samples // 2)]
    others = np.setdiff1d(rng.permutation(gradient.size)[:samples], alive, assume_unique=True)
    return np.concatenate([alive, others[: samples - alive.size]])


def projected(function: Callable[[], Tensor], tensors: Sequence[Tensor], *, step: float = STEP,
              seed: int = 0) -> Check:  # fmt: skip
    """Compare <gradient, v> with the numeric derivative along one random direction v over all tensors.

    The cost does not depend on the number of parameters, so that this is the check for large models. It misses a wrong
    gradient only if the error happens to be orthogonal to v.
    """
    tensors, value, analytic = _prepare(function, tensors, step, seed)
    step = float(step)
    rng = np.random.default_rng(seed)
    directions = [rng.normal(size=tensor.shape) for tensor in tensors]
    length = math.sqrt(sum(float((v * v).sum()) for v in directions))
    directions = [v / length for v in directions]
    before = [device.host(tensor.data).copy() for tensor in tensors]
    line = np.zeros(1)

    def along() -> float:
        for tensor, start, v in zip(tensors, before, directions):
            tensor.data[...] = start + line[0] * v
        return value()

    slope = sum(float((g * v).sum()) for g, v in zip(analytic, directions))
    try:
        found = _compare(along, line, (0,), step, slope)
    finally:
        for tensor, start in zip(tensors, before):
            tensor.data[...] = start
    count = sum(tensor.data.size for tensor in tensors)
    return Check("projection", count, found.error, (), slope, found.numeric, (), int(found.kink))


class _Callable(ModuleType):
    """`micrornn.gradcheck` is this file as soon as somebody has imported it; so it may be called as the function."""

    def __call__(self, *arguments: Any, **options: Any) -> list[Check]:
        return gradcheck(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
