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


def clipped(x, limit):
    return np.clip(x, -limit, limit)


def bits(key, place):
    """The 64-bit number at this place of the stream `key`: splitmix64 (Steele, Lea, Flood, Fast Splittable Pseudorandom
    Number Generators, 2014), which needs no state. Compiled for the other devices as it stands."""
    z = np.uint64(key) + np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
