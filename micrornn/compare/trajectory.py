"""The way of one example, a mini-batch and all examples at a time over the loss surface of two parameters.

    h_t = tanh(w h_{t-1} + u x_t),   loss = mean over examples of (h_T - target)^2 / 2

trajectory(seed)    -> Measure `trajectory`: the surface, the ways, and how much of each gradient is chance

The targets are those of a network with w = 0.8, u = 0.7, with noise. All three ways read the same examples as often, at
the same learning rate; they differ in how many examples an update averages over.
"""

from __future__ import annotations

import math

import numpy as np

from micrornn import kernels
from micrornn.inspect.measure import Array, Axis, Measure, Number, Verdict
from micrornn.inspect.words import number, percent
from micrornn.ops import mean_squared_error, tanh
from micrornn.tape import Tape, Tensor

EXAMPLES, STEPS, EPOCHS, LR = 64, 8, 12, 0.25
TRUE, NOISE, START = (0.8, 0.7), 0.15, (-0.5, 1.45)
BATCHES = (1, 8, EXAMPLES)
GRID, W, U = 49, (-1.0, 1.4), (-0.3, 1.7)


def trajectory(seed: int = 0) -> Measure:
    """The three ways from one start, and the loss everywhere around them."""
    x, y = examples(seed)
    w, u = np.linspace(*W, GRID), np.linspace(*U, GRID)
    surface = loss_at(x, y, w[None, :], u[:, None])
    low = lowest(x, y, w, u, surface)
    axes, arrays = {"w": Axis.of(w), "u": Axis.of(u)}, {}
    arrays["loss"] = Array(surface, ("u", "w"), "", "loss over both parameters")
    numbers = {"lowest_w": Number(low[0], "", "w of the lowest loss"), "lowest_u": Number(low[1], "", "u of it")}
    numbers["lowest"] = Number(float(loss_at(x, y, *low)), "", "the lowest loss there is")
    with kernels.use("reference"):
        for batch in BATCHES:
            way = descend(x, y, batch, seed)
            losses = loss_at(x, y, way[:, 0], way[:, 1])
            axes[f"update_{batch}"] = Axis.of(range(len(way)))
            for name, values, about in (("w", way[:, 0], "w"), ("u", way[:, 1], "u"), ("loss", losses, "loss of all")):
                arrays[f"{name}_{batch}"] = Array(values, (f"update_{batch}",), "", f"{about}, {batch} at a time")
            late = way[len(way) * 3 // 4 :]
            numbers[f"noise_{batch}"] = Number(noise(x, y, batch), "", "share of chance in the gradient at the start")
            at = np.arange(len(late))
            line = np.stack([np.polyval(np.polyfit(at, part, 1), at) for part in late.T], axis=1)
            wander = float(np.sqrt(((late - line) ** 2).sum(axis=1).mean()))
            numbers[f"wander_{batch}"] = Number(wander, "", "how far it is from a straight way in the last quarter")
    measure = Measure("trajectory", {"text": f"{EXAMPLES} made-up sequences", "seq_len": STEPS}, axes, arrays, numbers)
    return measure.judged(_verdict(measure))


def examples(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x (STEPS, EXAMPLES, 1), targets (EXAMPLES, 1)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(STEPS, EXAMPLES, 1))
    return x, final(x, *TRUE)[:, None] + NOISE * rng.normal(size=(EXAMPLES, 1))


def final(x: np.ndarray, w: np.ndarray | float, u: np.ndarray | float) -> np.ndarray:
    """h_T (EXAMPLES, ...) for each pair of the parameters, which are broadcast together."""
    w, u = np.broadcast_arrays(np.asarray(w, float), np.asarray(u, float))
    h = np.zeros((x.shape[1], *w.shape))
    for step in x:
        h = np.tanh(w * h + u * step.reshape(-1, *[1] * w.ndim))
    return h


def loss_at(x: np.ndarray, y: np.ndarray, w: np.ndarray | float, u: np.ndarray | float) -> np.ndarray:
    """The loss of all examples for each pair of the parameters."""
    h = final(x, w, u)
    found: np.ndarray = ((h - y.reshape(-1, *[1] * (h.ndim - 1))) ** 2).mean(axis=0) / 2
    return found


def gradient(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(dloss/dw, dloss/du) by the tape."""
    w, u = (Tensor(np.full((1, 1), value), True, name) for value, name in zip(at, "wu"))
    with Tape() as tape:
        h = Tensor(np.zeros(x.shape[1:]))
        for step in x:
            h = tanh(h * w + Tensor(step) * u)
        loss = mean_squared_error(h, targets=y) * 0.5
    return np.array([float(np.sum(part)) for part in tape.cotangents([w, u], [loss]) if part is not None])


def descend(x: np.ndarray, y: np.ndarray, batch: int, seed: int) -> np.ndarray:
    """The parameters (updates + 1, 2) from START on, by plain gradient descent; each epoch in another order."""
    rng, at, way = np.random.default_rng([seed, 1]), np.array(START), [np.array(START)]
    for _ in range(EPOCHS):
        order = rng.permutation(EXAMPLES)
        for first in range(0, EXAMPLES, batch):
            picked = order[first : first + batch]
            at = at - LR * gradient(x[:, picked], y[picked], at)
            way.append(at)
    return np.array(way)


def noise(x: np.ndarray, y: np.ndarray, batch: int) -> float:
    """At START, of the mean squared length of a batch's gradient, how much is chance: what is left when the gradient of
    all examples is taken away."""
    each = np.array([gradient(x[:, n : n + 1], y[n : n + 1], np.array(START)) for n in range(EXAMPLES)])
    mean = each.mean(axis=0)
    # batches are drawn without putting back: of all examples at once nothing is chance
    chance = ((each - mean) ** 2).sum(axis=1).mean() / batch * (EXAMPLES - batch) / (EXAMPLES - 1)
    return float(chance / (chance + (mean**2).sum()))


def lowest(x: np.ndarray, y: np.ndarray, w: np.ndarray, u: np.ndarray, surface: np.ndarray) -> tuple[float, float]:
    """Where the loss is lowest: the best place of the grid, looked at more and more closely."""
    row, column = np.unravel_index(int(surface.argmin()), surface.shape)
    at, step = (float(w[column]), float(u[row])), float(max(w[1] - w[0], u[1] - u[0]))
    for _ in range(12):
        around = np.linspace(-step, step, 9)
        losses = loss_at(x, y, (at[0] + around)[None, :], (at[1] + around)[:, None])
        row, column = np.unravel_index(int(losses.argmin()), losses.shape)
        at, step = (at[0] + float(around[column]), at[1] + float(around[row])), step / 3
    return at


def _verdict(measure: Measure) -> Verdict:
    ends = {batch: float(measure[f"loss_{batch}"][-1]) for batch in BATCHES}
    told = "; ".join(
        f"{name(batch)}: {len(measure[f'loss_{batch}']) - 1:,} updates, loss {number(ends[batch])}, "
        f"{percent(measure.numbers[f'noise_{batch}'].value)} of its first gradient is chance, it moves about by "
        f"{number(measure.numbers[f'wander_{batch}'].value)} at the end"
        for batch in BATCHES
    )
    best = min(ends, key=lambda batch: ends[batch])
    words = (
        f"Of the same {EPOCHS * EXAMPLES:,} examples, {told}. Nearest to the lowest loss, "
        f"{number(measure.numbers['lowest'].value)}, came {name(best)}."
    )
    return Verdict("cost", words, {f"loss_{batch}": loss for batch, loss in ends.items()})


def name(batch: int) -> str:
    """What a way is called."""
    return {1: "one at a time", EXAMPLES: "all at once"}.get(batch, f"{batch} at a time")


def contour(surface: np.ndarray, x: np.ndarray, y: np.ndarray, level: float) -> list[np.ndarray]:
    """The lines (N, 2) on which a surface (len(y), len(x)) has this level: marching squares, their pieces joined."""
    pieces: dict[tuple[int, int, int], list[tuple[int, int, int]]] = {}
    above = surface > level
    for row in range(len(y) - 1):
        for column in range(len(x) - 1):
            sides = [  # of a square, around; each edge is named by its corner and direction
                ((row, column), (row, column + 1), (row, column, 0)),
                ((row, column + 1), (row + 1, column + 1), (row, column + 1, 1)),
                ((row + 1, column), (row + 1, column + 1), (row + 1, column, 0)),
                ((row, column), (row + 1, column), (row, column, 1)),
            ]
            crossed = [edge for a, b, edge in sides if above[a] != above[b]]
            for one, two in zip(crossed[::2], crossed[1::2]):
                pieces.setdefault(one, []).append(two)
                pieces.setdefault(two, []).append(one)

    def place(edge: tuple[int, int, int]) -> tuple[float, float]:
        row, column, down = edge
        other = (row + down, column + 1 - down)
        part = (level - surface[row, column]) / (surface[other] - surface[row, column])
        return (float(x[column] + part * (x[other[1]] - x[column])), float(y[row] + part * (y[other[0]] - y[row])))

    lines = []
    while pieces:
        start = next((edge for edge, ends in pieces.items() if len(ends) == 1), next(iter(pieces)))
        line, edge = [place(start)], start
        while pieces.get(edge):
            onward = pieces[edge].pop()
            pieces[onward].remove(edge)
            if not pieces[edge]:
                del pieces[edge]
            line.append(place(onward))
            edge = onward
        pieces = {edge: ends for edge, ends in pieces.items() if ends}
        lines.append(np.array(line))
    return lines


def levels(surface: np.ndarray, low: float, count: int = 10) -> np.ndarray:
    """Levels from the lowest loss up to the highest, closer together near the bottom."""
    top = float(surface.max()) - low
    found: np.ndarray = low + top * (np.arange(1, count + 1) / (count + 1)) ** 2.5
    return found if math.isfinite(top) else np.empty(0)
