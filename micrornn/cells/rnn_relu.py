from micrornn.cells.cell import Cell, State, Weights
from micrornn.initializers import Initializer, identity, uniform, zeros
from micrornn.ops import linear, relu
from micrornn.tape import Tensor


class ReluRNN(Cell):
    """h_t = relu(W_ih x_t + b_ih + W_hh h_prev + b_hh), with W_hh starting as the identity.

    Le, Jaitly, Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, 2015.
    """

    name = "rnn_relu"

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        from_x = linear(x, w.weight_ih, w.bias_ih)
        from_h = linear(state[0], w.weight_hh, w.bias_hh)
        return (relu(from_x + from_h),)

    def initializers(self, hidden_size: int) -> dict[str, Initializer]:
        """weight_ih small, weight_hh the identity, biases zero (their section 3)."""
        return {"weight_ih": uniform(0.1 * hidden_size**-0.5), "weight_hh": identity, "bias": zeros}
