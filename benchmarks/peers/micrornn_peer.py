"""micrornn, as `micrornn train` and `micrornn sample` use it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import material
from benchmarks.clock import Clock, Events
from micrornn import __version__ as version  # noqa: F401
from micrornn import device as devices
from micrornn import kernels
from micrornn.bench import work
from micrornn.bench.cases import LENGTH, Layer, Model

threads = kernels.set_threads
where = {"device": "cpu", "precision": "float32"}
clock = Clock()


def place(device: str, precision: str) -> Clock:
    """In the simulator the processor does the work of a card, so its clock is right there."""
    global clock
    where.update(device=device, precision=precision)
    kernels.for_device(device)
    kernels.set_matmul_precision(device, precision)
    if device == "cuda":
        from micrornn.kernels.cuda.jit import SIM, cuda

        clock = Clock() if SIM else Events(partial(cuda.event, timing=True), 0)
    return clock


def layer(case: Layer) -> Callable[[], None]:
    return work.layer(case, where["device"])


def _training(case: Model):
    """A `Training` from the weights that all start from."""
    training = work.training(case, material.tokens(case), **where)
    start = material.weights(case, training.task.vocab.size)
    for name, parameter in training.model.flat.parameters.items():
        parameter.data[...] = start[name]
    return training


def model(case: Model) -> Callable[[], float]:
    training = _training(case)
    return lambda: training.update().loss


def train(case: Model) -> Callable[[], tuple[float, str]]:
    training = _training(case)

    def run() -> tuple[float, str]:
        loss = training.update().loss
        return loss, hashlib.sha256(devices.host(training.model.flat.data).tobytes()).hexdigest()

    return run


def sample(case: Model) -> Callable[[], None]:
    training = _training(case)
    return work.sampling(case, training.task.vocab, LENGTH, training.model)


def kernel(name: str) -> Callable[[], None]:
    from benchmarks import card_kernels
    from micrornn.kernels.cuda.jit import SIM

    return card_kernels.prepared({call.name: call for call in card_kernels.calls(SIM)}[name])


def limits(_: None) -> Callable[[], dict[str, Any]]:
    from benchmarks import card_limit

    return lambda: devices.card() | card_limit.limits(clock)
