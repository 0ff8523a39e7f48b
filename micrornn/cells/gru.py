from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, tanh
from micrornn.tape import Tensor


class GRU(Cell):
    """r, z = sigmoid, each of its own rows of W_ih x_t + b_ih + W_hh h_prev + b_hh;
    n = tanh(W_in x_t + b_in + r (W_hn h_prev + b_hn));  h_t = (1 - z) n + z h_prev.

    Cho et al. 2014; the reset gate stands behind the product, as in cuDNN and PyTorch.
    """

    name, gates = "gru", ("r", "z", "n")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev = state[0]
        x_r, x_z, x_n = self.per_gate(linear(x, w.weight_ih, w.bias_ih))
        h_r, h_z, h_n = self.per_gate(linear(h_prev, w.weight_hh, w.bias_hh))
        z, n = sigmoid(x_z + h_z), tanh(x_n + sigmoid(x_r + h_r) * h_n)
        return (n + z * (h_prev - n),)
