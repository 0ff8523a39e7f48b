"""micrornn, as `micrornn train` and `micrornn sample` use it."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import material
from micrornn import __version__ as version  # noqa: F401
from micrornn import kernels
from micrornn.bench import work
from micrornn.bench.cases import LENGTH, Model

threads = kernels.set_threads
layer = work.layer


def _training(case: Model):
    """A `Training` from the weights that all start from."""
    training = work.training(case, material.tokens(case))
    start = material.weights(case, training.vocab.size)
    for name, parameter in training.model.flat.parameters.items():
        parameter.data[...] = start[name]
    return training


def model(case: Model) -> Callable[[], float]:
    training = _training(case)
    return lambda: training.update().loss


def sample(case: Model) -> Callable[[], None]:
    training = _training(case)
    return work.sampling(case, training.vocab, LENGTH, training.model)
