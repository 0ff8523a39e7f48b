from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import exp, linear, log_sigmoid, relu, sigmoid, tanh
from micrornn.tape import Tensor

EMPTY = 1e-30  # n is 0 as long as every input gate was shut, exp(log_i - m) = 0: then h is 0, not 0 / 0


class SLSTM(Cell):
    """An exponential input gate i = exp(a_i); f, o = sigmoid, g = tanh;  c_t = f c_prev + i g;  n_t = f n_prev + i;
    h_t = o c_t / n_t. c and n are kept divided by exp(m_t), m_t = max(log f + m_prev, log i): nothing overflows.

    Beck, Poeppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter, Hochreiter, xLSTM: Extended Long
    Short-Term Memory, 2024, eq. 8-17; g is their z.
    """

    name, gates, states = "slstm", ("i", "f", "g", "o"), ("h", "c", "n", "m")
    positive = ("n",)

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev, c_prev, n_prev, m_prev = state
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        log_i, f, g, o = self.per_gate(from_x + from_h)
        log_f = log_sigmoid(f) + m_prev
        m = log_i + relu(log_f - log_i)  # the larger of both
        i, f = exp(log_i - m), exp(log_f - m)
        c, n = f * c_prev + i * tanh(g), f * n_prev + i
        return sigmoid(o) * c / (n + EMPTY), c, n, m
