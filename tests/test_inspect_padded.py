"""Measures on sequences of unequal length: what each would show alone, averaged, wherever the padding lies."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from micrornn.config import Config
from micrornn.data import Padded, pad
from micrornn.inspect.credit import credit
from micrornn.inspect.flow import flow
from micrornn.inspect.jacobian import jacobian
from micrornn.inspect.subject import Subject
from micrornn.inspect.weights import weights
from micrornn.inspect.window import Window, of_one_length
from micrornn.ops import cross_entropy, mean_squared_error
from micrornn.tasks.parts import Features

LENGTHS = (7, 4, 2)
D = 3


def network(read: str, both: bool) -> Features:
    config = Config(hidden_size=5, num_layers=2, bidirectional=both, dtype="float32")
    model = Features(
        config, D, 4 if read == "every" else 1, cross_entropy if read == "every" else mean_squared_error, read
    )
    model.train(False)
    return model


def window(read: str, lanes: tuple[int, ...], side: str = "right", more: int = 0) -> Window:
    """Some of the sequences side by side."""
    rng = np.random.default_rng(0)
    made = [(rng.normal(size=(n, D)), rng.integers(0, 4, n), rng.normal(size=1)) for n in LENGTHS]
    x, ids, sums = zip(*(made[n] for n in lanes))
    inputs, targets = pad(x, side), pad(ids, side)
    if more:
        ends = ((more, 0), (0, 0)) if side == "left" else ((0, more), (0, 0))
        inputs = Padded(np.pad(inputs.values, (*ends, (0, 0))), np.pad(inputs.mask, ends))
        targets = Padded(np.pad(targets.values, ends), np.pad(targets.mask, ends))
    return Window(inputs, targets.values if read == "every" else np.array(sums), None)


@pytest.mark.parametrize("side, more", [("right", 0), ("right", 3), ("left", 0), ("left", 2)])
@pytest.mark.parametrize(
    "read, both", [("every", False), ("every", True), ("last", False), ("last", True), ("mean", False)]
)
def test_lanes_with_padding_show_what_they_would_alone(read: str, both: bool, side: str, more: int) -> None:
    model, together = network(read, both), window(read, (0, 1, 2), side, more)
    alone = [window(read, (n,)) for n in range(len(LENGTHS))]
    for take, arrays in ((flow, ("dh_last", "dc_last")), (credit, ("profile",))):
        found, single = take(model, of_one_length([together])), [take(model, [one]) for one in alone]
        for name in arrays:
            for k in range(max(LENGTHS)):
                lanes = [one[name][:, k] for one, length in zip(single, LENGTHS) if length > k]
                wanted = np.mean(lanes, axis=0)
                if take is credit and read == "every":  # a mean over pairs of a loss and a state, not over lanes
                    pairs = [length - k for length in LENGTHS if length > k]
                    wanted = wanted if len(set(pairs)) == 1 else None
                if wanted is not None:
                    np.testing.assert_allclose(found[name][:, k], wanted, rtol=2e-4, atol=1e-9, err_msg=f"{name} {k}")
    first = found["credit"][0][-1]
    assert np.isfinite(first).sum() == max(LENGTHS)
    of_weights = weights(model, of_one_length([together]))["total"]
    assert np.isfinite(of_weights).all() and of_weights.max() > 0
    assert np.isfinite(jacobian(model, of_one_length([together]))["exponents"]).all()


def test_batches_of_other_lengths_are_made_alike_with_padding() -> None:
    long, short = window("every", (0, 1)), window("every", (1, 2))
    made = of_one_length([long, short])
    assert made[1].inputs.values.shape[0] == made[1].targets.shape[0] == made[1].inputs.mask.shape[0] == 7
    assert made[1].inputs.mask.sum() == short.inputs.mask.sum() and not made[1].inputs.mask[4:].any()
    model = network("every", False)
    assert made[0].targets.shape == (7, 2) and not made[1].targets[4:].any()
    both = flow(model, made)["dh_last"]
    each = [flow(model, [one])["dh_last"][:, :2] for one in (long, short)]
    np.testing.assert_allclose(both[:, :2], np.mean(each, axis=0), rtol=1e-5)


def test_where_one_window_is_looked_at_it_is_that_of_the_longest_sequence() -> None:
    class Few:
        carried, num_windows, window, state = False, 3, 0, None

        def next(self) -> tuple[Padded, np.ndarray, None]:
            found = window("last", ((2,), (0, 1), (1, 2))[self.window])
            return found.inputs, found.targets, None

    few = SimpleNamespace(batches=lambda sizes: Few())
    subject = Subject(network("last", False), {}, few)  # type: ignore[arg-type]
    assert [len(found.inputs.mask) for found in subject.windows(99, 1, 2)] == [max(LENGTHS)]
