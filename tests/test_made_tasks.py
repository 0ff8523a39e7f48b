"""What the tasks hold whose data is drawn, and that their networks learn it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn

from micrornn import tasks
from micrornn.data import Padded
from micrornn.errors import DataError
from micrornn.tape import Tensor
from micrornn.tasks.digits import GLYPHS
from micrornn.tasks.together import AHEAD, gathered, said
from micrornn.train import Training


def made(name: str, **settings: Any) -> Any:
    kind = tasks.find(name)
    return kind.prepare(kind.Settings(**settings))


def learned(name: str, updates: int, **settings: Any) -> dict[str, float]:
    task = made(name, schedule="constant", **settings)
    training = Training(task.config, task)
    for _ in range(updates):
        training.update()
    return task.evaluate(training.model)


def test_a_wave_has_as_many_periods_as_its_frequency_says_and_that_is_read_once() -> None:
    task = made("sine", num_steps=100, batch_size=3, low=1, high=5)
    inputs, waves, _ = task.batches.next()
    assert inputs.shape == waves.shape == (100, 3, 1) and not inputs[1:].any()
    periods = 1 + (inputs[0, :, 0] + 1) / 2 * 4
    assert waves[:, :, 0] == pytest.approx(np.sin(2 * np.pi * periods * np.arange(1, 101)[:, None] / 100), abs=1e-5)
    with pytest.raises(DataError, match=r"'-1e31' is too large; at most 1e\+30 can be read"):
        task.parse("-1e31")
    exact = task.encode(task.parse("1")), task.encode(task.parse(" 5 "))
    assert [e[0, 0, 0] for e in exact] == [-1, 1]


def test_parity_in_step_and_at_the_end_of_sequences_of_any_length() -> None:
    inputs, odd, _ = made("parity", num_steps=9, batch_size=5).batches.next()
    assert np.array_equal(odd, np.cumsum(inputs, axis=0) % 2) and set(inputs.ravel()) == {0, 1}
    inputs, odd, _ = made("parity", num_steps=9, batch_size=200, at="end").batches.next()
    assert isinstance(inputs, Padded) and set(inputs.mask.sum(axis=0)) == set(range(1, 10))
    assert np.array_equal(odd[:, 0], (inputs.values[:, :, 0] * inputs.mask).sum(axis=0) % 2)


def test_pictures_show_their_digits_whole_wherever_they_stand() -> None:
    for step, shape in (("row", (7, 300, 7)), ("pixel", (49, 300, 1))):
        inputs, digits, _ = made("digits", size=7, noise=0, step=step, batch_size=300).batches.next()
        assert inputs.shape == shape
        pictures, corners = inputs.swapaxes(0, 1).reshape(300, 7, 7), set()
        for picture, digit in zip(pictures, digits):
            rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
            assert picture.sum() == GLYPHS[digit].sum()
            glyph = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert np.array_equal(glyph, GLYPHS[digit][:, GLYPHS[digit].any(axis=0)])
            corners.add((rows[0], columns[0]))
        assert len(corners) > 12 and set(digits) == set(range(10))
    assert len({glyph.tobytes() for glyph in GLYPHS}) == 10


@pytest.mark.parametrize("data", ["xor", "spirals", "rings"])
def test_points_of_two_classes(data: str) -> None:
    points, classes, _ = made("onetoone", data=data, noise=0, batch_size=2000).batches.next()
    radius, one = np.hypot(*points.T), classes[:, 0] == 1
    assert 0.4 < one.mean() < 0.6 and radius.max() < 1.5
    if data == "xor":
        assert np.array_equal(one, points[:, 0] * points[:, 1] < 0)
    elif data == "rings":
        assert radius[~one].max() <= 0.5 and radius[one].min() >= 0.7
    else:  # one is the other, turned by half a turn
        turned = -points[one]
        nearest = np.sqrt(((turned[:50, None] - points[~one][None]) ** 2).sum(axis=2)).min(axis=1)
        assert nearest.max() < 0.1


def test_a_network_without_recurrent_layers_learns_what_no_line_parts() -> None:
    found = learned("onetoone", 300, data="xor", hidden_size=16, num_layers=1, lr=0.03)
    assert found["accuracy"] > 0.95 and found["loss"] < 0.2


def test_small_networks_learn_parity_and_digits() -> None:
    assert learned("parity", 300, num_steps=4, lr=0.03, cell="gru")["accuracy"] > 0.95
    found = learned("digits", 300, size=5, noise=0.05, lr=0.02)
    assert found["accuracy"] > 0.9 and found["loss"] < 0.5


def test_every_drawing_fits_a_narrow_screen() -> None:
    for name in ("sine", "parity", "digits", "onetoone"):
        for settings in ({}, {"at": "end"} if name == "parity" else {"hidden_size": 5}):
            lines = made(name, **settings).drawing().splitlines()
            assert 2 <= len(lines) < 25 and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    "name, settings, form",
    [("parity", {}, "101"), ("parity", {"at": "end"}, "101"), ("echo", {}, "10"), ("onetoone", {}, "0.5 -0.1"),
     ("adding", {}, "0.1* 0.3 0.2* 0.4"), ("digits", {"size": 5}, " ".join(["0.5"] * 25))],
)  # fmt: skip
def test_many_are_answered_as_each_alone_and_in_their_order(name: str, settings: Any, form: str) -> None:
    task = made(name, hidden_size=5, **settings)
    model, repeat = task.network(), [1 + n * 7 % 5 for n in range(70)] if name in ("parity", "echo") else [1] * 70
    lines = [form * count for count in repeat]
    if name == "adding":
        lines = [form + " 0.7" * (n * 7 % 5) for n in range(70)]
    examples = [task.parse(line) for line in lines]
    proba = name != "adding"
    together = list(task.predict(model, examples, proba))
    for example, answer in zip(examples, together, strict=True):
        (alone,) = task.predict(model, [example], proba)
        assert str(alone["answer"])[:6] == str(answer["answer"])[:6]
        assert not proba or answer["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


def test_a_network_of_ones_own_may_say_more_steps_than_it_reads() -> None:
    """One that takes no padding is given examples of one length at a time, and all that it says counts."""

    class Own:
        rnn = "some"

        def __call__(self, inputs: np.ndarray) -> tuple[Tensor, tuple[()]]:
            assert isinstance(inputs, np.ndarray)
            return Tensor(np.repeat(inputs.sum(axis=0, keepdims=True), 5, axis=0)), ()

    inputs = [np.full((1 + n % 3, 1, 2), float(n)) for n in range(12)]
    for n, outputs in enumerate(said(Own(), inputs)):
        np.testing.assert_array_equal(outputs, np.full((5, 2), n * (1 + n % 3)))


def test_no_more_is_read_ahead_than_is_at_hand_or_allowed() -> None:
    waiting = [True, True, False, True, False, *[True] * 900]
    read: list[int] = []

    def examples(stop: int) -> Iterator[int]:
        for n in range(stop):
            read.append(n)
            yield n
        raise DataError("no more")

    groups = gathered(examples(700), lambda: waiting[len(read) - 1])
    assert next(groups) == [0, 1, 2] and len(read) == 3 and next(groups) == [3, 4] and len(read) == 5
    rest = []
    with pytest.raises(DataError, match="no more"):  # and all that came before it is answered
        for group in groups:
            assert len(group) <= AHEAD
            rest += group
    assert rest == [*range(5, 700)]


def test_sums_and_echoes_are_those_of_what_is_read() -> None:
    for markers, before in (("halves", 10), ("ends", 2)):
        task = made("adding", num_steps=20, batch_size=50, markers=markers)
        inputs, sums, _ = task.batches.next()
        t, lane = np.nonzero(inputs[:, :, 1])
        assert np.array_equal(np.bincount(lane), [2] * 50)
        assert np.all(t[:50] < before) and np.all(t[50:] >= 10)
        assert sums[:, 0] == pytest.approx((inputs[:, :, 0] * inputs[:, :, 1]).sum(axis=0), rel=1e-6)
        assert task.baseline[1] == pytest.approx(1 / 6, rel=0.2)
    task = made("echo", num_steps=10, batch_size=3, echo=4, length=300)
    windows = [task.batches.next()[:2] for _ in range(10)]
    bits, heard = (np.concatenate([window[n] for window in windows]) for n in (0, 1))
    assert np.array_equal(heard[4:], bits[:-4]) and not heard[:4].any() and set(bits.ravel()) == {0, 1}


def test_copy_waits_and_is_judged_by_what_it_recalls(micrornn: Micrornn) -> None:
    inputs, targets, _ = made("copy", num_steps=12, batch_size=5, symbols=3, alphabet=4).batches.next()
    heard = inputs.argmax(axis=2)
    assert np.all(inputs.sum(axis=2) == 1) and np.array_equal(heard[:3], targets[-3:]) and heard[:3].max() < 4
    assert np.all(targets[:-3] == 4) and np.all(heard[8] == 5) and np.all(heard[3:8] == 4) and np.all(heard[9:] == 4)
    given = ["--cell", "lstm", "--num-steps", 6, "--symbols", 2, "--alphabet", 3, "--lr", 0.02, "--num-updates", 300]
    code, _, err = micrornn("train", "copy", *given, "--hidden-size", 24, "--out", "run")
    assert code == 0, err
    found = json.loads(micrornn("eval", "run", "--json")[1])
    assert found["recalled"] > 0.99 and found["loss"] < 0.1 * found["baseline"]
    assert found["baseline"] == pytest.approx(2 * np.log(3) / 6)


def test_echo_is_learned_and_only_through_the_carried_state(micrornn: Micrornn) -> None:
    for state, low, high in (("carried", 0, 0.05), ("fresh", 0.1, 0.4)):  # 3 of 6 bits of a fresh window are unknown
        given = ["--state", state, "--num-steps", 6, "--num-updates", 400, "--lr", 0.02, "--out", state, "--json"]
        code, out, err = micrornn("train", "echo", *given)
        assert code == 0, err
        assert low <= json.loads(out.splitlines()[-1])["best_val_loss"] < high
