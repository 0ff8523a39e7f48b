"""How weights start: each initializer, what is usual, and what settings say."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_rows import VARIED

from micrornn import tasks
from micrornn.cells import CELLS
from micrornn.errors import ConfigError
from micrornn.initial import NAMES, parse_initializer
from micrornn.layers import Embedding, Linear
from micrornn.parameters import glorot, identity, normal, orthogonal, uniform, zeros
from micrornn.recurrent import Recurrent
from micrornn.train import Training

D, H = 4, 6


def started(cell: str = "lstm", **settings: Any) -> dict[str, np.ndarray]:
    """The first weights of a network of two layers, by name."""
    task = tasks.find("adding")
    sizes = {"cell": cell, "hidden_size": 40, "num_layers": 2, "batch_size": 2, "num_steps": 4}
    training = Training(task.Settings(**sizes, **settings), task.prepare(task.Settings(**sizes, **settings)))
    return {name: p.data.copy() for name, p in training.model.flat.parameters.items()}


def test_each_kind_of_weight_has_its_setting() -> None:
    plain = started()
    found = started(init="uniform:0.25:0.5", init_recurrent="orthogonal:2", init_bias="normal:3", forget_bias=1.5)
    for name, array in found.items():
        last = name.rpartition(".")[2]
        if last.startswith("weight_hh"):
            for block in np.split(array, 4):
                np.testing.assert_allclose(block @ block.T, 4 * np.eye(40), atol=1e-4)
        elif array.ndim == 2:
            assert 0.25 <= array.min() < array.max() <= 0.5
        else:
            rest = np.delete(array, slice(40, 80)) if "weight" not in name and "decoder" not in name else array
            assert len(rest) < 2 or 1.5 < rest.std() < 4.5
            if last.startswith("bias_ih"):
                assert (array[40:80] == 1.5).all()  # f is the second gate
    some = started(init_bias="zeros")
    assert all((some[name] == plain[name]).all() for name in plain if plain[name].ndim == 2)
    assert (started(seed=3, init="normal:1")["decoder.weight"] != started(init="normal:1")["decoder.weight"]).all()


def test_an_embedding_has_its_own() -> None:
    task = tasks.find("text")
    settings = task.Settings(hidden_size=6, batch_size=2, num_steps=4, init="normal:1", init_embedding="uniform:0.05")
    found = Training(settings, task.example(settings)).model.flat.parameters
    assert 0 < np.abs(found["embedding.weight"].data).max() <= 0.05 < np.abs(found["decoder.weight"].data).max()


@pytest.mark.parametrize(
    "text, deviation",
    [("he", 40**-0.5), ("he:2", 2 * 40**-0.5), ("glorot", (2 / 80) ** 0.5), ("normal:0.3", 0.3),
     ("uniform:0.6", 0.6 / 3**0.5), ("zeros", 0.0), ("identity:0.5", 0.5 * (39 / 1600) ** 0.5)],
)  # fmt: skip
def test_deviations(text: str, deviation: float) -> None:
    array = parse_initializer(text, "`init`")(np.random.default_rng(0), (40, 40))
    assert array.std() == pytest.approx(deviation, rel=0.06, abs=1e-12)


@pytest.mark.parametrize(
    "text, bias, named",
    [("kaiming", False, "'kaiming'; choose one of uniform, normal"), ("normal", False, "write normal:DEVIATION"),
     ("uniform:1:0", False, "write uniform:BOUND or"), ("he:much", False, "'he:much'; write he"),
     ("normal:nan", False, "write normal"), ("zeros:1", False, "write zeros"), ("glorot", True, "'glorot'; choose")],
)  # fmt: skip
def test_mistakes(text: str, bias: bool, named: str) -> None:
    with pytest.raises(ConfigError, match=r"^`init") as caught:
        parse_initializer(text, "`init_bias`" if bias else "`init`", bias)
    assert named in str(caught.value) and set(NAMES) > {"he"}


def is_orthogonal(w: np.ndarray) -> bool:
    blocks = np.split(w, len(w) // w.shape[1])
    return all(np.allclose(q @ q.T, np.eye(len(q)), atol=1e-12) for q in blocks) and not np.allclose(*blocks[:2])


INITIALIZERS: list[tuple[Any, Callable[[np.ndarray], Any]]] = [  # for a weight of (4 * 50, 50)
    (orthogonal, is_orthogonal),
    (identity, lambda w: (w == np.tile(np.eye(50), (4, 1))).all()),
    (zeros, lambda w: not w.any()),
    (glorot, lambda w: 0.95 < np.abs(w).max() / np.sqrt(6 / 250) <= 1 and abs(w.mean()) < 0.005),
    (uniform(0.2), lambda w: 0.19 < np.abs(w).max() <= 0.2 and abs(w.std() - 0.2 / 3**0.5) < 0.003),
    (normal(0.5), lambda w: abs(w.std() - 0.5) < 0.02 and np.abs(w).max() > 1),
]  # fmt: skip


@pytest.mark.parametrize("start, holds", INITIALIZERS, ids=lambda x: getattr(x, "__name__", "")[:12])
def test_initializers(start: Any, holds: Callable[[np.ndarray], Any]) -> None:
    one, two, same = (start(np.random.default_rng(seed), (200, 50)) for seed in (0, 1, 0))
    assert one.shape == (200, 50) and holds(one) and holds(two)
    assert (one == same).all()
    assert start in (identity, zeros) or (one != two).any()
    model = Recurrent("lstm", 3, 50, initializers={"weight_hh": start}, dtype=np.float64)
    assert holds(model.weights["weight_hh_l0"].data)


def test_orthogonal_matrices_are_drawn_from_all_of_them() -> None:
    """Householder's QR alone gives a first number that is never positive."""
    signs = {np.sign(orthogonal(np.random.default_rng(seed), (4, 4))[0, 0]) for seed in range(20)}
    assert signs == {-1, 1}


