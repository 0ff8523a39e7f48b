"""Many numbers in, one out: sums, maxima, softmax and cross-entropy over rows, gather and scatter, norms."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from micrornn.kernels.cpu import maths
from micrornn.kernels.cpu.elementwise import flat
from micrornn.kernels.cpu.jit import REORDER, kernel, parallel
from micrornn.kernels.cpu.threads import bound, in_parts

EXP_COST = 2  # of a softmax, in multiplications of a product, which are far cheaper by the dozen


@kernel
def sum(out, x, accumulate):
    """x (outer, n, inner) -> out (outer, inner)."""
    for o in range(x.shape[0]):
        row = out[o]
        if not accumulate:
            for j in range(row.size):
                row[j] = 0
        if row.size == 1:  # over the last axis: pairs of halves would be better yet; blocks are good enough
            total = row[0]
            for start in range(0, x.shape[1], 128):
                part = x.dtype.type(0)
                for k in range(start, min(start + 128, x.shape[1])):
                    part += x[o, k, 0]
                total += part
            row[0] = total
        else:
            for k in range(x.shape[1]):
                line = x[o, k]
                for j in range(row.size):
                    row[j] += line[j]


@kernel
def max(out, where, x):
    """x (outer, n, inner) -> the largest along n, and its (first) place, (outer, inner) each. NaN is the largest."""
    for o in range(x.shape[0]):
        for j in range(x.shape[2]):
            best = 0
            for k in range(1, x.shape[1]):
                if x[o, k, j] > x[o, best, j] or (x[o, k, j] != x[o, k, j] and x[o, best, j] == x[o, best, j]):
                    best = k
            out[o, j] = x[o, best, j]
            where[o, j] = best


@kernel
def max_vjp(dx, dy, where):
    """dx (outer, n, inner): dy at the place of the maximum, zero elsewhere."""
    for o in range(dx.shape[0]):
        for k in range(dx.shape[1]):
            for j in range(dx.shape[2]):
                dx[o, k, j] = dy[o, j] if where[o, j] == k else 0


@kernel(fastmath=REORDER)
def _largest(row):
    """The largest of a row, as vector code, which does not look at NaN. Whoever asks goes through the row again."""
    most = row[0]
    for j in range(1, row.size):
        most = maths.larger(most, row[j])
    return most


@kernel(fastmath=REORDER)
def _sum(row):
    total = row.dtype.type(0)
    for j in range(row.size):
        total += row[j]
    return total


@kernel
def _exp_into(out, row, shift):
    """out = exp(row - shift); returns the sum. Not for an out that is the row: each number would wait for the last."""
    for j in range(row.size):
        out[j] = maths.exp(row[j] - shift)
    return _sum(out)


@kernel
def _exp_over(row, shift):
    """The same, written over the row."""
    for j in range(row.size):
        row[j] = maths.exp(row[j] - shift)
    return _sum(row)


@kernel
def softmax(out, x):
    for r in range(x.shape[0]):
        total = _exp_into(out[r], x[r], _largest(x[r]))
        for j in range(x.shape[1]):
            out[r, j] /= total


@kernel(fastmath=REORDER)
def softmax_vjp(dx, dy, y):
    for r in range(y.shape[0]):
        dot = y.dtype.type(0)
        for j in range(y.shape[1]):
            dot += dy[r, j] * y[r, j]
        for j in range(y.shape[1]):
            dx[r, j] = y[r, j] * (dy[r, j] - dot)


@kernel
def log_softmax(out, x):
    for r in range(x.shape[0]):
        most = _largest(x[r])
        shift = math.log(_exp_into(out[r], x[r], most))
        for j in range(x.shape[1]):
            out[r, j] = (x[r, j] - most) - shift  # not x - (most + shift): that rounds at the size of most


@kernel
def log_softmax_vjp(dx, dy, y):
    for r in range(y.shape[0]):
        total = y.dtype.type(0)
        for j in range(y.shape[1]):
            total += dy[r, j]
        for j in range(y.shape[1]):
            dx[r, j] = dy[r, j] - maths.exp(y[r, j]) * total


@kernel
def _cross_entropy(loss, probabilities, logits, targets, over, low, high):
    for r in range(low, high):
        row, most = probabilities[r], _largest(logits[r])
        at_target = logits[r, targets[r]] - most  # before `probabilities` is written, which may be the same array
        total = _exp_over(row, most) if over else _exp_into(row, logits[r], most)
        share = row.dtype.type(1) / total
        for j in range(row.size):
            row[j] *= share
        loss[r] = math.log(total) - at_target  # in this order: see log_softmax


@parallel
def _cross_entropy_parallel(loss, probabilities, logits, targets, over, parts):
    for part in prange(parts):
        low, high = bound(part, parts, len(logits)), bound(part + 1, parts, len(logits))
        _cross_entropy(loss, probabilities, logits, targets, over, low, high)


def cross_entropy(loss, probabilities, logits, targets):
    given = loss, probabilities, logits, targets, probabilities is logits
    in_parts(_cross_entropy, _cross_entropy_parallel, given, len(logits), logits.size * EXP_COST)


@kernel
def _cross_entropy_vjp(dlogits, dloss, probabilities, targets, low, high):
    for r in range(low, high):
        row, given, weight = dlogits[r], probabilities[r], dloss[r]
        for j in range(row.size):
            row[j] = weight * given[j]
        row[targets[r]] -= weight


@parallel
def _cross_entropy_vjp_parallel(dlogits, dloss, probabilities, targets, parts):
    for part in prange(parts):
        low, high = bound(part, parts, len(dlogits)), bound(part + 1, parts, len(dlogits))
        _cross_entropy_vjp(dlogits, dloss, probabilities, targets, low, high)


def cross_entropy_vjp(dlogits, dloss, probabilities, targets):
    given = dlogits, dloss, probabilities, targets
    in_parts(_cross_entropy_vjp, _cross_entropy_vjp_parallel, given, len(dlogits), dlogits.size)


@kernel
def gather(out, table, ids):
    for r in range(ids.size):
        for j in range(table.shape[1]):
            out[r, j] = table[ids[r], j]


@kernel
def scatter_add(table, ids, rows):
    for r in range(ids.size):
        for j in range(table.shape[1]):
            table[ids[r], j] += rows[r, j]


@flat
def sum_of_squares(out, x):
    total = 0.0
    for start in range(0, x.size, 1024):  # blocks in the arrays' own precision, their sum in float64
        total += _squares(x[start : start + 1024])
    out[0] = total


@kernel(fastmath=REORDER)
def _squares(x):
    part = x.dtype.type(0)
    for i in range(x.size):
        part += x[i] * x[i]
    return np.float64(part)
