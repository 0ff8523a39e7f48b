"""How parameters start: functions (rng, shape) -> float64 array.

uniform(bound), normal(std), glorot, orthogonal, identity, zeros
starting(what, given)    an initializer that a caller gave, checked
seed_of(what, seed)      the seed that a caller gave, checked; None: one that no layer had before
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn.arguments import whole
from micrornn.errors import ConfigError, quoted

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
unseeded = itertools.count()  # layers that were made without a seed


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All zero."""
    return np.zeros(shape)


def normal(std: float) -> Initializer:
    """Normal with mean 0 and this standard deviation."""
    return lambda rng, shape: rng.normal(0.0, std, shape)


def uniform(bound: float) -> Initializer:
    """Uniform in +-bound."""
    return lambda rng, shape: rng.uniform(-bound, bound, shape)


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    return rng.uniform(-1, 1, shape) * np.sqrt(6 / sum(shape))


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Square blocks of random orthogonal matrices, one under the other (Saxe, McClelland, Ganguli 2014)."""
    columns = shape[1]
    blocks = []
    for _ in range(0, shape[0], columns):
        q, r = np.linalg.qr(rng.normal(size=(columns, columns)))
        blocks.append(q * np.sign(np.diag(r)))  # without the signs, Q is not uniformly distributed
    return np.concatenate(blocks)[: shape[0]]


def identity(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The identity, gate by gate (Le, Jaitly, Hinton 2015): each unit starts as its own memory."""
    return np.concatenate([np.eye(shape[1])] * -(-shape[0] // shape[1]))[: shape[0]]


def starting(what: str, given: Any) -> Initializer:
    """The initializer that a caller gave; ConfigError if it cannot be called."""
    if not callable(given):
        raise ConfigError(
            f"{what} is a function of (rng, shape), such as micrornn.parameters.uniform(0.1), not {quoted(given)}"
        )
    return given


def seed_of(what: str, seed: int | None) -> int:
    """The seed that a caller gave, a whole number from 0 on. None: the n-th layer of a program without one has n, from
    0 on. So no two of them start alike, and the program computes the same each time."""
    return next(unseeded) if seed is None else whole(f"{what}: seed", seed, least=0)
