"""The whole-sequence kernels of the card, each of the two ways, against the plain NumPy page.

The simulator runs one block after the other, so no block can wait for another there. What does not depend on that is
tested: how units are split over blocks, with a launch per time step in the place of the barrier.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from kernel_rows import BASIC, TOLERANCE, Draw, cell_backward, cell_forward, cell_step, compare, on_cuda

from micrornn.kernels.cuda import card, recurrent, sequence
from micrornn.kernels.cuda.jit import SIM
from micrornn.kernels.cuda.recurrent import Plan, plan

ROWS = {"": cell_forward, "_vjp": cell_backward}
NAMES = [cell + back for cell in BASIC for back in ROWS]
UNLIKE = [name for name in NAMES if "relu" not in name]  # an rnn_relu differs from an rnn in no product and no barrier
GATES = {"rnn": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}
simulated = pytest.mark.skipif(not SIM, reason="only where blocks run one after the other")
on_card = pytest.mark.skipif(SIM, reason="only where blocks run at the same time")


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Any:
    """go(p): sequences go the way of this plan, or of what p(batch_size, hidden_size, dtype, gates) says."""

    def go(p: Any) -> None:
        monkeypatch.setattr(sequence, "plan", p if callable(p) else lambda *_: p)

    return go


def some(name: str, dtype: type, n: int, first: int, every: int) -> None:
    """Some of the calls of a row: with a mask and without, reverse and not, clipped and not, in turn."""
    back = "_vjp" if name.endswith("_vjp") else ""
    for arguments in ROWS[back](name.removesuffix(back))(Draw(dtype, n))[first::every]:
        compare("cell_sequence" + back, arguments, TOLERANCE[dtype], on_cuda)


@pytest.mark.parametrize(
    "name, dtype", [(name, dtype) for name in NAMES for dtype in TOLERANCE if dtype is np.float32 or "lstm" in name]
)
def test_a_launch_per_time_step(name: str, dtype: type, go: Any) -> None:
    go(Plan())
    some(name, dtype, 1, 0, 3)
    some(name, dtype, 13, 0, 7)


@pytest.mark.parametrize("name", UNLIKE)
def test_one_launch(name: str) -> None:
    assert plan(5, 33, np.float32, 4).slices
    some(name, np.float32, 1, 1, 9)
    some(name, np.float32, 12, 0, 13)
    some(name, np.float32, 33, 1, 99)


def split(name: str, units: int, groups: int, slices: int = 4) -> Any:
    """A plan with so many units in a block, lanes in groups, and a launch per time step."""
    gates = GATES[name.removesuffix("_vjp")]

    def plan(lanes: int, size: int, *_: Any) -> Plan:
        threads, parts, each = gates * units // 4 * slices, -(-size // units), -(-lanes // groups)
        return Plan(slices, units, threads, parts, -(-lanes // each), each, steps=1)

    return plan


@simulated
@pytest.mark.parametrize("name", UNLIKE)
def test_units_split_over_blocks(name: str, go: Any) -> None:
    """32 units over three blocks, lanes over two groups; and 13 over two."""
    go(split(name, 12, 2))
    some(name, np.float32, 32, 1, 99)
    go(split(name, 8, 1))
    some(name, np.float32, 13, 2, 99)


@on_card
@pytest.mark.parametrize("size", (65, 100, 128, 200, 256, 512))
@pytest.mark.parametrize("name", NAMES)
def test_blocks_that_wait_for_each_other(name: str, size: int) -> None:
    """Over more time steps than there is room for one block to run ahead, and more lanes than groups."""
    back = "_vjp" if name.endswith("_vjp") else ""
    draw = Draw(np.float32, size, ((23, 1, size), (9, 7, size), (5, 150, size)))
    for arguments in ROWS[back](name.removesuffix(back))(draw):
        compare("cell_sequence" + back, arguments, 2 * TOLERANCE[np.float32], on_cuda)


@simulated
@pytest.mark.parametrize("name, slices", [("rnn", 8), ("rnn", 32), ("lstm_vjp", 8), ("rnn_vjp", 32)])
def test_sums_of_more_slices(name: str, slices: int, go: Any) -> None:
    go(split(name, 4, 1, slices))
    some(name, np.float32, 5, 0, 99)


@pytest.mark.parametrize("count", (1, 8, 132))
def test_every_unit_and_lane_has_its_place_and_every_block_room(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "SIM", False)
    monkeypatch.setattr(card, "multiprocessors", lambda: count)
    sizes = 1, 13, 33, 64, 65, 128, 200, 256, 512
    for size, lanes, gates in itertools.product(sizes, (1, 5, 32, 128, 1000), (1, 2, 3, 4, 5, 8)):
        p = plan(lanes, size, np.float32, gates)
        if not p.slices:
            assert count < 132 or gates > 4  # on the cards that matter, all of these are one launch
            continue
        assert p.slices * recurrent.HELD >= size and p.slices in (4, 8, 16, 32)
        assert (p.parts - 1) * p.units < size <= p.parts * p.units
        assert (p.groups - 1) * p.lanes < lanes <= p.groups * p.lanes
        assert p.parts == 1 or p.parts * p.groups <= count
        assert p.parts > 1 or p.units == p.slices * recurrent.HELD  # else the blocks would not ask to be there at once
        assert p.threads == gates * p.units // 4 * p.slices <= recurrent.THREADS and p.threads % 32 == 0
        for vectors in (1, gates):  # forward, and on the way back
            depth, chunk, waits = recurrent.variant(p.slices, p.units, p.threads, vectors)
            assert 1 <= chunk <= p.threads // p.units and waits == (p.parts > 1)
            assert 4 * (chunk * (vectors * depth + gates * p.units) + 2 * gates * p.units) <= 48 << 10


def test_what_does_not_fit_goes_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "SIM", False)
    monkeypatch.setattr(card, "multiprocessors", lambda: 132)
    assert plan(32, 513, np.float32, 4) == plan(32, 513, np.float64, 4) == Plan()
    monkeypatch.setattr(card, "multiprocessors", lambda: 20)
    assert plan(32, 512, np.float32, 4) == Plan()  # 32 blocks would wait for each other


@pytest.mark.parametrize("cell", ("lstm_peephole", "mgu", "minlstm", "slstm"))
def test_vectors_two_gates_no_product_and_four_states(cell: str, go: Any) -> None:
    """The ways that a cell of their own kind takes through the written kernels."""
    for way in ("", "_vjp"):
        some(cell + way, np.float32, 5, 0, 7)
        go(Plan())
        some(cell + way, np.float64, 5, 3, 9)
        go(plan)
    arguments = cell_step(cell)(Draw(np.float32, 5))[1]
    compare("cell_step", arguments, TOLERANCE[np.float32], on_cuda)
