from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, tanh
from micrornn.tape import Tensor


class RNN(Cell):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_prev + b_hh).

    Elman, Finding Structure in Time, 1990.
    """

    name = "rnn"

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(state[0], w.weight_hh, w.bias_hh)
        return (tanh(from_x + from_h),)
