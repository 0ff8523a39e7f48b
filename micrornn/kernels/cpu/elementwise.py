"""One number in, one number out: the loops made of formulas.py (LIFTED).

Arrays are seen as flat here (`flat`), so that one compiled form serves every number of axes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from micrornn.kernels import lift
from micrornn.kernels.cpu.jit import cache_dir, kernel


def flat(function: Callable[..., None]) -> Callable[..., None]:
    """A compiled kernel over flat arrays, to be called with arrays of any number of axes."""
    compiled = kernel(function)

    def call(*arguments: Any) -> None:
        compiled(*[a.reshape(-1) if isinstance(a, np.ndarray) else a for a in arguments])

    def pair(out: np.ndarray, x: np.ndarray) -> None:  # the same, sooner: small gradients are added up by the dozen
        compiled(out.reshape(-1), x.reshape(-1))

    return wraps(function)(pair if [*inspect.signature(function).parameters] == ["out", "x"] else call)


LIFTED = lift.kernels("cpu", cache_dir())


def lifted(formula: lift.Formula) -> Callable[..., None]:
    """The kernel of a formula from the file of an op."""
    return lift.kernels("cpu", cache_dir(), [formula])[formula.name]
