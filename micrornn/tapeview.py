"""The tape of a small network as plain data: what was computed, what flowed back, and what each time step contributed.

Nothing is printed here.

    build(cell, granularity, ...)   record a small network and name its tensors -> SmallNet
    view(net)                       every row with its values and, if wanted, gradients -> TapeView
    factors, contribution           what a time step of a recurrent op gives to the gradient of a weight
    Row, Value                      one record of the tape; a tensor in it
    Contribution                    what one time step gave to the gradient of one weight
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.kernels.symbols.numbers import computed, kept, leaves_of
from micrornn.layers import Linear
from micrornn.ops import mean_squared_error
from micrornn.recurrent import Recurrent
from micrornn.tape import Record, Tape, Tensor

Gradients = dict[int, np.ndarray | None]  # by the id of a tensor
Given = dict[int, dict[int, np.ndarray]]  # contributions: by the id of a weight, then by time step

# Short names, as they stand in the equations.
_SHORT = {"weight_ih_l0": "W_ih", "weight_hh_l0": "W_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}


@dataclass(frozen=True)
class Value:
    """A tensor: its name, its numbers, and its cotangent (None: nothing flows back, or it was not computed)."""

    name: str
    data: np.ndarray
    gradient: np.ndarray | None


@dataclass(frozen=True)
class Row:
    """One record of the tape. A tensor without a name gets that of its row: `#3`, or `#3.1` for the second output of
    that row, or `#3.f` where the outputs are gates."""

    number: int
    t: int | None
    scope: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]


@dataclass(frozen=True)
class Contribution:
    """What time step t gave to the gradient of a weight: its norm, and its share.

    The share is this norm divided by the sum of the norms of all time steps; it is negative where the contribution
    points against the gradient.
    """

    weight: str
    t: int
    norm: float
    share: float


@dataclass(frozen=True)
class TapeView:
    """rows: in the order of the computation; leaves: tensors that no row made; contributions: by weight and time step.

    difference    the largest |sum of contributions - gradient| of any weight; None without backward
    """

    rows: tuple[Row, ...]
    leaves: tuple[Value, ...]
    contributions: tuple[Contribution, ...]
    difference: float | None


@dataclass(frozen=True)
class SmallNet:
    """A tape with its loss, its weights and its leaves, among which the weights are."""

    tape: Tape
    loss: Tensor
    weights: tuple[Tensor, ...]
    leaves: tuple[Tensor, ...]
    gates: tuple[str, ...]


def build(cell: str, granularity: str, *, seq_len: int = 3, hidden_size: int = 2, batch_size: int = 1,
          seed: int = 0) -> SmallNet:  # fmt: skip
    """Record one layer of a cell that reads a sine wave and predicts its next number, in float64.

    x_t = sin(t + 1 + b) of lane b, rounded; target_t = x_(t+1); y_t = W_out h_t + b_out; the loss is the mean
    squared error.
    """
    wave = np.sin(np.arange(1, seq_len + 2)[:, None, None] + np.arange(batch_size)[None, :, None]).round(2)
    rnn = Recurrent(cell, 1, hidden_size, granularity=granularity, seed=seed, dtype=np.float64)
    decoder = Linear(hidden_size, 1, seed=seed + 1, dtype=np.float64)
    weights = rnn.parameters()
    for name, weight in weights.items():
        weight.name = _SHORT.get(name, name.removesuffix("_l0"))
    decoder.weight.name, decoder.bias.name = "W_out", "b_out"
    x = Tensor(wave[:-1].copy(), requires_grad=True, name="x")
    blank = np.zeros((1, batch_size, hidden_size))
    state = [Tensor(blank.copy(), requires_grad=True, name=f"init_{name}") for name in rnn.cell.states]
    with Tape() as tape:
        hidden, last = rnn(x, state)
        y = decoder(hidden)
        loss = mean_squared_error(y, targets=wave[1:])
    hidden.name, y.name, loss.name = "h", "y", "loss"
    for name, tensor in zip(rnn.cell.states, last):
        tensor.name = f"{name}_n"
    _name_states(tape, hidden, rnn.cell.states)
    all_weights = (*weights.values(), decoder.weight, decoder.bias)
    return SmallNet(tape, loss, all_weights, (x, *state, *all_weights), rnn.cell.gates)


def _name_states(tape: Tape, hidden: Tensor, states: tuple[str, ...]) -> None:
    """Name x_t, h_t, c_t and the states they start from. A tensor that is made at one time step and read at another is
    a state."""
    made: dict[int, int | None] = {}
    for record in tape.records:
        if record.op.name == "unstack":
            whole = record.inputs[0].name
            for t, piece in enumerate(record.outputs):
                piece.name = f"x{t}" if whole == "x" else f"{whole.removeprefix('init_')}_init"
        if record.op.name == "stack" and record.outputs[0] is hidden:
            for t, piece in enumerate(record.inputs):
                piece.name = f"h{t}"
        for output in record.outputs:
            made[id(output)] = record.t
    for record in tape.records:
        for tensor in record.inputs:
            at = made.get(id(tensor))
            if at is not None and at != record.t and not tensor.name:
                tensor.name = f"{states[-1]}{at}"


def view(net: SmallNet, backward: bool = True) -> TapeView:
    """Every row with its values; with `backward`, also all cotangents and the contributions of each time step."""
    tape, names = net.tape, _names(net)
    tensors = {id(t): t for record in tape.records for t in (*record.inputs, *record.outputs)}
    gradients: Gradients = {}
    given: Given = {id(weight): {} for weight in net.weights}

    def watch(record: Record, tensor: Tensor, contribution: np.ndarray) -> None:
        if id(tensor) in given and record.t is not None:
            steps = given[id(tensor)]
            steps[record.t] = steps.get(record.t, 0) + contribution

    if backward:
        # Gradients are copied: a cotangent may be an array that the engine goes on to add to.
        found = tape.cotangents(list(tensors.values()), [net.loss], watch=watch)
        gradients = {id(t): None if g is None else g.copy() for t, g in zip(tensors.values(), found)}
        for record in tape.records:
            _split_over_time(record, gradients, given)

    def value(tensor: Tensor) -> Value:
        return Value(names[id(tensor)], tensor.data, gradients.get(id(tensor)))

    rows = tuple(
        Row(number, record.t, record.scope, record.op.name, tuple(names[id(x)] for x in record.inputs),
            tuple(value(y) for y in record.outputs))
        for number, record in enumerate(tape.records, 1)
    )  # fmt: skip
    leaves = tuple(value(leaf) for leaf in net.leaves)
    if not backward:
        return TapeView(rows, leaves, (), None)
    contributions, difference = _contributions(net, gradients, given)
    return TapeView(rows, leaves, contributions, difference)


def _names(net: SmallNet) -> dict[int, str]:
    """The name of each tensor on the tape, by id."""
    names: dict[int, str] = {}
    for number, record in enumerate(net.tape.records, 1):
        for tensor in record.inputs:
            names.setdefault(id(tensor), tensor.name or "constant")
        gates = net.gates if len(record.outputs) == len(net.gates) else None
        for part, tensor in zip(gates or map(str, range(len(record.outputs))), record.outputs):
            own = f"#{number}" if len(record.outputs) == 1 else f"#{number}.{part}"
            names[id(tensor)] = tensor.name or own
    return names


def factors(record: Record, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """What the time steps of a recurrent op over a whole sequence contribute to weight_ih, weight_hh, bias_ih or
    bias_hh, after a backward pass: (a (T, B, G H), b (T, B, D)). Time step t contributes a_t^T b_t; to a bias, for
    which b is None, the sum of the rows of a_t."""
    saved = record.saved
    if name.endswith("_ih"):
        return saved["dgates"], saved["x"] if name == "weight_ih" else None
    h, rows = saved[record.op.cell.states[0]], saved.get("dhidden", saved["dgates"])  # type: ignore[attr-defined]
    before = h[1:] if saved["reverse"] else h[:-1]
    return rows, before if name == "weight_hh" else None  # the GRU's two sides differ


def contribution(record: Record, name: str, t: int) -> np.ndarray:
    """What time step t contributes to the gradient of that weight, in its shape. The sum over all t is the gradient."""
    rows, inputs = factors(record, name)
    given: np.ndarray = rows[t].sum(axis=0) if inputs is None else rows[t].T @ inputs[t]
    return given


def _split_over_time(record: Record, gradients: Gradients, given: Given) -> None:
    """The contributions of a record that computes all time steps at once, from what it saved for each of them."""
    if record.t is not None:
        return
    if record.op.name == "linear":
        x, weight, bias = record.inputs
        dy = gradients.get(id(record.outputs[0]))
        if dy is not None and id(weight) in given:
            for t, (row, dy_t) in enumerate(zip(x.data, dy)):
                given[id(weight)][t], given[id(bias)][t] = dy_t.T @ row, dy_t.sum(0)
    elif isinstance(record.saved, dict) and "dgates" in record.saved:
        saved: dict[str, Any] = record.saved
        cell = record.op.cell  # type: ignore[attr-defined]
        weights = dict(zip(cell.parameters, record.inputs[1 + len(cell.states) :]))
        before, after = ([saved[state][rows] for state in cell.states] for rows in (slice(-1), slice(1, None)))
        leaves = kept(cell.program, saved["gates"], saved.get("hidden"), before, after, saved["vectors"])
        leaves |= leaves_of("dcur", [saved[f"d{state}"][1:] for state in cell.states])
        values = computed(cell.program.dvector, leaves, before[0])
        vectors = dict(zip(cell.vectors, cell.program.dvector))
        for name, tensor in weights.items():
            for t in range(len(saved["x"])):
                own = name in vectors
                given[id(tensor)][t] = values[vectors[name]][t].sum(0) if own else contribution(record, name, t)


def _contributions(net: SmallNet, gradients: Gradients,
                   given: Given) -> tuple[tuple[Contribution, ...], float]:  # fmt: skip
    rows, difference = [], 0.0
    for weight in net.weights:
        gradient = gradients[id(weight)]
        if gradient is None:
            continue
        steps = given[id(weight)]
        difference = max(difference, float(np.abs(sum(steps.values()) - gradient).max()))
        norms = {t: float(np.sqrt((step**2).sum())) for t, step in steps.items()}
        total = sum(norms.values()) or 1.0
        for t in sorted(steps):
            against = float((steps[t] * gradient).sum()) < 0
            rows.append(Contribution(weight.name, t, norms[t], (-norms[t] if against else norms[t]) / total))
    return tuple(rows), difference
