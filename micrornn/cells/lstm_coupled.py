from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, tanh
from micrornn.tape import Tensor


class CoupledLSTM(Cell):
    """The LSTM whose input gate is what its forget gate leaves (CIFG): c_t = f c_prev + (1 - f) g;  h_t = o tanh(c_t).

    Greff, Srivastava, Koutnik, Steunebrink, Schmidhuber, LSTM: A Search Space Odyssey, 2017.
    """

    name, gates, states = "lstm_coupled", ("f", "g", "o"), ("h", "c")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev = state
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        f, g, o = self.per_gate(from_x + from_h)
        g = tanh(g)
        c = g + sigmoid(f) * (c_prev - g)
        return sigmoid(o) * tanh(c), c
