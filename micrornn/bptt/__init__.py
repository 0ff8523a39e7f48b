"""Ways to propagate back, one file each. The training loop knows a way by its interface alone (way.py).

window      windows of num_steps time steps; also online (one time step) and stateless (each from the initial state)
full        the whole sequence
k1k2        an update every k1 time steps, back through k2, each computed forward once
grow        windows that double
random      cut at random, compensated
rtrl        forward: real-time recurrent learning; snap1 and uoro are cheaper and approximate
chain, past, forward    what several of them are made of

find(config, model, batches, segment_steps)    the way of a run
"""

from __future__ import annotations

import importlib
from typing import Any

from micrornn.backprop import WAYS
from micrornn.bptt.way import Step as Step  # offered here too
from micrornn.bptt.way import Way
from micrornn.config import Config

__all__ = ["WAYS", "Step", "Way", "find"]


def find(config: Config, model: Any, batches: Any, segment_steps: int) -> Way:
    """The way that `config.backprop` names, bound to a model and what it learns from. ConfigError where they do not
    go together."""
    module, _, kind = WAYS[config.way.name].target.partition(":")
    found: type[Way] = getattr(importlib.import_module(module), kind)
    return found(config, model, batches, segment_steps)


def __dir__() -> list[str]:
    return __all__
