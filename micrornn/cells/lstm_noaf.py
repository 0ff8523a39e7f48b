from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, tanh
from micrornn.tape import Tensor


class LinearOutputLSTM(Cell):
    """The LSTM without its output activation function: h_t = o c_t.

    NOAF in Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber, LSTM: A Search Space Odyssey, 2017.
    """

    name, gates, states = "lstm_noaf", ("i", "f", "g", "o"), ("h", "c")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev = state
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        i, f, g, o = self.per_gate(from_x + from_h)
        c = sigmoid(f) * c_prev + sigmoid(i) * tanh(g)
        return sigmoid(o) * c, c
