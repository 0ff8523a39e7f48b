from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import exp, linear, relu, sigmoid, tanh
from micrornn.tape import Tensor


class SLSTM(Cell):
    """Exponential gates i = exp(a_i), f = exp(a_f); g = tanh(a_g), o = sigmoid(a_o);  c_t = f c_prev + i g;
    n_t = f n_prev + i;  h_t = o c_t / n_t. c and n are kept divided by exp(m_t), m_t = max(a_f + m_prev, a_i).

    Beck, Poeppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter, Hochreiter, xLSTM: Extended Long
    Short-Term Memory, 2024, eq. 8-17; g is their z. A single head: h_prev goes through a full matrix.
    """

    name, gates, states = "slstm", ("i", "f", "g", "o"), ("h", "c", "n", "m")
    positive = ("n",)

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev, n_prev, m_prev = state
        from_x, from_h = linear(x, w.weight_ih, w.bias_ih), linear(h_prev, w.weight_hh, w.bias_hh)
        i, f, g, o = self.per_gate(from_x + from_h)
        f = f + m_prev
        m = i + relu(f - i)  # the larger of both
        i, f = exp(i - m), exp(f - m)
        c, n = f * c_prev + i * tanh(g), f * n_prev + i
        return sigmoid(o) * c / n, c, n, m
