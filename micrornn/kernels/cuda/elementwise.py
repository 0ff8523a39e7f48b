"""One number in, one number out: the loops made of formulas.py (LIFTED).

`flat` makes a kernel over flat arrays callable with arrays of any number of axes.
All of these are bound by memory: neighbouring threads touch neighbouring numbers, and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from micrornn.kernels import lift
from micrornn.kernels.cuda.array import Array
from micrornn.kernels.cuda.jit import cache_dir, kernel, over

TYPED = bool, np.bool_, np.uint64


def flat(function: Callable[..., None]) -> Callable[..., None]:
    """A kernel over the numbers of its first array, to be called with arrays of any number of axes.

    Python's floats are handed over in that array's precision, so that no float64 gets into a float32 kernel; what
    has a type already (np.uint64, bool) keeps it.
    """
    compiled = kernel(function)

    @wraps(function)
    def call(first: Array, *rest: Any) -> None:
        if first.size:
            kind = first.dtype.type
            given = [a.flat if isinstance(a, Array) else a if isinstance(a, TYPED) else kind(a) for a in rest]
            compiled[over(first.size)](first.flat, *given)

    return call


LIFTED = lift.kernels("cuda", cache_dir())


def lifted(formula: lift.Formula) -> Callable[..., None]:
    """The kernel of a formula from the file of an op."""
    return lift.kernels("cuda", cache_dir(), [formula])[formula.name]
