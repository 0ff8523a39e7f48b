from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import exp, linear, relu, sigmoid, tanh
from micrornn.tape import Tensor


class SLSTM(Cell):
    """An exponential input gate i = exp(a_i); f, o = sigmoid, g = tanh;  c_t = f c_prev + i g;  n_t = f n_prev + i;
    h_t = o c_t / n_t. c and n are kept divided by exp(m_t), m_t = max(m_prev, a_i), so that nothing overflows.

    Beck, Poeppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter, Hochreiter, xLSTM: Extended Long
    Short-Term Memory, 2024, eq. 8-17; g is their z. Their stabiliser has log f in it; as f < 1, this one is enough.
    """

    name, gates, states = "slstm", ("i", "f", "g", "o"), ("h", "c", "n", "m")
    positive = ("n",)

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev, n_prev, m_prev = state
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        i, f, g, o = self.per_gate(from_x + from_h)
        m = i + relu(m_prev - i)  # the larger of both
        i, f = exp(i - m), sigmoid(f) * exp(m_prev - m)
        c, n = f * c_prev + i * tanh(g), f * n_prev + i
        return sigmoid(o) * c / n, c, n, m
