"""JAX: lax.scan over time inside jit, the input projection of all time steps as one product before it."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import Layer

version = jax.__version__


def threads(n: int) -> None:
    """Settled before JAX starts, by the processor set that the worker asks for (worker.py)."""


def _step(cell, weights, carry, projected):
    weight_hh, bias_hh = weights
    h = carry[0]
    if cell == "gru":
        xr, xz, xn = jnp.split(projected, 3, axis=-1)
        hr, hz, hn = jnp.split(h @ weight_hh.T + bias_hh, 3, axis=-1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + r * hn)
        return ((1 - z) * n + z * h,), None
    a = projected + h @ weight_hh.T + bias_hh
    if cell == "rnn":
        return (jnp.tanh(a),), None
    i, f, g, o = jnp.split(a, 4, axis=-1)
    c = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None


def layer(case: Layer) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[case.cell]

    def draw(*shape):
        return jnp.asarray(rng.uniform(-0.1, 0.1, shape).astype(np.float32))

    weights = (
        draw(gates * case.hidden, case.input), draw(gates * case.hidden, case.hidden),
        draw(gates * case.hidden), draw(gates * case.hidden),
    )  # fmt: skip
    x, dy = draw(case.steps, case.batch, case.input), draw(case.steps, case.batch, case.hidden)
    start = tuple(jnp.zeros((case.batch, case.hidden)) for _ in range(2 if case.cell == "lstm" else 1))

    def loss(weights, x):
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        projected = x @ weight_ih.T + bias_ih

        def step(carry, row):
            carry, _ = _step(case.cell, (weight_hh, bias_hh), carry, row)
            return carry, carry[0]

        _, y = jax.lax.scan(step, start, projected)
        return (y * dy).sum()

    both = jax.jit(jax.grad(loss, argnums=(0, 1)))

    def run() -> None:
        jax.block_until_ready(both(weights, x))

    return run
