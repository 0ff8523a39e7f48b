"""Gradient checks of whole networks: every cell in every granularity, and a trained model.

    check_cell(cell, granularity, ...)     a fresh recurrent network, number by number
    check_model(model, granularity, ...)   a trained model: a random projection, a sample of each parameter
    window(meta, ...)                      a few tokens of the text that a trained model learned from
    NetworkCheck                           the result: a Check for each tensor

A finite difference across the kink of a relu is wrong although the gradient is right. So `rnn_relu` is checked with
weights that keep every pre-activation a away from 0, for all sizes: the two biases of a unit add up to +1 or -1 (some
units are always on, some always off), and in each row of weight_ih and weight_hh the absolute values sum to at most
0.2. With |x| <= 1 and |h_0| <= 1, all |h| <= 1 / (1 - 0.4) = 5/3: so |a| >= 1 - 0.4 * 5/3 = 1/3. A difference of
2e = 0.001 in any one number moves an a by less than 0.001 * 5/3 / (1 - 0.4) < 0.003.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from micrornn import device
from micrornn.cells import find_cell
from micrornn.data import Padded
from micrornn.errors import MicrornnError
from micrornn.gradcheck import STEP, Check, gradcheck, projected
from micrornn.initializers import Initializer
from micrornn.ops import concatenate, reshape
from micrornn.recurrent import Recurrent
from micrornn.runs import own_task
from micrornn.tape import Tape, Tensor
from micrornn.tasks.parts import split

DECIMALS = 10  # that must be equal
# Through several time steps the fifth derivative is larger than that of one op. Half the step makes the error a 16th,
# and 11 decimals are equal; with a quarter of it, rounding is the larger error.
NETWORK_STEP = STEP / 2


@dataclass(frozen=True)
class NetworkCheck:
    """What was found for one network.

    checks    one for each tensor
    kink      the smallest distance of any relu from its kink; infinite where there is no relu
    """

    cell: str
    granularity: str
    checks: tuple[Check, ...]
    kink: float

    @property
    def passed(self) -> bool:
        return all(check.decimals >= DECIMALS for check in self.checks)


def check_cell(cell: str, granularity: str, *, num_layers: int = 2, hidden_size: int = 4, input_size: int = 3,
               batch_size: int = 2, seq_len: int = 5, bidirectional: bool = False, seed: int = 0,
               samples: int | None = None, project: bool = False) -> NetworkCheck:  # fmt: skip
    """Check the gradient of a random weighted sum of all outputs and last states of a fresh network, with respect to x,
    the initial states and all parameters. In the Check of x, by_step has the errors of dL/dx_t.

    samples    compare at most so many numbers of each tensor; None: all
    project    in place of that, one Check of all tensors at once along a random direction
    """
    sizes = num_layers, hidden_size, input_size, batch_size, seq_len, bidirectional, seed
    function, tensors = _network(cell, granularity, *sizes)
    if project:
        checks = [_along(function, tensors, NETWORK_STEP, seed)]
    else:
        checks = gradcheck(function, tensors, samples=samples, step=NETWORK_STEP, seed=seed)
    kink = _nearest_kink(_network(cell, "primitive", *sizes)[0]) if find_cell(cell).kinks else math.inf
    return NetworkCheck(cell, granularity, tuple(checks), kink)


def _network(cell: str, granularity: str, num_layers: int, hidden_size: int, input_size: int, batch_size: int,
             seq_len: int, bidirectional: bool,
             seed: int) -> tuple[Callable[[], Tensor], list[Tensor]]:  # fmt: skip
    """(what to check, all that it depends on) in float64."""
    rnn = Recurrent(
        cell, input_size, hidden_size, num_layers, bidirectional, granularity=granularity,
        initializers=_away_from_kinks(cell), seed=seed, dtype=np.float64,
    )  # fmt: skip
    rng = np.random.default_rng(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(rng.uniform(-1, 1, shape), requires_grad=True, name=name)

    x = drawn("x", (seq_len, batch_size, input_size))
    shape = (num_layers * len(rnn.directions), batch_size, hidden_size)
    state = [drawn(f"{name}_0", shape) for name in rnn.cell.states]

    def ends() -> Tensor:
        y, last = rnn(x, state)
        return concatenate(*(reshape(part, shape=(part.data.size,)) for part in (y, *last)))

    # The difference of two large sums would be lost in their rounding. So the values at the start are subtracted number
    # by number, which is exact, and what is left is summed with random signs.
    base = Tensor(ends().data.copy())
    signs = Tensor(rng.choice([-1.0, 1.0], base.shape))

    def function() -> Tensor:
        return (ends() - base) * signs

    return function, [x, *state, *rnn.parameters().values()]


def _narrow(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-0.2, 0.2, shape) / (shape[1] if len(shape) > 1 else 1)


def _on_and_off(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(np.arange(shape[0]) % 2, -0.5, 0.5)  # the same for bias_ih and bias_hh: +1 or -1 together


def _away_from_kinks(name: str) -> dict[str, Initializer] | None:
    """How the parameters of a cell with a relu start; None, the cell's own way, for one without."""
    cell = find_cell(name)
    if not cell.kinks:
        return None
    return {"bias": _on_and_off} | {part: _narrow for part in cell.parameters if not part.startswith("bias")}


