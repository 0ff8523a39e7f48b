"""RNN, LSTM and GRU: one time step each.

A cell says how many gates it has, which states it carries, and computes one step out of primitive ops. Its fused
op (ops/recurrent.py) computes the same in one kernel, for one step or for a whole sequence.

    x_t (B, D), h_prev (B, H), c_prev (B, H)
    weight_ih (G H, D), weight_hh (G H, H), bias_ih (G H,), bias_hh (G H,)      G gates, PyTorch's order and names
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.errors import ConfigError
from micrornn.ops import gru, linear, lstm, relu, rnn, sigmoid, split, tanh
from micrornn.parameters import Initializer, identity, uniform, zeros
from micrornn.tape import Op, Tensor

Weights = Sequence[Tensor]  # weight_ih, weight_hh, bias_ih, bias_hh
State = tuple[Tensor, ...]  # (h,) or (h, c)


class RNN:
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh).

    Elman, Finding Structure in Time, 1990.
    """

    name = "rnn"
    gates: tuple[str, ...] = ("a",)
    states: tuple[str, ...] = ("h",)
    fused: Op = rnn
    options: dict[str, Any] = {"relu": False}

    def step(self, x: Tensor, state: State, weights: Weights) -> State:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        return (tanh(linear(x, weight_ih, bias_ih) + linear(state[0], weight_hh, bias_hh)),)

    def initializers(self, hidden_size: int) -> tuple[Initializer, Initializer, Initializer]:
        """How weight_ih, weight_hh and the biases start: uniform in +-1/sqrt(H), as in PyTorch."""
        start = uniform(hidden_size**-0.5)
        return start, start, start


class ReluRNN(RNN):
    """h_t = relu(W_ih x_t + b_ih + W_hh h_prev + b_hh), with W_hh starting as the identity.

    Le, Jaitly, Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, 2015.
    """

    name = "rnn_relu"
    options: dict[str, Any] = {"relu": True}

    def step(self, x: Tensor, state: State, weights: Weights) -> State:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        return (relu(linear(x, weight_ih, bias_ih) + linear(state[0], weight_hh, bias_hh)),)

    def initializers(self, hidden_size: int) -> tuple[Initializer, Initializer, Initializer]:
        """weight_ih small, weight_hh the identity, biases zero (their section 3)."""
        return uniform(0.1 * hidden_size**-0.5), identity, zeros


class LSTM(RNN):
    """i, f, o = sigmoid and g = tanh of W_ih x_t + b_ih + W_hh h_prev + b_hh;
    c_t = f c_prev + i g;  h_t = o tanh(c_t).

    Hochreiter and Schmidhuber 1997; the forget gate is from Gers, Schmidhuber, Cummins 2000.
    """

    name, gates, states, fused = "lstm", ("i", "f", "g", "o"), ("h", "c"), lstm
    options: dict[str, Any] = {}

    def step(self, x: Tensor, state: State, weights: Weights) -> State:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        h_prev, c_prev = state
        size = h_prev.shape[1]
        i, f, g, o = split(linear(x, weight_ih, bias_ih) + linear(h_prev, weight_hh, bias_hh), sizes=[size] * 4, axis=1)
        c = sigmoid(f) * c_prev + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRU(RNN):
    """r, z = sigmoid(W_ih x_t + b_ih + W_hh h_prev + b_hh);
    n = tanh(W_in x_t + b_in + r (W_hn h_prev + b_hn));  h_t = (1 - z) n + z h_prev.

    Cho et al. 2014; the reset gate stands behind the product, as in cuDNN and PyTorch.
    """

    name, gates, fused = "gru", ("r", "z", "n"), gru
    options: dict[str, Any] = {}

    def step(self, x: Tensor, state: State, weights: Weights) -> State:
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        h_prev = state[0]
        size = h_prev.shape[1]
        x_r, x_z, x_n = split(linear(x, weight_ih, bias_ih), sizes=[size] * 3, axis=1)
        h_r, h_z, h_n = split(linear(h_prev, weight_hh, bias_hh), sizes=[size] * 3, axis=1)
        z, n = sigmoid(x_z + h_z), tanh(x_n + sigmoid(x_r + h_r) * h_n)
        return (n + z * (h_prev - n),)


CELLS = {cell.name: cell for cell in (RNN(), ReluRNN(), LSTM(), GRU())}


def find_cell(name: str) -> RNN:
    """The cell of this name, or ConfigError with the names there are."""
    if name not in CELLS:
        raise ConfigError(f"there is no cell {name!r}; choose one of {', '.join(CELLS)}")
    return CELLS[name]


def bias_with_forget(bias: np.ndarray, cell: RNN, forget_bias: float) -> np.ndarray:
    """Start the forget gate open by this much (Jozefowicz, Zaremba, Sutskever 2015)."""
    if "f" in cell.gates:
        size = len(bias) // len(cell.gates)
        bias[size : 2 * size] = forget_bias
    return bias
