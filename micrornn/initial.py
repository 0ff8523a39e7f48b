"""How weights start where the settings say so: `init`, `init_recurrent`, `init_embedding`, `init_bias`.

initialize(model, config)       initialize the parameters of a network as its settings say
parse_initializer("he:1")       an initializer by its name
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn.cells import bias_with_forget
from micrornn.config import Config
from micrornn.errors import ConfigError, instead, quoted
from micrornn.layers import Embedding
from micrornn.parameters import Initializer, Module, glorot, identity, normal, orthogonal, uniform, zeros
from micrornn.recurrent import BIASES, Recurrent


def _he(gain: float = 1.0) -> Initializer:
    """Uniform in +-gain sqrt(3 / fan_in): deviation gain / sqrt(fan_in) (He, Zhang, Ren, Sun 2015)."""
    return lambda rng, shape: rng.uniform(-1, 1, shape) * gain * math.sqrt(3 / shape[-1])


def _between(low: float, high: float | None = None) -> Initializer:
    return uniform(low) if high is None else lambda rng, shape: rng.uniform(low, high, shape)


def _scaled(initializer: Initializer) -> Callable[..., Initializer]:
    return lambda gain=1.0: lambda rng, shape: gain * initializer(rng, shape)


# name -> (how it is written, numbers -> initializer, the fewest numbers, the most, whether it is for biases, too)
NAMES: dict[str, tuple[str, Callable[..., Initializer], int, int, bool]] = {
    "uniform": ("uniform:BOUND or uniform:LOW:HIGH", _between, 1, 2, True),
    "normal": ("normal:DEVIATION", normal, 1, 1, True),
    "zeros": ("zeros", lambda: zeros, 0, 0, True),
    "he": ("he[:GAIN]", _he, 0, 1, False),
    "glorot": ("glorot[:GAIN]", _scaled(glorot), 0, 1, False),
    "orthogonal": ("orthogonal[:GAIN]", _scaled(orthogonal), 0, 1, False),
    "identity": ("identity[:GAIN]", _scaled(identity), 0, 1, False),
}


def parse_initializer(text: str, name: str, bias: bool = False) -> Initializer:
    """The initializer in the text of a setting. ConfigError lists the names there are; `name` is that of the
    setting."""
    kind, *numbers = text.split(":")
    there = [found for found, row in NAMES.items() if row[4] or not bias]
    if kind not in there:
        raise ConfigError(f"{name}: there is no initializer {quoted(kind)}{instead(kind, there)}")
    how, make, least, most, _ = NAMES[kind]
    try:
        given = [float(number) for number in numbers]
    except ValueError:
        given = [math.nan]
    fits = least <= len(given) <= most and all(math.isfinite(number) and abs(number) < 1e30 for number in given)
    if (
        not fits
        or (kind in ("uniform", "normal") and len(given) == 1 and given[0] < 0)
        or (len(given) == 2 and given[0] > given[1])
    ):
        raise ConfigError(f"{name} is {quoted(text)}; write {how}")
    return make(*given)


def initialize(model: Any, config: Config) -> None:
    """Initialize the parameters for which a setting says how; all others stay as their layer made them.

    Weights are the parameters with two axes, including those of an embedding. Biases are the parameters with "bias" in
    their names; the bias of a forget gate starts at `forget_bias` even if `init_bias` is given.
    """
    if not (config.init or config.init_recurrent or config.init_embedding or config.init_bias):
        return
    layers = list(model.modules()) if isinstance(model, Module) else []
    embeddings = [layer.weight for layer in layers if isinstance(layer, Embedding)] if config.init_embedding else []
    rng = np.random.default_rng([config.seed, 1])
    for name, parameter in model.flat.parameters.items():
        last = name.rpartition(".")[2]
        if parameter.ndim > 1:
            recurrent = bool(config.init_recurrent) and last.startswith("weight_hh")
            embedding = any(parameter is weight for weight in embeddings)
            setting, bias = "init_embedding" if embedding else "init_recurrent" if recurrent else "init", False
        elif "bias" in last:
            setting, bias = "init_bias", True
        else:
            continue
        text = getattr(config, setting)
        if text:
            start = parse_initializer(text, f"`{setting}`", bias)(rng, parameter.shape)
            parameter.data[...] = start.astype(parameter.dtype)
    if config.init_bias:
        for layer in layers:
            if isinstance(layer, Recurrent):
                for name, parameter in layer.weights.items():
                    for prefix, value in zip(BIASES, (config.forget_bias, 0.0)):
                        if name.startswith(prefix):
                            bias_with_forget(parameter.data, layer.cell, value)
    model.flat.touch()