def _nearest_kink(function: Callable[[], Tensor]) -> float:
    """The smallest |input| of any relu on the tape of function(). It must record in granularity primitive, because a
    fused op hides its relu."""
    with Tape() as tape:
        function()
    inputs = [record.inputs[0].data for record in tape.records if record.op.name == "relu"]
    return min((float(np.abs(a).min()) for a in inputs), default=math.inf)


def check_model(model: Any, granularity: str, inputs: Any, targets: Any, *,
                samples: int = 8, seed: int = 0) -> NetworkCheck:  # fmt: skip
    """Check the network of a task, in float64, on one of its batches: a random projection over all parameters, then
    `samples` numbers of each parameter. Dropout is off, and so is `clip_message`, which changes the gradient on
    purpose.

    The loss of a trained model can be sharply curved, or near a kink, where that of a fresh one is not. So what agrees
    to fewer than DECIMALS is checked again with a tenth of the step. That makes the error of a finite difference 10,000
    times smaller, and leaves the error of a wrong gradient as it is.
    """
    network = model.copy(dtype="float64", granularity=granularity, clip_message=0.0, dropout=0.0,
                         input_dropout=0.0, recurrent_dropout=0.0)  # fmt: skip
    network.train()  # so that its loss has a gradient, however it computes it
    parameters = list(network.flat.parameters.values())

    def function() -> Tensor:
        return network.loss(inputs, targets, None)[0]

    def sampled(parameter: Tensor) -> Check:
        return _closer(lambda step: gradcheck(function, [parameter], samples=samples, step=step, seed=seed)[0])

    checks = [_closer(lambda step: _along(function, parameters, step, seed)), *map(sampled, parameters)]
    checks += check_padding(network, inputs, targets, seed)
    kink = math.inf
    if model.rnn is not None and model.rnn.cell.kinks:
        plain = network.copy(granularity="primitive")
        kink = _nearest_kink(lambda: plain.loss(inputs, targets, None)[0])
    return NetworkCheck(model.config.cell, granularity, tuple(checks), kink)


def check_padding(network: Any, inputs: Any, targets: Any, seed: int = 0) -> list[Check]:
    """Two checks of padding: the gradient of padded time steps, which must be 0, and by how much the gradient of the
    parameters changes when more padding is added on either side.

    For a network that takes padded batches (tasks.parts.Features) or can pad a batch itself; no checks for others. If
    nothing in the batch is padding, its lanes are cut to random lengths first.
    """
    if hasattr(network, "with_padding"):
        return _compared(
            lambda before, after: _embedded(network, *network.with_padding(inputs, targets, before, after))
        )
    if not hasattr(network, "read_out"):
        return []
    values, mask = split(inputs)
    mask = np.ones(np.shape(values)[:2], bool) if mask is None else mask
    seq_len, lanes = mask.shape
    if mask.all() and seq_len > 1:
        lengths = np.random.default_rng(seed).integers(1, seq_len, lanes)
        mask = np.arange(seq_len)[:, None] < lengths
    network.train(False)
    x = Tensor(device.host(network.features(values, mask).data), requires_grad=True, name="x")
    parameters = [p for name, p in network.flat.parameters.items() if not name.startswith("embedding")]

    def gradients(before: int, after: int) -> tuple[np.ndarray, list[np.ndarray]]:
        longer = np.full((before + seq_len + after, *x.shape[1:]), 0.5)
        longer[before : before + seq_len] = x.data
        rows = Tensor(longer, requires_grad=True)
        with Tape() as tape:
            padded: Any = Padded(cast(Any, rows), _longer(mask, before, after))
            loss, _ = network.loss(padded, wanted(before, after))
        found = tape.cotangents([rows, *parameters], [loss], [None])
        dx, *rest = (np.zeros(t.shape) if g is None else g for t, g in zip([rows, *parameters], found))
        return dx[~_longer(mask, before, after)], [part.ravel() for part in rest]

    def wanted(before: int, after: int) -> Any:
        if network.read_out != "every":
            return targets
        if isinstance(targets, Padded):
            return Padded(*(_longer(np.asarray(part), before, after) for part in targets))
        return _longer(np.asarray(targets), before, after)

    return _compared(gradients)


