"""How much of a gradient is noise, and so which batch_size is worth its price: the gradient noise scale.

noise(model, windows)      the measure; what it is estimated by stands in inspect/noise_scale.py

G is the gradient that all of the text would give, g that of one lane of one window: of the mean loss over its
num_steps time steps, from the state that the text before it leaves, all parameters in one row. Sigma is the
covariance of g. The mean over a batch of N lanes has the squared norm |G|^2 + tr(Sigma) / N on average; so at

    B_simple = tr(Sigma) / |G|^2     lanes

it is half signal, half noise. Lanes are what can be told apart: they lie far from each other in the text, while the
time steps of one lane hang together. In tokens it is num_steps times as many.

What that means for training (McCandlish, Kaplan, Amodei et al. 2018, arXiv:1812.06162): to reach a loss takes S
updates and E = N S lanes, with (S / S_min - 1) (E / E_min - 1) = 1. At batch_size N these are

    S / S_min = 1 + B / N      against ever larger batches
    E / E_min = 1 + N / B      against ever smaller ones

with B near B_simple: by a factor of a few, as it takes the loss for equally curved in all directions. It is small at
the start of training, and grows as the loss falls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from micrornn.errors import ConfigError, counted
from micrornn.inspect.measure import COOLED, Array, Axis, Measure, Number, Verdict, blown_up
from micrornn.inspect.noise_scale import Estimate, estimate
from micrornn.inspect.panels import Curve, Lines, Mark, Panel, Rows
from micrornn.inspect.recorded import record
from micrornn.inspect.register import Measuring
from micrornn.inspect.window import Window, lanes_of, one_by_one, piece_of
from micrornn.inspect.words import number, of_gradient, percent
from micrornn.runs import Progress
from micrornn.tape import Tensor

if TYPE_CHECKING:
    from micrornn.inspect.subject import Subject
    from micrornn.tasks.material import Sizes

# Noisy: more than 9 parts of 10 of the squared norm of a batch's gradient.
MOSTLY = 0.9

# From fewer lanes, or fewer blocks of windows to leave out in turn, the spread of an estimate cannot be told.
LEAST_LANES, LEAST_BLOCKS, BLOCKS = 16, 4, 16
LEAST_PIECES = 8  # of the sequences of a task


def noise(model: Any, windows: Iterable[Window], progress: Progress | None = None, *, batch_size: int | None = None,
          lanes: int | None = None, **about: Any) -> Measure:  # fmt: skip
    """The gradient noise scale of a model on a text, and what its batch_size costs.

    model         called as model.loss(inputs, targets, state) -> (loss, last); its parameters and gradients are left
                  alone. With dropout at work its noise counts too
    windows       of num_steps time steps each. To tell the signal from the noise takes more lanes in all than the
                  noise scale: some hundreds in early training, some thousands later. 32 windows of 64 are good
    batch_size    lanes of a batch in training; by default that of the model
    lanes         of a small batch; by default about a quarter of those of a window, which is quick. Fewer are more
                  precise on the noise, hardly on the signal
    about         what the measure says of its subject; lr_left, the share of the learning rate that was left, counts

    Holds 16 sums of gradients, each of as many numbers as the model has parameters.
    ConfigError if there is no window, or if its lanes are no multiple of `lanes`.
    """
    if batch_size is None:
        batch_size = int(model.config.batch_size)
    parameters, windows = list(model.parameters().values()), list(windows)
    if not windows:
        raise ConfigError("noise: there is no window to look at")
    seq_len, width = record(model, windows[0]).shape
    if lanes is None:
        lanes = next(n for n in range(max(1, width // 4), 0, -1) if width % n == 0)
    if lanes < 1 or width % lanes:
        raise ConfigError(f"noise: windows of {counted(width, 'lane')} do not fall into small batches of {lanes}")
    blocks, size = min(BLOCKS, len(windows)), sum(parameter.data.size for parameter in parameters)
    sums = np.zeros((blocks, size), parameters[0].dtype)
    squares, counts = np.zeros(blocks), np.zeros(blocks, int)
    for m, window in enumerate(one_by_one("noise", windows, progress)):
        block = m * blocks // len(windows)
        for start in range(0, width, lanes):
            piece = window if lanes == width else piece_of(window, slice(start, start + lanes))
            gradient = _gradient(model, parameters, piece)
            sums[block] += gradient
            squares[block] += np.square(gradient, dtype=np.float64).sum()
            counts[block] += 1
        if not np.isfinite(squares[block]):
            words = f"The gradient of window {m} is NaN or infinite."
            return Measure("noise", about, {}, {}, {}, (blown_up(words),))
    about = about | {"windows": len(windows), "seq_len": seq_len, "lanes": width, "in_training": batch_size}
    return _measure(estimate(sums, squares, counts, lanes), batch_size, len(windows) * width, seq_len, about)


def _gradient(model: Any, parameters: Sequence[Tensor], window: Window) -> np.ndarray:
    """Of the mean loss over time and lanes, by all parameters in one row (P,)."""
    recording = record(model, window)
    parts = recording.tape.cotangents(parameters, [recording.loss])
    return np.concatenate(
        [np.zeros(p.data.size, p.dtype) if part is None else part.reshape(-1) for p, part in zip(parameters, parts)]
    )


def _measure(found: Estimate, batch_size: int, lanes: int, seq_len: int, about: Mapping[str, Any]) -> Measure:
    sizes = np.unique([max(1, batch_size * 2**n // 16) for n in range(9)])  # from a sixteenth to sixteen times it
    share, item = float(share_at(found.scale, batch_size)), about.get("item", "token")
    axes = {"batch_size": Axis.of(sizes, "lanes"), "block": Axis.of(range(len(found.left_out)))}
    along, gradient = ("batch_size",), of_gradient(about)
    fewest = "to reach a loss, times the fewest there are"
    arrays = {
        "updates": Array(updates_at(found.scale, sizes), along, "", f"updates {fewest}"),
        "tokens": Array(tokens_at(found.scale, sizes), along, "", f"{item}s {fewest}"),
        "share": Array(share_at(found.scale, sizes), along, "", "of a gradient's squared norm that is noise"),
        "left_out": Array(found.left_out, ("block",), "lanes", "noise scale without this block of windows"),
    }
    numbers = {
        "scale": Number(found.scale, "lanes", "gradient noise scale B_simple; infinite where no signal was found"),
        "scale_low": Number(found.low, "lanes", "two standard errors down"),
        "scale_high": Number(found.high, "lanes", "two standard errors up; infinite where nothing bounds it"),
        "scale_tokens": Number(found.scale * seq_len, f"{item}s", f"the same in {item}s"),
        "signal": Number(found.signal, f"{gradient}^2", "|G|^2, squared norm of the gradient without noise"),
        "signal_error": Number(found.signal_error, f"{gradient}^2", "its standard error"),
        "noise": Number(found.noise, f"{gradient}^2", "tr(Sigma) of the gradient of one lane of one window"),
        "noise_error": Number(found.noise_error, f"{gradient}^2", "its standard error"),
        "batch_size": Number(batch_size, "lanes", "of a batch in training"),
        "share": Number(share, "", "of its gradient's squared norm that is noise"),
    }
    told = {name: about[name] for name in ("lr_left", "item", "cut") if name in about}
    verdict = _verdict(found, batch_size, lanes, seq_len, **told)
    return Measure("noise", about, axes, arrays, numbers, (verdict,))


def updates_at(scale: float, batch_size: Any) -> np.ndarray:
    """S / S_min: how many times the fewest updates that any batch_size needs."""
    return 1 + scale / np.asarray(batch_size, np.float64)


def tokens_at(scale: float, batch_size: Any) -> np.ndarray:
    """E / E_min: how many times the fewest tokens that any batch_size needs."""
    with np.errstate(divide="ignore"):
        return 1 + np.asarray(batch_size, np.float64) / scale


def share_at(scale: float, batch_size: Any) -> np.ndarray:
    """Of the squared norm of a batch's gradient, |G|^2 + tr(Sigma) / N, what is noise."""
    return 1 - 1 / updates_at(scale, batch_size)


