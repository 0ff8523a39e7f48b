from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, sigmoid, tanh
from micrornn.tape import Tensor


class MGU(Cell):
    """u = sigmoid(W_iu x_t + b_iu + W_hu h_prev + b_hu);  n = tanh(W_in x_t + b_in + u (W_hn h_prev + b_hn));
    h_t = (1 - u) h_prev + u n.

    Zhou, Wu, Zhang, Zhou, Minimal Gated Unit for Recurrent Neural Networks, 2016; but with the gate behind the product,
    as in the GRU of cuDNN, so that there is only one product with the state.
    """

    name, gates = "mgu", ("u", "n")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        h_prev = state[0]
        x_u, x_n = self.per_gate(linear(x, w.weight_ih, w.bias_ih))
        h_u, h_n = self.per_gate(linear(h_prev, w.weight_hh, w.bias_hh))
        u = sigmoid(x_u + h_u)
        return (h_prev + u * (tanh(x_n + u * h_n) - h_prev),)
