"""A new run that starts from the weights of an old one: on another text, at another rate, with other symbols.

shape_of        the settings that must be as they are in the old run, for its weights to fit
start_from      copy the weights; rows of the embedding and of the output layer go by symbol
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device
from micrornn.checkpoint import StrPath
from micrornn.config import Config
from micrornn.data import Vocab
from micrornn.errors import ConfigError, named
from micrornn.finite import require_finite_parameters
from micrornn.runs import load_run

SHAPE = ("cell", "num_layers", "hidden_size", "embedding_size", "tied", "level")
BY_SYMBOL = ("embedding.weight", "decoder.weight", "decoder.bias")  # (vocab_size, ...)
ONE_HOT = "rnn.weight_ih_l0"  # (..., vocab_size) where there is no embedding


@dataclass(frozen=True)
class Started:
    """What a run started from: the checkpoint and its updates, and how many of the `size` symbols of the new vocabulary
    the old one has, too; `new` are some that it lacks."""

    path: str
    updates: int
    matched: int
    size: int
    new: tuple[str, ...]


def shape_of(path: StrPath) -> dict[str, Any]:
    """The settings of a run, by name, that a run which starts from it shares."""
    config = load_run(path)[0].config
    return {name: getattr(config, name) for name in SHAPE}


def require_shape(path: StrPath, shape: dict[str, Any], config: Config) -> None:
    """ConfigError where a setting does not fit the weights to start from."""
    for name, wanted in shape.items():
        if getattr(config, name) != wanted:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"--init-from: {flag} is {getattr(config, name)}, but the weights of {named(path)} are of {flag} "
                f"{wanted}; leave {flag} away"
            )


def start_from(model: Any, vocab: Vocab, path: StrPath) -> Started:
    """Copy the weights of the run or checkpoint at `path` into the model; what its vocabulary lacks stays as it is.

    ConfigError where cell, layers or sizes differ, or no symbol is common to both; DivergedError where a weight is not
    finite.
    """
    old, old_vocab, meta = load_run(path)
    require_finite_parameters(old, f"--init-from: {named(path)}: ")
    require_shape(path, {name: getattr(old.config, name) for name in SHAPE}, model.config)
    places = {token: n for n, token in enumerate(old_vocab.tokens)}
    here = np.array([n for n, token in enumerate(vocab.tokens) if token in places], np.intp)
    there = np.array([places[vocab.tokens[n]] for n in here], np.intp)
    if not here.size:
        raise ConfigError(f"--init-from: the text has no symbol in common with that of {named(path)}")
    for name, parameter in model.flat.parameters.items():
        weights = device.host(old.flat.parameters[name].data)
        if name in BY_SYMBOL:
            weights, rows = device.host(parameter.data).copy(), weights
            weights[here] = rows[there]
        elif name == ONE_HOT and not model.config.embedding_size:
            weights, columns = device.host(parameter.data).copy(), weights
            weights[:, here] = columns[:, there]
        parameter.data[...] = weights.astype(parameter.dtype)
    new = tuple(token for token in vocab.tokens if token not in places)[:5]
    return Started(meta["path"], meta["updates"], len(here), vocab.size, new)
