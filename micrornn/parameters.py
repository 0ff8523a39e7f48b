"""What is learned: parameters, how they start, and the one flat buffer they all lie in.

Parameter       a tensor that wants a gradient and has a name
Module          something that owns parameters and other modules
Flat            one buffer for all parameters and one for all gradients, with the parameters as views
uniform, glorot, orthogonal, identity, normal, zeros      initialisers: (rng, shape) -> float64 array
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.errors import ConfigError
from micrornn.tape import Tensor

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All zero."""
    return np.zeros(shape)


def normal(std: float) -> Initializer:
    """Normal with mean 0 and this standard deviation."""
    return lambda rng, shape: rng.normal(0.0, std, shape)


def uniform(bound: float) -> Initializer:
    """Uniform in +-bound."""
    return lambda rng, shape: rng.uniform(-bound, bound, shape)


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    return rng.uniform(-1, 1, shape) * np.sqrt(6 / sum(shape))


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Square blocks of random orthogonal matrices, one under the other (Saxe, McClelland, Ganguli 2014)."""
    columns = shape[1]
    blocks = []
    for _ in range(0, shape[0], columns):
        q, r = np.linalg.qr(rng.normal(size=(columns, columns)))
        blocks.append(q * np.sign(np.diag(r)))  # without the signs, Q is not uniformly distributed
    return np.concatenate(blocks)[: shape[0]]


def identity(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The identity, gate by gate (Le, Jaitly, Hinton 2015): each unit starts as its own memory."""
    return np.concatenate([np.eye(shape[1])] * -(-shape[0] // shape[1]))[: shape[0]]


class Parameter(Tensor):
    """A tensor that is learned."""

    __slots__ = ()

    def __init__(self, data: Any, dtype: Any = np.float32):
        super().__init__(data, requires_grad=True, dtype=dtype)


class Module:
    """Owns parameters and modules as plain attributes (lists of modules too), and can list them by name."""

    training = True

    def parameters(self) -> dict[str, Parameter]:
        """All parameters by dotted name, in the order in which they were made; one that is used twice, once.
        What lies in a list has its place for a name, what lies in a dict its key alone."""
        found: dict[str, Parameter] = {}
        seen = set()
        for name, parameter in _parameters(self, ""):
            if id(parameter) in seen:
                continue
            if name in found:
                raise ConfigError(f"two parameters of {type(self).__name__} are called {name!r}")
            seen.add(id(parameter))
            found[name] = parameter
            parameter.name = name
        return found

    def modules(self) -> Iterator[Module]:
        """This module and all those inside it."""
        yield self
        for _, value in _inside(self):
            if isinstance(value, Module):
                yield from value.modules()

    def to(self, name: str) -> None:
        """Move all parameters to a device, "cpu" or "cuda". Before a Flat is made of them, not after."""
        table = kernels.for_device(name)
        for parameter in self.parameters().values():
            parameter.data = table.asarray(device.host(parameter.data))

    def train(self, training: bool = True) -> None:
        """Switch what differs between training and use (dropout)."""
        for module in self.modules():
            module.training = training


def _inside(module: Module) -> Iterator[tuple[str, Any]]:
    """(name, value) of everything that a module holds, also in its lists and dicts."""
    for name, value in vars(module).items():
        if isinstance(value, (list, tuple)):
            yield from ((f"{name}.{n}", item) for n, item in enumerate(value))
        elif isinstance(value, dict):
            yield from ((str(key), item) for key, item in value.items())
        else:
            yield name, value


def _parameters(module: Module, prefix: str) -> Iterator[tuple[str, Parameter]]:
    for name, value in _inside(module):
        if isinstance(value, Parameter):
            yield prefix + name, value
        elif isinstance(value, Module):
            yield from _parameters(value, f"{prefix}{name}.")


class Flat:
    """All parameters in one buffer `data` (n,), all gradients in one buffer `grad` (n,).

    The parameters become views into it. So an update, a norm, a checkpoint, a sum over machines is one pass over
    one array. Parameters must all have the same precision.
    """

    def __init__(self, parameters: dict[str, Parameter]):
        if not parameters:
            raise ConfigError("a model without parameters cannot be trained")
        self.parameters = parameters
        kinds = {parameter.dtype for parameter in parameters.values()}
        if len(kinds) > 1:
            raise ConfigError(f"parameters have different precisions: {', '.join(map(str, kinds))}")
        first = next(iter(parameters.values())).data
        table, size = kernels.of(first), sum(parameter.data.size for parameter in parameters.values())
        self.data, self.grad = table.empty((size,), first.dtype), table.zeros((size,), first.dtype)
        self.places: dict[str, slice] = {}
        start = 0
        for name, parameter in parameters.items():
            place = slice(start, start + parameter.data.size)
            self.places[name], shape, start = place, parameter.shape, place.stop
            self.data[place] = parameter.data.reshape(-1)
            parameter.data = self.data[place].reshape(shape)
            parameter.grad = self.grad[place].reshape(shape)

    def __len__(self) -> int:
        return self.data.size

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.grad[...] = 0
