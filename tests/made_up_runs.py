"""Runs that were hardly trained: tiny models whose weights are chosen so that it is known what is wrong with them.

made_up(kind, folder)    a run folder with a checkpoint and a text of its own; kind is one of KINDS
hardly_trained(folder)   one of a few updates over the text FOX, in which the last checkpoint is worse than the best
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.train import Training, run

TEXT = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(120, 0, -1))
FOX = "the quick brown fox jumps over the lazy dog.\npack my box with five dozen jugs.\n" * 40
SIZES = {"hidden_size": 24, "embedding_size": 8, "batch_size": 4, "num_steps": 32, "seed": 1}


def _vanishing(weights: dict[str, np.ndarray]) -> None:
    """A tanh RNN whose recurrent weights have a spectral radius of 0.3: less than 1 % is left after 4 time steps."""
    w = weights["rnn.weight_hh_l0"]
    w *= 0.3 / np.abs(np.linalg.eigvals(w)).max()


def _exploding(weights: dict[str, np.ndarray]) -> None:
    """Each relu passes 1.3 times its value on to one other, and all of them are awake: 1.3^k after k time steps.
    What comes in is tiny, so that nothing overflows."""
    size = len(weights["rnn.weight_hh_l0"])
    weights["rnn.weight_hh_l0"][...] = 1.3 * np.roll(np.eye(size), 1, axis=0)
    weights["rnn.weight_ih_l0"][...] *= 1e-6
    weights["rnn.bias_ih_l0"][...] = 1e-5
    weights["rnn.bias_hh_l0"][...] = 0


def _saturated(weights: dict[str, np.ndarray]) -> None:
    """An LSTM whose biases hold its input and output gates shut or open; the forget gates stay open."""
    i, f, _, o = np.split(weights["rnn.bias_ih_l0"], 4)
    signs = np.where(np.arange(len(i)) % 2, 8, -8)
    i[...], f[...], o[...] = signs, 8, -signs


def _healthy(weights: dict[str, np.ndarray]) -> None:
    """An LSTM that has learned something."""


KINDS: dict[str, tuple[str, Callable[[dict[str, np.ndarray]], None]]] = {
    "vanishing": ("rnn", _vanishing),
    "exploding": ("rnn_relu", _exploding),
    "saturated": ("lstm", _saturated),
    "healthy": ("lstm", _healthy),
}


UPDATES = {"healthy": 60}  # of training, before the weights are changed


def made_up(kind: str, folder: Path, **settings: Any) -> RunFolder:
    """A run folder `folder/KIND` beside its text; `settings` are those of Config."""
    cell, change = KINDS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text.txt"
    text.write_text(TEXT)
    config = Config(cell=cell, **(SIZES | {"lr": 0.01, "schedule": "constant"} | settings))
    training = Training(config, tokenize([text], config.level, folder / "cache"))
    for _ in range(UPDATES.get(kind, 0)):
        training.update()
    change({name: parameter.data for name, parameter in training.model.flat.parameters.items()})
    run = RunFolder.create(folder / kind, config.to_dict() | {"task": "text", "files": [str(text)]})
    run.save(*training.snapshot(), best=False)
    run.close()
    return run


def hardly_trained(folder: Path, **settings: Any) -> RunFolder:
    """A run of a few updates, in which the last checkpoint is worse than the best."""
    (folder / "text.txt").write_text(FOX)
    given = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "num_steps": 8, "val_fraction": 0.2}
    config = Config(**(given | {"val_every": 10, "num_updates": 30, "lr": 0.02} | settings))
    tokens = tokenize([folder / "text.txt"], config.level, folder / "cache")
    where = RunFolder.create(folder / "run", config.to_dict() | {"task": "text", "files": [str(folder / "text.txt")]})
    training = Training(config, tokens)
    for _ in run(training, where):
        pass
    training.model.flat.data[...] *= 0.5
    where.save(*training.snapshot(), best=False)
    where.close()
    return where
