from micrornn.cells.cell import Cell, State, Weights
from micrornn.initializers import Initializer
from micrornn.ops import linear, relu
from micrornn.tape import Tensor


class IndRNN(Cell):
    """h_t = relu(W_ih x_t + b_ih + min(u, 1) h_prev): each unit sees of the state only itself.

    Li, Li, Cook, Zhu, Gao, Independently Recurrent Neural Network (IndRNN), 2018. They hold u below 2^(1/T) for
    sequences of T time steps (their section 4.1), and a state that is carried from window to window has no end.
    """

    name, weights, vectors = "indrnn", ("weight_ih", "bias_ih"), ("recurrent",)

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        u = 1.0 - relu(1.0 - w.recurrent)  # the smaller of u and 1
        return (relu(linear(x, w.weight_ih, w.bias_ih) + u * state[0]),)

    def initializers(self, hidden_size: int) -> dict[str, Initializer]:
        """u uniform in 0..1: no unit starts out growing."""
        return super().initializers(hidden_size) | {"recurrent": lambda rng, shape: rng.uniform(0, 1, shape)}
