"""What a wrong answer looks like: mistakes that many make, known by their numbers.

near      which numbers are right;  same  whether all are
of_array  what became of the right numbers: transposed, from the end, the other sign, so many times as large
of_list   the same of a list: another order, one place off

Each gives "; " and a few words that say what it is, or nothing where it looks like none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

NONE = "a function that ends without `return` gives None"


def near(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> np.ndarray:
    """Of each number: whether it is the wanted one, up to `tolerance` of its size or of 1."""
    return np.abs(found - wanted) <= tolerance * np.maximum(1, np.abs(wanted))


def same(found: np.ndarray | None, wanted: Any, tolerance: float = 1e-5) -> bool:
    """Whether they are numbers of the wanted shape, and near."""
    if found is None or (wanted := np.asarray(wanted, np.float64)).shape != found.shape:
        return False
    return bool(near(found, wanted, tolerance).all())


def of_array(found: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-5) -> str:
    """Of an array or a number that is not the wanted one."""
    if np.isnan(found).any() and not np.isnan(wanted).any():
        return "; nan is what 0 / 0 gives, and all that is computed from it"
    if not wanted.any():
        return ""
    if wanted.ndim == 2 and same(found, wanted.T, tolerance):
        return "; these are the right numbers, transposed: at [i, j] stands what belongs at [j, i]"
    if wanted.ndim and same(found, wanted[::-1], tolerance):
        return "; these are the right numbers, from the last to the first"
    if found.size == wanted.size and found.shape != wanted.shape and same(found.ravel(), wanted.ravel(), tolerance):
        return "; the numbers are right, only the shape is not"
    if found.shape != wanted.shape:
        return ""
    if same(found, -wanted, tolerance):
        return "; it is right up to its sign"
    large = np.abs(wanted) > 1e-3 * np.abs(wanted).max()
    factor = float(np.median(found[large] / wanted[large]))
    if large.sum() > 1 and 1e-6 < abs(factor) < 1e6 and same(found / factor, wanted, tolerance):
        return f"; all are {factor:.3g} times what they should be"
    return ""


def of_list(found: Sequence[np.ndarray | None], wanted: Sequence[Any], names: Sequence[str]) -> str:
    """Of the parts of a list or a tuple, None for what is no number."""

    def agree(ours: Sequence[np.ndarray | None], theirs: Sequence[Any]) -> bool:
        return len(ours) == len(theirs) > 0 and all(map(same, ours, theirs))

    count = len(wanted)
    if agree(found, wanted) or (count == 1 and len(found) == 1):
        return ""
    if count > 2 and agree(found[::-1], wanted):
        return f"; these are the right values, from the last to the first: {names[0]} comes first"
    if len(found) == count + 1 and agree(found[1:], wanted):
        return "; without the first of them it is right"
    if len(found) == count + 1 and agree(found[:-1], wanted):
        return "; without the last of them it is right"
    if len(found) == count <= 4 and any(agree(order, wanted) for order in permutations(found)):
        return f"; these are the right values in another order; expected {', '.join(names)}"
    if len(found) == count > 2 and agree(found[1:], wanted[:-1]):
        return "; each stands one place too late"
    if len(found) == count > 2 and agree(found[:-1], wanted[1:]):
        return "; each stands one place too early"
    return ""
