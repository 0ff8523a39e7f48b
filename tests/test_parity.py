"""The same numbers as PyTorch, in float64: whole layers in each granularity, optimizers, training runs.

golden/README.md says what the files hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from micrornn import ops
from micrornn.layers import Embedding, Linear
from micrornn.optim import Optimizer, clip_scale, global_norm
from micrornn.parameters import Flat, Module, Parameter
from micrornn.recurrent import GRANULARITIES, Recurrent
from micrornn.tape import Tape, Tensor

Load = Callable[[str], dict[str, np.ndarray]]
CELLS = {"rnn_tanh": "rnn", "rnn_relu": "rnn_relu", "lstm": "lstm", "gru": "gru"}  # PyTorch's name -> ours
SHAPES = {"single": (5, 4, 1, False), "stacked": (3, 5, 2, True), "lengths": (3, 5, 2, True)}


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_layers(cell: str, case: str, granularity: str, golden: Load) -> None:
    z = golden(f"layers_{cell}_{case}")
    model = Recurrent(CELLS[cell], *SHAPES[case], granularity=granularity, dtype=np.float64)
    assert {name: w.shape for name, w in model.weights.items()} == {
        name: z[name].shape for name in z if name.startswith(("weight", "bias"))
    }
    leaves = model.parameters()
    for name, weight in leaves.items():
        weight.data = z[name].copy()
    leaves |= {name: Tensor(z[name], True) for name in ("x", "h_0", "c_0") if name in z}
    lengths = z.get("lengths")
    # At padding PyTorch writes zeros and we carry the state: the mask makes one of the other, both ways.
    counts = np.ones(z["y"].shape[:2]) if lengths is None else np.arange(len(z["y"]))[:, None] < lengths
    with Tape() as tape:
        y, last = model(leaves["x"], [leaves[s + "_0"] for s in model.cell.states], lengths=lengths)
        y = y * Tensor(counts[:, :, None].astype(float))
    seeds = [z["dy"], *(z[f"d{s}_n"] for s in model.cell.states)]
    gradients = tape.cotangents([*leaves.values()], [y, *last], seeds)
    results = {"y": y.data} | {f"{s}_n": part.data for s, part in zip(model.cell.states, last, strict=True)}
    results |= {f"grad_{name}": gradient for name, gradient in zip(leaves, gradients)}
    assert set(results) == {name for name in z if name in ("y", "h_n", "c_n") or name.startswith("grad_")}
    for name, ours in results.items():
        np.testing.assert_allclose(ours, z[name], rtol=0, atol=1e-10, err_msg=name)


OPTIMIZERS = {  # name in the file -> ours, with its options filled in from the file
    "sgd": "sgd",
    "momentum": "momentum:mu={momentum}",
    "adagrad": "adagrad:eps={eps}",
    "rmsprop": "rmsprop:decay={alpha},eps={eps}",
    "adam": "adam:beta1={betas[0]},beta2={betas[1]},eps={eps}",
    "adamw": "adamw:beta1={betas[0]},beta2={betas[1]},eps={eps},weight_decay={weight_decay}",
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str, golden: Load) -> None:
    z = golden("optimizers")
    options = {key.removeprefix(name + "."): value for key, value in z.items() if key.startswith(name + ".")}
    text = OPTIMIZERS[name].format(**options)
    flat = Flat({"p": Parameter(z["start"], np.float64)})
    optimizer = Optimizer(flat, text)
    for gradient, wanted in zip(z["grads"], options["trajectory"], strict=True):
        flat.grad[...] = gradient
        optimizer.update(float(z["lr"]))
        np.testing.assert_allclose(flat.data, wanted, rtol=0, atol=1e-10)
    assert {key for key in options if key != "trajectory"} == {
        part.split("}")[0].split("[")[0] for part in OPTIMIZERS[name].split("{")[1:]
    }, "an option in the file that this test does not pass on"


class Model(Module):
    """Embedding -> two layers -> Linear, with PyTorch's names."""

    def __init__(self, cell: str, granularity: str):
        self.embedding = Embedding(11, 8, dtype=np.float64)
        self.rnn = Recurrent(cell, 8, 12, 2, granularity=granularity, dtype=np.float64)
        self.decoder = Linear(12, 11, dtype=np.float64)

    def load(self, z: dict[str, np.ndarray]) -> Flat:
        for name, parameter in self.parameters().items():
            parameter.data = z[name].copy()
        return Flat(self.parameters())


RECIPES = {  # name -> optimizer, learning rate, clip by norm (0: none), by value, loss summed over time
    "sgd": ("momentum:mu=0.9", 0.5, 0.25, math.inf, False),
    "adam": ("adam", 1e-2, 0, math.inf, False),
    "rmsprop": ("rmsprop:decay=0.95,eps=1e-8", 2e-3, 0, 5.0, True),
    "rmsprop_clip": ("rmsprop:decay=0.95,eps=1e-8", 2e-3, 0, 0.2, True),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_fifty_updates(cell: str, recipe: str, golden: Load) -> None:
    """Losses and norms of a training run with carried state: all the parts together."""
    z = golden(f"training_{cell}")
    text, lr, clip_norm, limit, summed = RECIPES[recipe]
    # One cell runs in the finest granularity: there the carried state meets the tape of every update.
    model = Model(CELLS[cell], "primitive" if cell == "rnn_tanh" else "sequence")
    flat = model.load(z)
    optimizer = Optimizer(flat, text)
    lanes, num_steps = int(z["batch_size"]), int(z["num_steps"])
    lane_len = (len(z["tokens"]) - 1) // lanes
    x = np.stack([z["tokens"][b * lane_len : (b + 1) * lane_len] for b in range(lanes)], axis=1)
    y = np.stack([z["tokens"][b * lane_len + 1 : (b + 1) * lane_len + 1] for b in range(lanes)], axis=1)
    windows, state = lane_len // num_steps, None
    losses, norms = [], []
    for update in range(50):
        at = update % windows * num_steps
        if at == 0:
            state = None
        flat.zero_grad()
        with Tape() as tape:
            out, last = model.rnn(model.embedding(x[at : at + num_steps]), state)
            loss = ops.cross_entropy(model.decoder(out), targets=y[at : at + num_steps])
        tape.backward(loss, float(num_steps) if summed else None)
        state = [Tensor(part.data) for part in last]
        norm = global_norm(flat)
        losses.append(loss.item())
        norms.append(norm)
        optimizer.update(lr, clip_scale(norm, clip_norm), limit)
    np.testing.assert_allclose(losses, z[f"{recipe}.losses"], rtol=1e-9)
    np.testing.assert_allclose(norms, z[f"{recipe}.grad_norms"], rtol=1e-9)
    if recipe == "adam":
        for name, parameter in flat.parameters.items():
            np.testing.assert_allclose(parameter.data, z[f"adam.final.{name}"], rtol=0, atol=1e-9)
