from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, split, tanh
from micrornn.tape import Tensor


class ResetBeforeGRU(Cell):
    """The GRU whose reset gate stands before the product: n = tanh(W_in x_t + b_in + W_hn (r h_prev) + b_hn).

    Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio, Learning Phrase Representations using RNN
    Encoder-Decoder, 2014; Keras with reset_after=False. Its second product waits for r, and a kernel has one product
    with the state: so it runs with granularity primitive or cell only.
    """

    name, gates = "gru_before", ("r", "z", "n")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev = state[0]
        sizes = [2 * h_prev.shape[1], h_prev.shape[1]]
        weights, biases = split(w.weight_hh, sizes=sizes, axis=0), split(w.bias_hh, sizes=sizes)
        x_r, x_z, x_n = self.per_gate(linear(x, w.weight_ih, w.bias_ih))
        h_r, h_z = split(linear(h_prev, weights[0], biases[0]), sizes=[sizes[1]] * 2, axis=1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = tanh(x_n + linear(r * h_prev, weights[1], biases[1]))
        return (n + z * (h_prev - n),)
