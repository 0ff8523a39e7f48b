from functools import cache

from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, tanh
from micrornn.tape import Tensor


class Window(Cell):
    """h_t = tanh(W_0 x_t + W_1 x_{t-1} + ... + W_{K-1} x_{t-K+1} + b), for K = 2 the name is window2.

    No recurrence: a feed-forward net over a sliding window of the last K inputs (a time-delay neural network: Waibel,
    Hanazawa, Hinton, Shikano, Lang 1989). It is computed as a delay line: the state s_k is what the inputs so far will
    give to h_{t+k}. So s_k moves on to s_{k-1} at each time step, and nothing that is older than K - 1 steps is left.
    """

    weights = ("weight_ih", "bias_ih")

    def __init__(self, size: int):
        self.size, self.name = size, f"window{size}"
        self.gates = tuple(f"x{k}" for k in range(size))
        self.states = ("h", *(f"s{k}" for k in range(1, size)))

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        now = self.per_gate(linear(x, w.weight_ih, w.bias_ih))
        sums = [part + s for part, s in zip(now, state[1:])] + [now[-1]]
        return tanh(sums[0]), *sums[1:]


@cache
def of_size(size: int) -> Window:
    """The cell of a window of so many inputs, always the same one: its kernels are derived once."""
    return Window(size)