@pytest.mark.parametrize("cell", VARIED)
def test_defaults_and_seeds(cell: str) -> None:
    models = [Recurrent(cell, D, H, 2, True, seed=seed) for seed in (1, 1, 2)]
    names = [*models[0].parameters()]
    each = CELLS[cell].parameters
    assert names == [f"{name}_l{layer}{way}" for layer in (0, 1) for way in ("", "_reverse") for name in each]
    same, other = (
        [(a.data == b.data).all() for a, b in zip(models[0].weights.values(), model.weights.values())]
        for model in models[1:]
    )
    assert all(same) and not all(other)
    bound = 1 if cell in ("rnn_relu", "indrnn") else H**-0.5
    assert all(np.abs(w.data).max() <= bound for w in models[0].weights.values())
    assert cell != "rnn_relu" or (models[0].weights["weight_hh_l1"].data == np.eye(H)).all()


def test_forget_bias_opens_the_forget_gate_alone() -> None:
    plain, opened = Recurrent("lstm", D, H, seed=0), Recurrent("lstm", D, H, forget_bias=1.5, seed=0)
    for name, value in (("bias_ih_l0", 1.5), ("bias_hh_l0", 0.0)):
        bias, before = opened.weights[name].data, plain.weights[name].data
        assert (bias[H : 2 * H] == value).all()
        assert (np.delete(bias, np.s_[H : 2 * H]) == np.delete(before, np.s_[H : 2 * H])).all()
    assert all(
        (a.data == b.data).all()
        for a, b in zip(
            Recurrent("gru", D, H, forget_bias=1.5, seed=0).weights.values(),
            Recurrent("gru", D, H, seed=0).weights.values(),
        )
    )


def test_layers_without_a_seed_start_differently_and_a_program_always_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> list[np.ndarray]:
        monkeypatch.setattr("micrornn.initializers.unseeded", itertools.count())
        made = [Linear(3, 3), Linear(3, 3), Embedding(3, 3), Embedding(3, 3)]
        weights = [layer.weight.data for layer in made]
        return weights + [Recurrent("gru", 3, 3).weights["weight_hh_l0"].data for _ in range(2)]

    first, again = program(), program()
    assert all(np.array_equal(one, other) for one, other in zip(first, again))
    assert all((one != other).any() for one, other in itertools.combinations(first, 2) if one.shape == other.shape)
