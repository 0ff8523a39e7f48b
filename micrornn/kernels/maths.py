"""The arithmetic of formulas.py, on whole NumPy arrays. kernels/cpu/maths.py and kernels/cuda/maths.py have the same
names for one number in a kernel."""

from __future__ import annotations

import numpy as np
from numpy import exp as exp
from numpy import log as log
from numpy import sqrt as sqrt
from numpy import tanh as tanh
from numpy import where as where

ZERO, ONE = np.float32(0), np.float32(1)  # beside a float64 they are widened, and lose nothing


def sigmoid(x):
    e = np.exp(-np.abs(x))  # never exp of a positive number, so it cannot overflow
    return np.where(x >= 0, 1, e) / (1 + e)
