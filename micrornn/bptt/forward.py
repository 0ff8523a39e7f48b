"""What the forward ways are made of: derivatives of one batch, whose influence on later losses is carried along.

    s_t       the state: all of h (and c, ...) of all layers of a lane, S numbers
    D, I      d s_t / d s_{t-1} (S, S) and, s_{t-1} given, d s_t / d theta (S, n): by VJPs on the tape of one lane
    J_t       d s_t / d theta, the influence of all that came before: D J_{t-1} + I

    g = d L_t / d theta, s_{t-1} given,  +  d L_t / d s_{t-1} J_{t-1}       summed over lanes

t counts batches: within one, the gradient goes back as ever. theta are the parameters that a state depends on.
Nothing is kept but J, so that the cost of a time step does not depend on how far back it reaches. The masks of dropout
are data: what is dropped in a lane is the same in all of these. Tapes are where the model is; J, and what it is
made of, lies in the machine's memory.

back_from_loss    the way back from the loss of a batch
jacobian          the way back from the states that a batch ends in, lane by lane
Forward           a Way made of those
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.bptt.way import Way
from micrornn.dropmask import part_of
from micrornn.errors import CheckpointError, ConfigError, counted
from micrornn.inspect.nonfinite import Blown
from micrornn.recompute import Segment, read
from micrornn.tape import Tape, Tensor
from micrornn.tasks.task import State

MOST_BYTES = 1_000_000_000  # that influences may take


def rows_of(state: Sequence[Any]) -> np.ndarray:
    """Tensors or arrays (layers, B, H), one for each state, as (B, S) in the machine's memory."""
    arrays = [device.host(part.data if isinstance(part, Tensor) else part) for part in state]
    return np.concatenate([array.transpose(1, 0, 2).reshape(array.shape[1], -1) for array in arrays], axis=1)


def state_of(rows: np.ndarray, like: State) -> list[Any]:
    """The other way round: rows (B, S) -> arrays (layers, B, H), where those of `like` are."""
    found, start = [], 0
    for state in like:
        layers, _, size = state.shape
        part = rows[:, start : start + layers * size].reshape(len(rows), layers, size)
        found.append(kernels.of(state.data).asarray(np.ascontiguousarray(part.transpose(1, 0, 2))))
        start += layers * size
    return found


def leaves(state: State | None) -> State:
    """The state as tensors whose cotangents are wanted; empty for the initial one."""
    return tuple(Tensor(kernels.of(part.data).contiguous(part.data), requires_grad=True) for part in state or ())


def flat_of(model: Any, found: Sequence[Any], out: np.ndarray) -> None:
    """Gradients of all parameters, zero where there is none, in the order of the flat buffer."""
    for part, gradient in zip(model.flat.slices.values(), found):
        out[part] = 0 if gradient is None else device.host(gradient).reshape(-1)


def rows_by(first: State, found: Sequence[Any]) -> np.ndarray:
    """Cotangents of the first state, zero where there is none, as (B, S)."""
    return rows_of([np.zeros(f.shape, f.dtype) if part is None else part for f, part in zip(first, found)])


def back_from_loss(model: Any, inputs: Any, targets: Any, state: State | None,
                   dloss: float) -> tuple[float, np.ndarray, np.ndarray | None, State, Tape]:  # fmt: skip
    """(loss, its gradient (len(flat),) with the state given, by that state (B, S) (None of the initial one), the last
    state, the tape)."""
    first = leaves(state)
    with Tape(guard=False) as tape:
        loss, last = model.loss(inputs, targets, first or None)
    parameters = list(model.flat.parameters.values())
    found = tape.cotangents([*parameters, *first], [loss], [dloss], copy=False)
    gradient = np.empty(len(model.flat), model.flat.data.dtype)
    flat_of(model, found, gradient)
    dfirst = rows_by(first, found[len(parameters) :]) if first else None
    return loss.item(), gradient, dfirst, tuple(Tensor(part.data) for part in last), tape


