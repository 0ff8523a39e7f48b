from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, tanh
from micrornn.tape import Tensor


class PeepholeLSTM(Cell):
    """The LSTM whose gates see the cell: i and f add p_i c_prev and p_f c_prev to their pre-activations, o adds
    p_o c_t.

    Gers, Schmidhuber, Recurrent Nets that Time and Count, 2000; as in Graves, Generating Sequences With Recurrent
    Neural Networks, 2013, eq. 7-11: one peephole for each unit.
    """

    name, gates, states = "lstm_peephole", ("i", "f", "g", "o"), ("h", "c")
    vectors = ("peephole_i", "peephole_f", "peephole_o")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev = state
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        i, f, g, o = self.per_gate(from_x + from_h)
        i = sigmoid(i + w.peephole_i * c_prev)
        f = sigmoid(f + w.peephole_f * c_prev)
        c = f * c_prev + i * tanh(g)
        return sigmoid(o + w.peephole_o * c) * tanh(c), c
