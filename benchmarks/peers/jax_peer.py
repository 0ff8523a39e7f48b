"""JAX: lax.scan over time inside jit, the input projection of all time steps as one product before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.clock import Clock
from micrornn.bench.cases import LENGTH, LR, Layer, Model, gates_of

version = jax.__version__


def threads(n: int) -> None:
    """Settled before JAX starts, by the processor set that the worker asks for (worker.py)."""


def place(device: str, precision: str) -> Clock:
    if device != "cpu":
        raise RuntimeError("JAX is compared on the processor alone")
    return Clock()


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
    gates = gates_of(case.cell)

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


def _prepared(case: Model):
    """(parameters that all start from, the text)."""
    from benchmarks import material

    text = material.tokens(case)
    return {name: jnp.asarray(a) for name, a in material.weights(case, text.vocab.size).items()}, text


def _lstm(case: Model, parameters, x, state):
    """All layers over x (steps, batch, size) from state (layers, batch, hidden) of h and of c."""
    h, c = [], []
    for n in range(case.layers):
        weight_ih, weight_hh, bias_ih, bias_hh = (
            parameters[f"rnn.{name}_l{n}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

        def step(carry, row, weight_hh=weight_hh, bias_hh=bias_hh):
            carry, _ = _step("lstm", (weight_hh, bias_hh), carry, row)
            return carry, carry[0]

        last, x = jax.lax.scan(step, (state[0][n], state[1][n]), x @ weight_ih.T + bias_ih)
        h, c = [*h, last[0]], [*c, last[1]]
    return x, (jnp.stack(h), jnp.stack(c))


def _blank(case: Model, batch: int):
    return tuple(jnp.zeros((case.layers, batch, case.hidden)) for _ in "hc")


def model(case: Model) -> Callable[[], float]:
    from benchmarks import material

    parameters, text = _prepared(case)
    windows = material.batches(case, text)
    state, moments, count = _blank(case, case.batch), jax.tree.map(jnp.zeros_like, (parameters, parameters)), 0

    def loss(parameters, state, inputs, targets):
        y, last = _lstm(case, parameters, parameters["embedding.weight"][inputs], state)
        likely = jax.nn.log_softmax(y @ parameters["decoder.weight"].T + parameters["decoder.bias"])
        return -jnp.take_along_axis(likely, targets[..., None], axis=-1).mean(), last

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(parameters, moments, state, inputs, targets, count):
        (value, last), grad = jax.value_and_grad(loss, has_aux=True)(parameters, state, inputs, targets)
        norm = jnp.sqrt(sum((g * g).sum() for g in jax.tree.leaves(grad)))
        grad = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / (norm + 1e-6)), grad)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grad)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], grad)
        first, second = 1 - 0.9**count, jnp.sqrt(1 - 0.999**count)
        moved = jax.tree.map(lambda p, m, v: p - LR * (m / first) / (jnp.sqrt(v) / second + 1e-8), parameters, m, v)
        return moved, (m, v), last, value

    def run() -> float:
        nonlocal parameters, moments, state, count
        inputs, targets, fresh = next(windows)
        state, count = _blank(case, case.batch) if fresh else state, count + 1
        parameters, moments, state, value = update(parameters, moments, state, inputs, targets, float(count))
        return float(value)

    return run


def sample(case: Model) -> Callable[[], None]:
    parameters, text = _prepared(case)

    @jax.jit
    def step(parameters, token, state, key):
        y, state = _lstm(case, parameters, parameters["embedding.weight"][token], state)
        key, now = jax.random.split(key)
        logits = y @ parameters["decoder.weight"].T + parameters["decoder.bias"]
        return jax.random.categorical(now, logits), state, key

    def run() -> None:
        written, token, state = [], jnp.zeros((1, 1), jnp.int32), _blank(case, 1)
        key = jax.random.key(0)
        for _ in range(LENGTH):
            token, state, key = step(parameters, token, state, key)
            written.append(text.vocab.tokens[int(token[0, 0])])

    return run
