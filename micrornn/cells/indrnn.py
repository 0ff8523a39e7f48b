from micrornn.cells.cell import Cell, State, Weights
from micrornn.ops import linear, relu
from micrornn.parameters import Initializer
from micrornn.tape import Tensor


class IndRNN(Cell):
    """h_t = relu(W_ih x_t + b_ih + u h_prev): each unit sees of the state only itself.

    Li, Li, Cook, Zhu, Gao, Independently Recurrent Neural Network (IndRNN), 2018.
    """

    name, weights, vectors = "indrnn", ("weight_ih", "bias_ih"), ("recurrent",)

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        return (relu(linear(x, w.weight_ih, w.bias_ih) + w.recurrent * state[0]),)

    def initializers(self, hidden_size: int) -> dict[str, Initializer]:
        """u uniform in 0..1: no unit starts out growing (their section 4.2)."""
        return super().initializers(hidden_size) | {"recurrent": lambda rng, shape: rng.uniform(0, 1, shape)}
