"""What a task says of a trained network.

Metric      what it is judged by
Judged      what it is worth by them, on what it was judged
Confusion   which class was taken for which
Forecast    what came, and what was forecast
BySymbol    symbols of the data, and the weights that are theirs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Metric:
    """What a trained network is judged by: a name, a unit ("" where there is none), and which way is better."""

    name: str
    unit: str = ""
    better: str = "lower"


@dataclass(frozen=True)
class Judged:
    """What a trained network is worth.

    scores    metric -> value
    baselines metric -> (in words, the value) of what takes no network, on the same data
    rows      what else to tell a reader: a word -> what it is
    values    what else to tell a machine, by name
    words     of a metric, how its value is told, where a number and its unit would not do
    """

    scores: Mapping[str, float]
    baselines: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


class Confusion(NamedTuple):
    """counts[i, j]: how often what is labels[i] was taken for labels[j]."""

    labels: Sequence[str]
    counts: np.ndarray


class Forecast(NamedTuple):
    """What came and what was forecast, each (num_points,), under a title; `baseline`: what takes no network."""

    title: str
    truth: np.ndarray
    forecast: np.ndarray
    baseline: np.ndarray | None = None


class BySymbol(NamedTuple):
    """Symbols, what they are called, and of each parameter that has weights for each of them, along which axis."""

    what: str
    tokens: Sequence[str]
    parameters: Mapping[str, int]