def _embedded(network: Any, inputs: Any, targets: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """(gradient of the padded steps of each part of the inputs, once embedded; gradients of the parameters)."""
    network.train(False)
    with Tape() as tape:
        loss, _ = network.loss(inputs, targets)
    rows = [record.outputs[0] for record in tape.records if record.op.name == "embedding"]
    wanted = [*rows, *network.flat.parameters.values()]
    found = [
        np.zeros(t.shape) if g is None else device.host(g) for t, g in zip(wanted, tape.cotangents(wanted, [loss]))
    ]
    # of a 1 among zeros there is no gradient to be seen: then the parameters alone tell
    padded = [np.empty(0), *(dx[~part.mask].ravel() for dx, part in zip(found[: len(rows)], inputs))]
    return np.concatenate(padded), [part.ravel() for part in found[len(rows) :]]


def _compared(gradients: Callable[[int, int], tuple[np.ndarray, list[np.ndarray]]]) -> list[Check]:
    """gradients(before, after) -> (of the padded steps, of the parameters), with so many more steps of padding."""
    padded, plain = gradients(0, 0)
    others = [gradients(before, after) for before, after in ((0, 3), (2, 0))]
    padded = np.concatenate([padded.ravel(), *(rows.ravel() for rows, _ in others)])
    worst = float(np.abs(padded).max()) if padded.size else 0.0
    apart = max(float(np.abs(a - b).max()) for _, found in others for a, b in zip(plain, found))
    count = sum(part.size for part in plain)
    return [
        Check("padded steps", padded.size, worst, (), worst, 0.0),
        Check("with more padding", count, apart, (), apart, 0.0),
    ]


def _longer(rows: np.ndarray, before: int, after: int) -> np.ndarray:
    """More rows of zeros before and after."""
    return np.pad(rows, [(before, after)] + [(0, 0)] * (rows.ndim - 1))


def _along(function: Callable[[], Tensor], tensors: Sequence[Tensor], step: float, seed: int) -> Check:
    """One random direction. The more numbers share in its unit length the less each moves, so the longer the
    step may be, and the further it stands out from rounding; measured from 14 to 12 million numbers."""
    return projected(function, tensors, step=step * sum(t.data.size for t in tensors) ** 0.25, seed=seed)


def _closer(check: Callable[[float], Check]) -> Check:
    """With the usual step, and if that is not good enough with a tenth of it."""
    usual = check(NETWORK_STEP)
    if usual.decimals >= DECIMALS:
        return usual
    return min(usual, check(NETWORK_STEP / 10), key=lambda found: found.error)


def window(meta: Mapping[str, Any], vocab_size: int, seq_len: int, batch_size: int,
           seed: int = 0) -> tuple[np.ndarray, np.ndarray, str]:  # fmt: skip
    """(inputs, targets, ""): the first tokens of a run's own validation part, each (seq_len, batch_size).
    If there are none, random tokens and the reason.

    meta    as `load_run` gives it
    """
    needed, reason = seq_len * batch_size + 1, ""
    try:
        held_out = own_task(meta, device="cpu").held_out
        ids = np.empty(0) if held_out is None else held_out[:needed]
        reason = "" if len(ids) == needed else "its validation part is too short"
    except MicrornnError as error:
        reason = str(error)
    if reason:
        ids = np.random.default_rng(seed).integers(0, vocab_size, needed)
    lanes = (ids[:-1], ids[1:])
    inputs, targets = (part.reshape(batch_size, seq_len).T.astype(np.int32, order="C") for part in lanes)
    return inputs, targets, reason
