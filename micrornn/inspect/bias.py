"""How far the mean of truncated gradients is from the mean of whole ones, without the noise that averages out.

    grams       inner products of whole gradients and of what truncation takes away, summed over blocks of text
    Bias        the relative bias and the cosine that follow from them, with their standard errors
    measure     both, of a model on pieces of a text

d = g_K - g is what truncating the gradient of one piece of text to K time steps changes. Over pieces it has a mean,
the bias, and a spread, noise. || mean d || holds both: of n pieces, || E d ||^2 + tr Cov(d) / n on average. But two
pieces i and j that lie far apart in the text are independent, and so E <d_i, d_j> = || E d ||^2 has no noise in it:

    || E d ||^2  is estimated by  the mean of <d_i, d_j> over all pairs i != j,    || E g ||^2  in the same way

(a U-statistic, Hoeffding 1948). Their ratio is the squared bias. It may come out below 0, where there is none that
could be told. Pieces are added up in blocks, pairs are those of different blocks, and the standard errors come from
leaving out one block after the other (jackknife, Efron 1982).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.inspect.cuts import Cuts
from micrornn.inspect.noise_scale import jackknife
from micrornn.inspect.sweep import Scratch
from micrornn.inspect.window import Window, piece_of

BLOCKS = 16  # of pieces, at most
MEMORY = 256 << 20  # bytes for the sums of differences; where they take more, some K at a time


@dataclass(frozen=True)
class Bias:
    """Of the mean truncated gradient, for each K; NaN where there was one block only.

    square, error              (K,) bias^2 relative to || E g ||^2, and its standard error; square may be below 0
    cosine                     (K,) of the angle between the two mean gradients
    signal, signal_error       || E g ||^2, and its standard error
    blocks                     how many blocks of text
    finite                     whether all gradients were
    """

    square: np.ndarray
    error: np.ndarray
    cosine: np.ndarray
    signal: float
    signal_error: float
    blocks: int
    finite: bool = True

    @property
    def value(self) -> np.ndarray:
        """The bias, 0 where its square came out below 0."""
        return np.sqrt(np.maximum(self.square, 0))

    @property
    def low(self) -> np.ndarray:
        """Two standard errors down: 0 where the bias cannot be told from 0."""
        return np.sqrt(np.maximum(self.square - 2 * self.error, 0))

    @property
    def high(self) -> np.ndarray:
        """Two standard errors up."""
        return np.sqrt(np.maximum(self.square + 2 * self.error, 0))

    @property
    def told(self) -> bool:
        """Whether there is a mean gradient to compare with: one that stands out of the noise."""
        return bool(self.signal > 2 * self.signal_error)


Grams = tuple[np.ndarray, np.ndarray, np.ndarray]


def grams(full: np.ndarray, off: np.ndarray) -> Grams:
    """Inner products of M blocks: of g (M, M), of g_K - g (K, M, M), and of the latter with g (K, M, M).

    full, off    (M, P), (K, M, P) sums of g and of g_K - g over each block, each piece weighted with its tokens
    """
    own, both = np.array([rows @ rows.T for rows in off]), np.array([rows @ full.T for rows in off])
    return (full @ full.T).astype(np.float64), own.astype(np.float64), both.astype(np.float64)


def bias_of(weights: np.ndarray, full: np.ndarray, off: np.ndarray, both: np.ndarray) -> Bias:
    """From the inner products of blocks, as `grams` gives them: full (M, M), off and both (K, M, M)."""
    pairs = np.outer(weights, weights)

    def of(blocks: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """(|| E g ||^2, || E d ||^2, <E d, E g>) from these blocks."""
        keep = np.ix_(blocks, blocks)
        different = ~np.eye(len(blocks), dtype=bool)
        count = pairs[keep][different].sum()
        return (
            float(full[keep][different].sum() / count),
            np.array([gram[keep][different].sum() for gram in off]) / count,
            np.array([gram[keep][different].sum() for gram in both]) / count,
        )

    blocks, num_K = np.arange(len(weights)), len(off)
    finite = bool(np.isfinite(full).all() and np.isfinite(off).all())
    if len(blocks) < 3 or not finite:  # of two blocks, leaving out one leaves no pair
        nothing = np.full(num_K, np.nan)
        return Bias(nothing, nothing, nothing, np.nan, np.nan, len(blocks), finite)
    signal, square, product = of(blocks)
    left = [of(np.delete(blocks, n)) for n in blocks]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = jackknife([one[1] / one[0] for one in left])
        cosine = (signal + product) / np.sqrt(max(signal, 0) * np.maximum(signal + 2 * product + square, 0))
        ratio = square / signal
    signal_error = float(jackknife([one[0] for one in left]))
    return Bias(ratio, error, np.clip(cosine, -1, 1), signal, signal_error, len(blocks))


def pieces(windows: Sequence[Window], lanes: int) -> list[Window]:
    """Windows cut into pieces of so many lanes. Those of one window stand together, so that the blocks, which take
    them in turn, hold pieces from all over the text."""
    width = windows[0].inputs.shape[1]
    return [piece_of(window, slice(at, at + lanes)) for window in windows for at in range(0, width, lanes)]


Cutter = Callable[[Cuts, Sequence[int]], Iterator[int]]


def cut_windows(cut: Cuts, ks: Sequence[int]) -> Iterator[int]:
    """Cuts a piece as in training with num_steps = K, for each K of `ks` in turn; gives which of them it is."""
    for at, k in enumerate(ks):
        cut.windows(k)
        yield at


def measure(model: Any, text: Sequence[Window], ks: Sequence[int],
            progress: Callable[[int, int], bool | None] | None = None, *,
            cutter: Cutter = cut_windows) -> Bias:  # fmt: skip
    """The bias of the mean gradient for each K of `ks`, which rise.

    model       of granularity sequence, without dropout
    text        pieces of text, one backward pass each and one more for each K
    progress    progress(done, total) hears of each piece; where it answers True, and each block has a piece, the rest
                of the text is left out
    cutter      truncates a piece: by windows of K time steps, unless another is given

    Where the sums for all K would take more than MEMORY, the text is gone through several times, for some K each.
    """
    blocks, size = min(BLOCKS, len(text)), len(model.flat) * model.flat.data.itemsize
    at_once = max(1, min(len(ks), MEMORY // (blocks * size)))
    chunks, scratch = [ks[at : at + at_once] for at in range(0, len(ks), at_once)], Scratch(model.flat.data.dtype)
    found: list[Grams] = []
    use, (dtype, num_parameters) = list(text), (model.flat.data.dtype, len(model.flat))
    for pass_, chunk in enumerate(chunks):
        weights, full = np.zeros(blocks), np.zeros((blocks, num_parameters), dtype)
        off = np.zeros((len(chunk), *full.shape), dtype)
        for n, piece in enumerate(use):
            cut = Cuts(model, piece, scratch)
            full[n % blocks] += cut.losses * cut.full
            weights[n % blocks] += cut.losses
            for at in cutter(cut, chunk):
                off[at, n % blocks] += cut.losses * (cut.row - cut.full)
            enough = progress is not None and progress(pass_ * len(use) + n + 1, len(chunks) * len(use))
            if enough and n + 1 >= blocks and not found:
                use = use[: n + 1]
                break
        found.append(grams(full, off))
    own, both = (np.concatenate([one[n] for one in found]) for n in (1, 2))
    return bias_of(weights, found[0][0], own, both)
