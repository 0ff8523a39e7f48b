from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, tanh
from micrornn.tape import Tensor


class LSTM(Cell):
    """i, f, o = sigmoid and g = tanh, each of its own rows of
    W_ih x_t + b_ih + W_hh h_prev + b_hh;
    c_t = f c_prev + i g;  h_t = o tanh(c_t).

    Hochreiter and Schmidhuber 1997; the forget gate is from Gers, Schmidhuber, Cummins 2000.
    """

    name, gates, states = "lstm", ("i", "f", "g", "o"), ("h", "c")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev = state
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        i, f, g, o = self.per_gate(from_x + from_h)
        c = sigmoid(f) * c_prev + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c
