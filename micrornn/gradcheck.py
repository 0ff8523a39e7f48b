"""Are my gradients right? Analytic against numeric, number by number or by one random projection.

    gradcheck(function, tensors)     every number (or a sample) of every tensor -> a Check for each tensor
    projected(function, tensors)     all tensors at once along one random direction: the cost of five forward passes
    numeric(f, x)                    the five-point central difference itself

The numeric side is (f(x-2e) - 8 f(x-e) + 8 f(x+e) - f(x+2e)) / 12e, with an error of e^4 |f^(5)| / 30
(Abramowitz and Stegun 25.3.6). With e = 1e-3 in float64 it agrees with a right gradient to 10 decimals and more.
In float32 it would agree to three, whatever the gradient: so tensors must be float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from micrornn import device
from micrornn.errors import ConfigError
from micrornn.tape import Tape, Tensor, no_tape

STEP = 1e-3


@dataclass(frozen=True)
class Check:
    """What was found for one tensor.

    name        of the tensor
    count       how many numbers were compared
    error       the largest |analytic - numeric| / max(1, |analytic|, |numeric|)
    where       the index of that number
    analytic, numeric   its two values
    by_step     the same error for each index of the first axis: of a time-major tensor, for each time step
    """

    name: str
    count: int
    error: float
    where: tuple[int, ...]
    analytic: float
    numeric: float
    by_step: tuple[float, ...] = ()

    @property
    def decimals(self) -> int:
        """How many decimals are equal."""
        return decimals(self.error)


def decimals(error: float) -> int:
    """How many decimals are equal where numbers differ by this much: 0.0003 are 3."""
    if not error < 1:  # NaN and infinite too
        return 0
    return 16 if error == 0 else min(16, math.floor(-math.log10(error) + 1e-9))


def numeric(f: Callable[[], float], x: np.ndarray, index: tuple[int, ...], step: float = STEP) -> float:
    """df / dx[index] by the five-point central difference; x is put back as it was."""
    before, total = float(x[index]), 0.0
    for offset, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
        x[index] = before + offset * step
        total += weight * f()
    x[index] = before
    return total / (12 * step)


def _relative(analytic: np.ndarray, number: np.ndarray) -> np.ndarray:
    return np.abs(analytic - number) / np.maximum(1, np.maximum(np.abs(analytic), np.abs(number)))


def _prepare(function: Callable[[], Tensor], tensors: Sequence[Tensor],
             seed: int) -> tuple[Callable[[], float], list[np.ndarray]]:  # fmt: skip
    """(the function as a single number, the analytic gradients). An output of several numbers is weighted by a
    fixed random cotangent: a wrong VJP cannot hide behind a cotangent of ones."""
    for tensor in tensors:
        if tensor.dtype != np.float64:
            raise ConfigError(f"gradcheck needs float64, {tensor.name or 'a tensor'} is {tensor.dtype}")
    with Tape() as tape:
        output = function()
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, output.shape) if output.data.size > 1 else None
    cotangents = tape.cotangents(tensors, [output], [weights])
    analytic = [
        np.zeros(tensor.shape) if cotangent is None else device.host(cotangent).copy()
        for tensor, cotangent in zip(tensors, cotangents)
    ]

    def value() -> float:
        with no_tape():
            result = device.host(function().data)
        return float(result.item() if weights is None else (result * weights).sum())

    return value, analytic


def gradcheck(function: Callable[[], Tensor], tensors: Sequence[Tensor], *, samples: int | None = None,
              step: float = STEP, seed: int = 0) -> list[Check]:  # fmt: skip
    """Compare the gradients of function() with respect to each of the tensors, which it must read anew each time.

    samples    compare at most so many numbers of each tensor, drawn at random; None: all of them
    step       the e of the difference
    Raises ConfigError if a tensor is not float64.
    """
    value, analytic = _prepare(function, tensors, seed)
    rng, checks = np.random.default_rng(seed), []
    for tensor, gradient in zip(tensors, analytic):
        places = _places(gradient, samples, rng)
        indices = [tuple(int(i) for i in np.unravel_index(place, tensor.shape)) for place in places]
        numbers = np.array([numeric(value, tensor.data, index, step) for index in indices])
        errors = _relative(np.array([gradient[index] for index in indices]), numbers)
        errors[np.isnan(errors)] = np.inf
        worst = int(errors.argmax())
        by_step = np.zeros(tensor.shape[0] if tensor.ndim else 0)
        for index, error in zip(indices, errors):
            if index:
                by_step[index[0]] = max(by_step[index[0]], error)
        checks.append(
            Check(tensor.name, len(indices), float(errors[worst]), indices[worst],
                  float(gradient[indices[worst]]), float(numbers[worst]), tuple(map(float, by_step)))
        )  # fmt: skip
    return checks


def _places(gradient: np.ndarray, samples: int | None, rng: np.random.Generator) -> np.ndarray:
    """Which numbers to compare. Half of a sample comes from where the gradient is not zero: of an embedding,
    hardly a row takes part in one window."""
    if samples is None or samples >= gradient.size:
        return np.arange(gradient.size)
    alive = rng.permutation(np.flatnonzero(gradient))[: -(-samples // 2)]
    others = np.setdiff1d(rng.permutation(gradient.size)[:samples], alive, assume_unique=True)
    return np.concatenate([alive, others[: samples - alive.size]])


def projected(function: Callable[[], Tensor], tensors: Sequence[Tensor], *, step: float = STEP,
              seed: int = 0) -> Check:  # fmt: skip
    """Compare <gradient, v> with the numeric derivative along one random direction v over all tensors.

    The cost does not depend on the number of parameters: this is the check for large models. A wrong gradient
    goes unnoticed only if its error happens to be orthogonal to v.
    """
    value, analytic = _prepare(function, tensors, seed)
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

    number = numeric(along, line, (0,), step)
    for tensor, start in zip(tensors, before):
        tensor.data[...] = start
    slope = sum(float((g * v).sum()) for g, v in zip(analytic, directions))
    error = float(_relative(np.array(slope), np.array(number)))
    count = sum(tensor.data.size for tensor in tensors)
    return Check("projection", count, error if error == error else math.inf, (), slope, number)
