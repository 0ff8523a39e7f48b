"""Rows of a table, looked up by integer."""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn import device
from micrornn.errors import ShapeError
from micrornn.tape import op


@op
def embedding(k, table, *, ids):
    """y = table[ids];  dtable = zeros with each row of dy added where it came from. table (V, D), ids integers of
    any shape, y (*ids.shape, D)."""
    if table.ndim != 2:
        raise ShapeError(f"embedding: table {table.shape}, wanted (V, D)")
    ids = take_ids("embedding", ids, len(table))
    flat = k.asarray(ids.reshape(-1))
    y = k.empty((flat.size, table.shape[1]), table.dtype)
    k.gather(y, table, flat)
    return y.reshape(*ids.shape, table.shape[1]), (flat, table.shape)


@embedding.vjp
def embedding_vjp(k, saved, dy, needs):
    ids, shape = saved
    dtable = k.zeros(shape, dy.dtype)
    k.scatter_add(dtable, ids, dy.reshape(ids.size, shape[1]))
    return (dtable,)


def take_ids(name: str, ids: Any, size: int, mask: np.ndarray | None = None) -> Any:
    """A copy of the ids as int32: they are needed again on the way back, when the caller's array may hold others.
    Each must name one of `size` rows, for a kernel does not look whether it does; where a mask is False an id may be
    anything, and becomes 0. On a graphics card they have been through here before, and nobody writes to them."""
    if device.of(ids) == "cuda":
        return ids
    try:
        ids = np.asarray(ids)
    except ValueError:
        raise ShapeError(f"{name}: rows of different lengths; pad them to one") from None
    if not ids.size:
        ids = ids.astype(np.int32)
    if ids.dtype.kind not in "iu":
        raise ShapeError(f"{name}: wanted integers, not {ids.dtype}")
    if mask is not None and mask.shape == ids.shape:
        ids = np.where(mask, ids, 0)
    unsigned = ids.view(ids.dtype.str.replace("i", "u"))  # what is below 0 is huge there
    if ids.size and np.maximum.reduce(unsigned, axis=None) >= min(size, np.iinfo(ids.dtype).max + 1):
        raise ShapeError(f"{name}: indices lie in {ids.min()}..{ids.max()}, wanted 0..{size - 1}")
    return np.array(ids, np.int32, order="C")
