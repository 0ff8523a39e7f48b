"""How weights start where settings say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from micrornn import tasks
from micrornn.errors import ConfigError
from micrornn.initial import NAMES, parse_initializer
from micrornn.train import Training


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
