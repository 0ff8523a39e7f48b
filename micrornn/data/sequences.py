"""Sequences of unequal lengths side by side.

Padded      values with a mask that says which of them are no padding
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Padded(NamedTuple):
    """Sequences of unequal lengths in one array.

    values    (seq_len, batch_size, ...): time-major; what stands where the mask is False is never looked at
    mask      (seq_len, batch_size) bool: True where it is no padding
    """

    values: np.ndarray
    mask: np.ndarray
