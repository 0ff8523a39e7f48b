"""The settings of adding and echo: lengths, centring and tanh; lanes that are joined, bits made anew, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from micrornn import tasks
from micrornn.data import Padded
from micrornn.errors import ConfigError
from micrornn.train import Training


def task(name: str, **settings: Any) -> Any:
    kind = tasks.find(name)
    return kind.prepare(kind.Settings(**settings))


def test_adding_of_unequal_lengths_centred() -> None:
    given = {"num_steps": 30, "shortest": 20, "markers": "ends", "batch_size": 400}
    inputs, sums = task("adding", **given).draw(np.random.default_rng(3))
    assert isinstance(inputs, Padded)
    lengths = inputs.mask.sum(axis=0)
    assert set(lengths) == set(range(20, 31)) and (inputs.mask == (np.arange(30)[:, None] < lengths)).all()
    values, marks = np.moveaxis(inputs.values, 2, 0)
    first, second = np.nonzero(marks.T)[1].reshape(400, 2).T
    assert (first < np.maximum(1, lengths // 10)).all() and first.max() == 2
    assert (second >= lengths // 2).all() and (second < lengths).all() and (second == lengths - 1).any()
    np.testing.assert_allclose(sums[:, 0], (values * marks).sum(axis=0), rtol=1e-6)

    centred, less = task("adding", centred=True, **given).draw(np.random.default_rng(3))
    np.testing.assert_allclose(centred.values[centred.mask].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(less, sums - sums.mean(), atol=1e-6)

    training = Training(task("adding", output="tanh", hidden_size=5, cell="rnn", **given).config,
                        task("adding", output="tanh", hidden_size=5, cell="rnn", **given))  # fmt: skip
    training.model.decoder.bias.data[...] = 10
    assert (training.model(centred)[0].data > 0.99).all() and (training.model(centred)[0].data <= 1).all()
    for settings, words in (
        ({"shortest": 31}, "no sequence is longer"),
        ({"shortest": 1}, "`shortest` is 1; the task adding marks two"),
    ):
        with pytest.raises(ConfigError, match=words):
            task("adding", **(given | settings))


def test_echo_of_joined_lanes_made_anew() -> None:
    given = {"length": 60, "batch_size": 3, "num_steps": 5, "renewed": True, "joined": True, "hidden_size": 4}
    one = task("echo", **given)
    epochs = [[one.batches.next()[:2] for _ in range(4)] for _ in range(2)]
    rows = [[np.concatenate(parts)[..., 0].T.ravel() for parts in zip(*epoch)] for epoch in epochs]
    for bits, echo in rows:
        assert not echo[:3].any() and (echo[3:] == bits[:-3]).all()
    assert (rows[0][0] != rows[1][0]).any()

    other = task("echo", **given)  # a run that goes on finds the bits of its place
    other.batches.epoch, other.batches.window = 1, 2
    np.testing.assert_array_equal(other.batches.next()[0], epochs[1][2][0])

    two = task("echo", output="softmax", **given)
    training = Training(two.config, two)
    assert training.model.decoder.weight.shape == (2, 4) and two.batches.next()[1].shape == (5, 3)
    scores = two.evaluate(training.model)
    assert abs(scores["loss"] - np.log(2)) < 0.3 and 0 < scores["accuracy"] < 1
