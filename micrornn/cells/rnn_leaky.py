from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, tanh
from micrornn.tape import Tensor


class LeakyRNN(Cell):
    """h_t = h_prev + dt (tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh) - h_prev), with dt = 0.2.

    A continuous-time network (Funahashi, Nakamura 1993) in Euler steps; leaky-integrator units of Jaeger, Lukosevicius,
    Popovici, Siewert 2007. Another dt: a subclass with an attribute dt of its own.
    """

    name, dt = "rnn_leaky", 0.2

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev = state[0]
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(h_prev, w.weight_hh, w.bias_hh)
        return (h_prev + self.dt * (tanh(from_x + from_h) - h_prev),)
