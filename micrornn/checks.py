"""Gradient checks of whole networks: every cell in every granularity, and a trained model.

    check_cell(cell, granularity, ...)    a fresh recurrent network, number by number -> a Check for each tensor
    check_model(function, parameters)     a trained model: one random projection, and a sample of each parameter
    nearest_kink(function)                how near any relu of a computation comes to its kink

A finite difference across the kink of a relu is wrong while the gradient is right. So `rnn_relu` is checked with
weights that keep every pre-activation a away from 0, whatever the sizes: the two biases of a unit add up to +1 or
-1 (some units always on, some always off), and the rows of weight_ih and weight_hh sum to at most 0.2 in absolute
value. With |x| <= 1 and |h_0| <= 1, all |h| <= 1 / (1 - 0.4) = 5/3, so |a| >= 1 - 0.4 * 5/3 = 1/3. A difference of
2e = 0.002 in any one number moves an a by less than 0.002 * 5/3 / (1 - 0.4) < 0.006.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from micrornn.gradcheck import STEP, Check, gradcheck, projected
from micrornn.ops import concatenate, reshape
from micrornn.parameters import Initializer
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor

DECIMALS = 10  # how many are wanted equal


def check_cell(cell: str, granularity: str, *, num_layers: int = 2, hidden_size: int = 4, input_size: int = 3,
               batch_size: int = 2, seq_len: int = 5, bidirectional: bool = False, seed: int = 0,
               samples: int | None = None, project: bool = False) -> tuple[list[Check], float]:  # fmt: skip
    """(a Check for x, each initial state and each parameter; the distance to the nearest kink) of a fresh network.

    The gradient is that of all outputs and last states, weighted at random. by_step of the Check of x are the
    errors of dL/dx_t.

    samples    compare so many numbers of each tensor at most; None: all
    project    instead: one Check of all tensors at once along a random direction
    """
    function, tensors = network(
        cell, granularity, num_layers, hidden_size, input_size, batch_size, seq_len, bidirectional, seed
    )
    checks = (
        [projected(function, tensors, seed=seed)]
        if project
        else gradcheck(function, tensors, samples=samples, seed=seed)
    )
    return checks, nearest_kink(function)


def network(cell: str, granularity: str, num_layers: int, hidden_size: int, input_size: int, batch_size: int,
            seq_len: int, bidirectional: bool, seed: int) -> tuple[Callable[[], Tensor], list[Tensor]]:  # fmt: skip
    """(what to check, all that it depends on) in float64."""
    rnn = Recurrent(
        cell, input_size, hidden_size, num_layers, bidirectional, granularity=granularity,
        initializers=_AWAY_FROM_KINKS if cell == "rnn_relu" else None, seed=seed, dtype=np.float64,
    )  # fmt: skip
    rng = np.random.default_rng(seed)

    def drawn(name: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(rng.uniform(-1, 1, shape), requires_grad=True, name=name)

    x = drawn("x", (seq_len, batch_size, input_size))
    shape = (num_layers * len(rnn.directions), batch_size, hidden_size)
    state = [drawn(f"{name}_0", shape) for name in rnn.cell.states]
    # Random signs: the sum over many outputs stays small, and so does what rounding does to its differences.
    count = seq_len * batch_size * hidden_size * len(rnn.directions) + len(state) * math.prod(shape)
    signs = Tensor(rng.choice([-1.0, 1.0], count))

    def function() -> Tensor:
        y, last = rnn(x, state)
        return concatenate(*(reshape(part, shape=(part.data.size,)) for part in (y, *last))) * signs

    return function, [x, *state, *rnn.parameters().values()]


def _narrow(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-0.2, 0.2, shape) / shape[1]


def _on_and_off(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(np.arange(shape[0]) % 2, -0.5, 0.5)  # the same for bias_ih and bias_hh: +1 or -1 together


_AWAY_FROM_KINKS: dict[str, Initializer] = {"weight_ih": _narrow, "weight_hh": _narrow, "bias": _on_and_off}


def nearest_kink(function: Callable[[], Tensor]) -> float:
    """The smallest |input| of any relu on the tape of function(); infinite if there is none.

    A fused op hides its relu: for this, record in granularity primitive.
    """
    with Tape() as tape:
        function()
    inputs = [record.inputs[0].data for record in tape.records if record.op.name == "relu"]
    return min((float(np.abs(a).min()) for a in inputs), default=math.inf)


def check_model(function: Callable[[], Tensor], parameters: Sequence[Tensor], *, samples: int = 8,
                seed: int = 0) -> list[Check]:  # fmt: skip
    """One random projection over all parameters, then so many numbers of each of them.

    A trained model can be sharply curved, or near a kink, where a fresh one is not. So what agrees to fewer than
    DECIMALS is looked at once more with a tenth of the step: the error of the difference falls 10,000 times,
    that of a wrong gradient does not.
    """
    checks = []
    for tensors in (list(parameters), *([tensor] for tensor in parameters)):
        found = []
        for step in (STEP, STEP / 10):
            if len(checks) == 0:
                found.append(projected(function, tensors, step=step, seed=seed))
            else:
                found += gradcheck(function, tensors, samples=samples, step=step, seed=seed)
            if found[-1].decimals >= DECIMALS:
                break
        checks.append(min(found, key=lambda check: check.error))
    return checks
