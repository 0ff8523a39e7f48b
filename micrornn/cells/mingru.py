from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid
from micrornn.tape import Tensor


class MinGRU(Cell):
    """u = sigmoid(W_iu x_t + b_iu);  n = W_in x_t + b_in;  h_t = (1 - u) h_prev + u n.

    Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs All We Needed?, 2024; u is their z. No gate sees the state.
    """

    name, gates, weights = "mingru", ("u", "n"), ("weight_ih", "bias_ih")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        u, n = self.per_gate(linear(x, w.weight_ih, w.bias_ih))
        return (state[0] + sigmoid(u) * (n - state[0]),)
