"""micrornn: autograd from scratch for recurrent networks.

>>> import numpy as np, micrornn as mr
>>> rnn, x = mr.GRU(1, 8), np.ones((6, 4, 1))  # (seq_len, batch_size, input_size)
>>> with mr.Tape() as tape:  # ops in this block leave a row on the tape
...     y, last = rnn(x)
...     loss = mr.mean(y[-1] ** 2)
>>> tape.backward(loss)
>>> rnn.weights["weight_hh_l0"].grad.shape
(24, 8)

    Tensor, Tape, stamp, no_tape, op     the engine; `ops` has what a tape can record, and each op stands here too
    RNN, LSTM, GRU, Recurrent, unroll    layers over time, and a list of time steps
    Linear, Embedding, Dropout           layers without
    Module, Parameter, Flat              what is learned; `optim` has what learns it: SGD, Adam, ...
    save_weights, load_weights           the parameters of a module, in a file and back
    gradcheck, state_gradients           are the gradients right, and where do they go
    Config, Training, tasks, load        what the command line trains with, and what it has trained
    inspect                              the measures of `micrornn inspect`

All of it is imported when it is first asked for, so that the command line's help is quick. docs/design.md has the
map of the house.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micrornn import inspect as inspect
    from micrornn import ops as ops
    from micrornn import optim as optim
    from micrornn import tasks as tasks
    from micrornn.config import Config as Config
    from micrornn.gradcheck import gradcheck as gradcheck
    from micrornn.layers import GRU as GRU
    from micrornn.layers import LSTM as LSTM
    from micrornn.layers import RNN as RNN
    from micrornn.layers import Dropout as Dropout
    from micrornn.layers import Embedding as Embedding
    from micrornn.layers import Linear as Linear
    from micrornn.ops import *
    from micrornn.parameters import Flat as Flat
    from micrornn.parameters import Module as Module
    from micrornn.parameters import Parameter as Parameter
    from micrornn.recurrent import Recurrent as Recurrent
    from micrornn.recurrent import state_gradients as state_gradients
    from micrornn.runs import load as load
    from micrornn.stepwise import unroll as unroll
    from micrornn.tape import Tape as Tape
    from micrornn.tape import Tensor as Tensor
    from micrornn.tape import no_tape as no_tape
    from micrornn.tape import op as op
    from micrornn.tape import stamp as stamp
    from micrornn.train import Training as Training
    from micrornn.weights import load_weights as load_weights
    from micrornn.weights import save_weights as save_weights

__version__ = "0.1.0"

# name -> where it lives; "" for a module. The names of ops are asked of `ops`.
FACE = {
    "inspect": "", "ops": "", "optim": "", "tasks": "",
    "Config": "config", "gradcheck": "gradcheck", "load": "runs", "Training": "train",
    "GRU": "layers", "LSTM": "layers", "RNN": "layers", "Dropout": "layers", "Embedding": "layers", "Linear": "layers",
    "Flat": "parameters", "Module": "parameters", "Parameter": "parameters",
    "Recurrent": "recurrent", "state_gradients": "recurrent", "unroll": "stepwise",
    "Tape": "tape", "Tensor": "tape", "no_tape": "tape", "op": "tape", "stamp": "tape",
    "load_weights": "weights", "save_weights": "weights",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in FACE:
        module = importlib.import_module(f"micrornn.{FACE[name] or name}")
        found = getattr(module, name) if FACE[name] else module
    else:
        # `from micrornn import folders` asks here first; that is for Python to import, and no reason to import NumPy
        known = not (name.startswith("_") or find_spec(f"micrornn.{name}"))
        ops = importlib.import_module("micrornn.ops") if known else None
        if ops is None or name not in ops.__all__:
            if known and name in dir(importlib.import_module("micrornn.optim")):
                raise AttributeError(f"module 'micrornn' has no attribute {name!r}; there is mr.optim.{name}")
            if longer := [there for there in FACE if there.startswith(f"{name}_")]:
                raise AttributeError(f"module 'micrornn' has no attribute {name!r}; there is mr.{longer[0]}")
            raise AttributeError(f"module 'micrornn' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        found = getattr(ops, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*FACE, *importlib.import_module("micrornn.ops").__all__, "__version__"})
