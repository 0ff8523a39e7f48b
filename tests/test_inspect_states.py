"""States over a text: a unit that was planted is found, luck is not taken for more, gates are counted right."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from micrornn.config import Config
from micrornn.data import Vocab
from micrornn.errors import DataError
from micrornn.inspect import units
from micrornn.inspect.panels import Coloured, Heat, Rows, Slides
from micrornn.inspect.properties import properties
from micrornn.inspect.recorded import by_gate, record
from micrornn.inspect.recorded import states as states_of
from micrornn.inspect.states import panels, states
from micrornn.inspect.units import correlation, luck, read, standard
from micrornn.inspect.window import Window
from micrornn.tasks.text import LanguageModel

T, H = 60, 6


def follow(text: str, name: str) -> str:
    return "".join(f"{x:.0f}" for x in properties(list(text), "char")[name])


@pytest.mark.parametrize(
    "name, text, wanted",
    [
        ("position in line", "ab\n\nc d", "1200123"),
        ("position in word", "ab, c3d.", "12001230"),
        ("last of a word", "ab, c d", "0100101"),
        ("inside quotes", 'a "b" c', "0011000"),
        ("inside quotes", 'a"b\n\nc', "011100"),  # one is missing: an empty line ends it
        ("inside quotes", "\u201ca\u201d b \u00abc\u00bb", "110000110"),
        ("depth of brackets", "a(b[c])]d(", "0112210001"),
        ("word in capitals", "AB Ab I CD", "0100000001"),
        ("whitespace", "a b\tc\n", "010101"),
        ("indentation", "  a b\n\tc\nd", "1222204400"),
        ("inside a # comment", "a # b\nc", "0011100"),
    ],
)
def test_properties(name: str, text: str, wanted: str) -> None:
    assert follow(text, name) == wanted


def test_properties_of_words_and_those_that_do_not_vary() -> None:
    words = ["the", "cat", "<eos>", "(", "a", ")", '"', "b", "c", '"', "d", "e"]
    found = properties(words, "word")
    assert set(found) == {"position in line", "inside quotes", "depth of brackets"}
    np.testing.assert_array_equal(found["position in line"], [1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(found["inside quotes"], [0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0])
    assert set(properties(list("ab cd" * 500 + "("), "char")) == {
        "position in line", "position in word", "last of a word", "whitespace"
    }  # fmt: skip


def model_of(vocab: Vocab, cell: str = "lstm", num_layers: int = 2, **settings: Any) -> LanguageModel:
    config = Config(cell=cell, hidden_size=H, num_layers=num_layers, embedding_size=3, dtype="float64")
    model = LanguageModel(dataclasses.replace(config, **settings), vocab.size)
    model.train(False)
    return model


def text_of(n: int, seed: int = 0) -> str:
    rng = np.random.default_rng(seed)
    lines = ["".join(rng.choice(list("abc ("), rng.integers(3, 30))) for _ in range(n // 10)]
    return "\n".join(lines)[:n]


def test_a_unit_that_counts_is_found() -> None:
    text = text_of(3000)
    vocab = Vocab.build([text], "char")
    model = model_of(vocab, "rnn_relu", 1)
    for name, parameter in model.rnn.weights.items():
        parameter.data[...] = np.random.default_rng(1).normal(size=parameter.shape) * (0.3 if "ih" in name else 0.1)
    model.embedding.weight.data[:, 0] = [token == "\n" for token in vocab.tokens]
    weights = {name: model.rnn.weights[f"{name}_l0"].data for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    for weight in weights.values():  # unit 4 adds 1 at every character, and falls to 0 at a newline
        weight[4] = 0
    weights["weight_ih"][4, 0], weights["weight_hh"][4, 4], weights["bias_hh"][4] = -1e6, 1, 1
    measure = states(model, vocab, vocab.encode(text))
    n = measure.axes["property"].places.index("position in line")
    np.testing.assert_allclose(measure["correlation"][n, 0, 0, 4], 1, rtol=1e-9)
    assert np.abs(np.delete(measure["correlation"][n, 0, 0], 4)).max() < 0.9 and measure["luck"][n] < 0.6
    assert measure.verdicts[0].kind == "healthy"
    assert "position in line (unit 4 of rnn_relu_l0, h: |r| = 1.00" in measure.verdicts[0].words
    np.testing.assert_array_equal(measure["follows position in line"], measure["position in line"])
    assert measure["low"][0, 0, 4] == text.count("\n") / len(text)
    (coloured,) = [panel for panel in panels(measure) if panel.title == "position in line: unit 4 of rnn_relu_l0"]
    assert isinstance(coloured, Coloured) and coloured.values.max() == 1


def test_luck_is_what_noise_reaches() -> None:
    rng, above = np.random.default_rng(0), 0
    x = np.sin(np.arange(400) / 5.0)  # slow, so that slow units agree with it easily
    for _ in range(40):
        noise = rng.normal(size=(400 + 8, 30))
        units = standard(np.stack([noise[n : n + 400] for n in range(9)]).sum(axis=0))
        above += np.abs(correlation(units, x[None])).max() > luck(units, x, rng)
    assert above <= 8  # 2 are to be expected


def test_correlation_is_numpys() -> None:
    rng = np.random.default_rng(0)
    units, x = rng.normal(size=(50, 3)) * [1, 5, 0] + [2, 0, 7], rng.normal(size=(2, 50)) + 3
    found = correlation(standard(units), x)
    np.testing.assert_allclose(found[:, :2], np.corrcoef(x, units.T[:2])[:2, 2:], rtol=1e-12)
    assert (found[:, 2] == 0).all()  # what does not vary follows nothing


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_long_text_is_read_in_pieces(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = text_of(T)
    vocab = Vocab.build([text], "char")
    model, ids, told = model_of(vocab, cell, granularity="primitive"), vocab.encode(text).astype(np.int32), []
    layers = record(model, Window(ids[:, None], ids[:, None], None)).layers
    monkeypatch.setattr(units, "AT_ONCE", 7)
    monkeypatch.setattr(units, "SHOWN", 20)
    reading = read(model, ids, 5, told.append)
    assert told[-1] == T and reading.layers == (f"{cell}_l0", f"{cell}_l1")
    for n, layer in enumerate(layers):
        for kind, values in reading.states.items():
            np.testing.assert_allclose(values[n], states_of(layer, kind)[:, 0], rtol=1e-12)
        gates = by_gate(layer)[:, 0]
        np.testing.assert_allclose(reading.values[n], gates[5:25].swapaxes(0, 1), rtol=1e-12)
        for m, gate in enumerate(reading.gates):
            ends = (-0.95, 0.95) if gate in "gna" else (0.1, 0.9)
            np.testing.assert_allclose(reading.low[n, m], (gates[:, m] <= ends[0]).mean(axis=0))
            np.testing.assert_allclose(reading.high[n, m], (gates[:, m] >= ends[1]).mean(axis=0))


def test_verdicts() -> None:
    text = text_of(2000)
    vocab = Vocab.build([text], "char")
    ids = vocab.encode(text)

    def kinds(change: str, value: float, cell: str = "lstm", n: int = 2000) -> list[str]:
        model = model_of(vocab, cell)
        model.rnn.weights["bias_hh_l1"].data[...] = value if change == "bias" else 0
        if change == "still":
            model.rnn.weights["weight_ih_l1"].data[...] = model.rnn.weights["weight_hh_l1"].data[...] = 0
        measure = states(model, vocab, ids, tokens=n)
        json.dumps(measure.to_dict(), allow_nan=False)
        assert bool(panels(measure)) == (change != "bias" or np.isfinite(value))
        return [verdict.kind for verdict in measure.verdicts]

    assert kinds("nothing", 0) == ["healthy"]
    assert kinds("nothing", 0, n=100) == ["unsure"]
    assert kinds("still", 0, "gru") == ["dead"]
    assert kinds("bias", 40) == ["dead", "saturated"]  # all gates open: h stays at 1
    assert kinds("bias", -40, "rnn_relu") == ["dead"]
    assert kinds("bias", np.nan) == ["nonfinite"]
    with pytest.raises(DataError, match="15 tokens are too few, at least 20"):
        states(model_of(vocab), vocab, ids[:15])


@pytest.mark.parametrize("cell, kinds", [("rnn", ("h",)), ("lstm", ("h", "c"))])
def test_it_is_drawn(cell: str, kinds: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    text = "".join(" ".join(rng.choice(["a", "cat", "("], rng.integers(3, 20))) + "\n" for _ in range(100))
    vocab = Vocab.build([text], "word")
    model = model_of(vocab, cell)
    before = model.flat.data.copy()
    measure = states(model, vocab, vocab.encode(text), lambda done, total: None, run="a run")
    np.testing.assert_array_equal(model.flat.data, before)
    assert measure.axes["state"].places == kinds and measure.subject["run"] == "a run"
    assert "".join(measure.axes["token"].places) in text
    drawn = panels(measure)
    assert {type(panel) for panel in drawn} == {Rows, Coloured, Heat} | ({Slides} if cell == "lstm" else set())
    for panel in drawn:
        for heat in panel.panels if isinstance(panel, Slides) else [panel]:
            if isinstance(heat, Heat):
                assert heat.values.shape == (len(heat.y), len(heat.x)) == (H, 100)
        if isinstance(panel, Slides):  # each on its own scale; the forget gate is the one that a page opens with
            assert panel.places == ["i", "g", "o", "f"]
            assert [heat.limits for heat in panel.frames()] == [(0, 1), (-1, 1), (0, 1), (0, 1)]
        if isinstance(panel, Coloured):
            assert len(panel.tokens) == len(panel.values) and np.abs(panel.values).max() <= 1
        if isinstance(panel, Rows):
            assert {len(row) for row in panel.rows} == {len(panel.columns)}