def _verdict(found: Estimate, batch_size: int, lanes: int, seq_len: int, lr_left: float = 1.0, item: str = "token",
             cut: bool = True) -> Verdict:  # fmt: skip
    share, scale = float(share_at(found.scale, batch_size)), found.scale
    least = float(share_at(found.low, batch_size))
    numbers = {"scale": scale, "low": found.low, "high": found.high, "batch_size": batch_size, "share": share}
    few = lanes < LEAST_LANES or len(found.left_out) < LEAST_BLOCKS
    if few or found.noise <= 0 or not math.isfinite(found.low):
        blocks = counted(len(found.left_out), "block")
        words = f"{counted(lanes, 'lane')} in {blocks} of windows are too few to tell signal from noise."
        advice = "Look at more with `windows` and `batch_size`."
        return Verdict("unsure", words, numbers, advice)
    low = number(found.low)
    up_to = f"({low} to {number(found.high)})" if math.isfinite(found.high) else f"({low} or more)"
    tokens = f" of {counted(seq_len, 'time step')}, {number(scale * seq_len)} {item}s" if item == "token" else ""
    if not math.isfinite(scale):
        up_to, scale, tokens = "or more", found.low, ""
    words = (
        f"The gradient noise scale is {number(scale)} lanes {up_to}{tokens}: at batch_size {batch_size:,}, "
        f"{percent(float(share_at(scale, batch_size)))} of a gradient's squared norm is noise"
        + (", at least." if found.low == scale else ".")
    )
    if lr_left < COOLED:
        words += (
            f" But the learning rate had fallen to {percent(lr_left)} when this was saved. The slower a run goes, the "
            "nearer it comes to where its gradient is 0, and the more of a gradient is noise: this is the noise "
            "scale of its end, many times that of most of its way, and no reason for more lanes."
        )
        advice = "Measure a checkpoint from before the rate fell"
        advice += "; for sizes to train with, ask `micrornn advise FILES`." if item == "token" else "."
        return Verdict("unsure", words, numbers | {"lr_left": lr_left}, advice)
    half, double = max(1, batch_size // 2), 2 * batch_size
    costs = (
        f"To reach the same loss batch_size {double:,} would take {_change(scale, batch_size, double, item)}; "
        f"{half:,} would take {_change(scale, batch_size, half, item)}."
    )
    if least > MOSTLY or (share > MOSTLY and math.isfinite(found.high)):
        advice = (
            f"{costs} A larger batch_size with a higher `lr` pays in time wherever it brings more {item}s per second; "
            "where it does not, leave it: noise alone does no harm."
            + (" `micrornn advise` weighs that." if cut else "")
        )
        return Verdict("noisy", words, numbers, advice)
    if not math.isfinite(found.high):
        words += f" The {lanes:,} lanes that were looked at do not bound it from above."
        return Verdict("unsure", words, numbers, "Look at more with `windows` and `batch_size`.")
    if share < 1 - MOSTLY:
        near = max(1, round(scale))
        costs = (
            f"Most lanes say what the others have said: {near:,} would take {_change(scale, batch_size, near, item)}."
        )
    return Verdict("healthy", words, numbers, costs)


def _change(scale: float, before: int, after: int, item: str) -> str:
    """`8 % fewer updates and 40 % more tokens`."""
    told = []
    for name, at in (("updates", updates_at), (f"{item}s", tokens_at)):
        ratio = float(at(scale, after) / at(scale, before))
        told.append(f"{percent(abs(ratio - 1))} {'more' if ratio > 1 else 'fewer'} {name}")
    return " and ".join(told)


def panels(measure: Measure) -> list[Panel]:
    """What each batch_size costs in updates and in tokens, as curves and as a table; nothing if a gradient was not
    finite, or no signal was found."""
    if not measure.arrays:
        return []
    sizes = np.array(measure.axes["batch_size"].places)
    updates, tokens, share = (measure[name] for name in ("updates", "tokens", "share"))
    items = f"{measure.subject.get('item', 'token')}s"
    scale, trained = measure.numbers["scale"].value, int(measure.numbers["batch_size"].value)
    if not math.isfinite(scale):
        return []
    here = int(np.flatnonzero(sizes == trained)[0])
    marks = [Mark(trained, f"batch_size {trained:,}")]
    if sizes[0] <= scale <= sizes[-1]:
        marks.append(Mark(scale, f"noise scale {number(scale)}"))
    return [
        Lines(
            f"Updates and {items} to reach a loss", "batch_size in lanes", "times the fewest",
            [Curve("updates", sizes, updates), Curve(items, sizes, tokens)], log_x=True, log_y=True, marks=marks,
            note="Each against the fewest that any batch_size needs. They cross at the noise scale, where both are 2.",
        ),
        Rows(
            "What a batch_size costs", ["batch_size", "updates", items, "noise in a gradient"],
            [
                [f"{size:,}", f"x {number(u / updates[here])}", f"x {number(t / tokens[here])}", percent(noise)]
                for size, u, t, noise in zip(sizes.tolist(), updates, tokens, share)
            ],
            note=f"To reach the same loss, against batch_size {trained:,}; noise as a share of the squared norm.",
        ),
    ]  # fmt: skip


class Noise(Measuring):
    """How much of a batch's gradient is chance, and which batch_size that speaks for.

    The gradient noise scale: from how many lanes on a larger batch is hardly better than the one before.
    """

    name = "noise"
    order = 6
    asks = "how many lanes are worth it?"
    title = "Noise: how much of a batch's gradient is chance"
    example = "`windows=64`"
    windows = 32
    batch_size = 64
    quick = True
    measure = staticmethod(noise)
    panels = staticmethod(panels)

    def take(self, subject: Subject, sizes: Sizes, progress: Progress | None = None, part: str = "") -> Measure:
        """Of whole sequences small batches are read, instead of pieces of large ones."""
        material = subject.material
        if material.cut:
            return super().take(subject, sizes, progress)
        windows, seq_len, batch_size = (size or 1 for size in sizes)
        lanes = max(1, min(batch_size, material.sequences // LEAST_PIECES) // 4)
        pieces = subject.windows(seq_len, max(1, windows * batch_size // lanes), lanes)
        pieces = [piece for piece in pieces if lanes_of(piece) in (None, lanes)]  # the last may be smaller
        return noise(subject.model, pieces, progress, lanes=lanes, **subject.about())