def jacobian(model: Any, inputs: Any, state: State | None, dlast: np.ndarray,
             of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(dlast D (B, R, S), dlast I (B, R, n)) of a batch: what goes back from its last state.

    dlast    (B, R, S): R cotangents of the last state for each lane
    of       the places in the flat buffer of the n parameters that count
    """
    lanes, count, size = dlast.shape
    parameters, dtype = list(model.flat.parameters.values()), model.flat.data.dtype
    by_state, by_parameter = np.zeros((lanes, count, size), dtype), np.empty((lanes, count, len(of)), dtype)
    gradient = np.empty(len(model.flat), dtype)
    for b in range(lanes):
        lane = (slice(None), slice(b, b + 1))
        first = leaves(None if state is None else tuple(Tensor(part.data[lane]) for part in state))
        with part_of(len(inputs), lanes, itemgetter(lane)), Tape(guard=False) as tape:
            last = read(model, np.ascontiguousarray(inputs[lane]), first or None)
        for r in range(count):
            found = tape.cotangents([*parameters, *first], last, state_of(dlast[b, r : r + 1], last), copy=False)
            flat_of(model, found, gradient)
            by_parameter[b, r] = gradient[of]
            if first:
                by_state[b, r] = rows_by(first, found[len(parameters) :])[0]
    return by_state, by_parameter


class ForwardStep:
    """The Step of a forward way; `backward` also computes what the way keeps from then on."""

    whole: Segment | None = None

    def __init__(self, way: Forward, inputs: Any, targets: Any, state: State | None, update: int):
        self.way, self.inputs, self.targets, self.state, self.update = way, inputs, targets, state, update
        self.dloss = len(inputs) if way.config.loss == "sum" else 1.0
        self.last: State = ()
        self.kept: dict[str, np.ndarray] = {}

    def backward(self) -> float:
        model = self.way.model
        model.flat.join()
        steps, loss, total = self.way.steps_at_once or len(self.inputs), 0.0, np.zeros(len(model.flat), self.way.dtype)
        state, self.kept = self.state, {} if self.state is None else dict(self.way.kept)
        for start in range(0, len(self.inputs), steps):
            inputs, targets = self.inputs[start : start + steps], self.targets[start : start + steps]
            share = len(inputs) / len(self.inputs)
            model.draw_dropout(self.update, start)
            value, gradient, dfirst, last, _ = back_from_loss(model, inputs, targets, state, self.dloss * share)
            total += gradient
            if dfirst is not None and self.kept:
                total[self.way.of] += self.way.arrived(dfirst, self.kept)
            key = [self.way.config.seed, self.way.STREAM, self.update, start]
            self.kept = self.way.advanced(inputs, state, self.kept, key)
            loss, state = loss + share * value, last
        model.flat.grad[...] = total
        self.last = state or ()
        return loss

    def blown(self, limit: float | None = None) -> Blown | None:
        return self.way.segments(self.inputs, self.targets, self.state, self.update).blown(limit)


class Forward(Way):
    """A way that carries an influence along.

    kept               name -> array: what is known of J; empty at the start of a sequence
    steps_at_once      time steps between two Js; 0: a batch
    arrived            what dL / ds_{t-1} (B, S) brings to the parameters `of`, through J
    advanced           `kept` after the next time steps
    shapes_of          the shape of each array in `kept`
    """

    STREAM = 17
    steps_at_once = 0
    refused = {"clip_message": "what is clipped is no sum of what each loss gives"}

    def prepare(self) -> None:
        rnn = self.model.rnn
        self.dtype = self.model.flat.data.dtype
        self.states = len(rnn.cell.states) * rnn.num_layers * len(rnn.directions) * rnn.hidden_size
        self.kept: dict[str, np.ndarray] = {}
        self._require_room(sum(weight.data.size for weight in rnn.weights.values()))
        self.of = self._reached()
        self._require_room(len(self.of))

    def _reached(self) -> np.ndarray:
        """The places in the flat buffer of the parameters that a state depends on."""
        batches, parameters = self.batches, self.model.flat.parameters
        position = batches.epoch, batches.window, batches.state
        inputs, _, _ = batches.next()
        batches.epoch, batches.window, batches.state = position
        with Tape(guard=False) as tape:
            last = read(self.model, np.ascontiguousarray(inputs[:1, :1]), None)
        ones = state_of(np.ones((1, self.states), self.dtype), last)
        found = tape.cotangents(list(parameters.values()), last, ones)
        places = [place for place, one in zip(self.model.flat.slices.values(), found) if one is not None]
        return np.concatenate([np.arange(place.start, place.stop) for place in places])

    def _require_room(self, size: int) -> None:
        """ConfigError where the influence of so many parameters takes too much memory."""
        shapes = self.shapes_of(self.config.batch_size, size)
        states = shapes["influence"][1] if "influence" in shapes else self.states
        needed = sum(int(np.prod(shape, dtype=float)) for shape in shapes.values()) * self.dtype.itemsize
        if needed > MOST_BYTES:
            lanes = counted(self.config.batch_size, "lane")
            raise ConfigError(
                f"`backprop={self.config.backprop}` keeps how each of {size:,} parameters acts on {states:,} states in "
                f"{lanes}: {needed / 1e9:,.1f} GB, and {MOST_BYTES / 1e9:.0f} GB are the most\n"
                "  lower `hidden_size`, `num_layers` or `batch_size`"
            )

    def next(self, update: int) -> ForwardStep:
        inputs, targets, state = self.batches.next()
        return ForwardStep(self, np.array(inputs), np.array(targets), state, update)

    def commit(self, step: ForwardStep) -> None:
        super().commit(step)
        self.kept = step.kept

    def shapes_of(self, lanes: int, size: int) -> dict[str, tuple[int, ...]]:
        raise NotImplementedError

    def arrived(self, dfirst: np.ndarray, kept: dict[str, np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def advanced(self, inputs: Any, state: State | None, kept: dict[str, np.ndarray],
                 key: Sequence[int]) -> dict[str, np.ndarray]:  # fmt: skip
        raise NotImplementedError

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return dict(self.kept), {}

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        begun = self.batches.state is not None
        shapes = self.shapes_of(self.config.batch_size, len(self.of)) if begun else {}
        wanted = {name: (shape, self.dtype) for name, shape in shapes.items()}
        if meta or {name: (array.shape, array.dtype) for name, array in arrays.items()} != wanted:
            raise CheckpointError(f"the checkpoint does not hold what `backprop={self.config.backprop}` keeps")
        self.kept = dict(arrays)
