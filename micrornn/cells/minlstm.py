from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid
from micrornn.tape import Tensor


class MinLSTM(Cell):
    """f, i = sigmoid(W_ih x_t + b_ih);  n = W_in x_t + b_in;  h_t = (f h_prev + i n) / (f + i).

    Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs All We Needed?, 2024. No gate sees the state.
    """

    name, gates, weights = "minlstm", ("f", "i", "n"), ("weight_ih", "bias_ih")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        f, i, n = self.per_gate(linear(x, w.weight_ih, w.bias_ih))
        f, i = sigmoid(f), sigmoid(i)
        return ((f * state[0] + i * n) / (f + i),)
