"""What is learned: parameters, how they start, and the one flat buffer that holds them all.

Parameter       a tensor that requires a gradient and has a name
Module          something that owns parameters and other modules
Flat            one buffer for all parameters and one for all gradients, with the parameters as views
flat_of         the Flat of a Module or of parameters: a new one, or the one that holds them already

The initialisers (initializers.py) are offered here, too.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.arguments import require_like, tensors
from micrornn.errors import ConfigError, counted, quoted
from micrornn.initializers import Initializer, glorot, identity, normal, orthogonal, uniform, zeros
from micrornn.tape import Tensor

__all__ = [
    "Flat", "Initializer", "Module", "Parameter", "flat_of", "glorot", "identity", "normal", "orthogonal",
    "uniform", "zeros",
]  # fmt: skip


class Parameter(Tensor):
    """A tensor that is learned: float32, unless another precision is asked for.

    >>> Parameter([[1.0, 2.0]]).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, dtype: Any = np.float32):
        super().__init__(data, requires_grad=True, dtype=dtype)


class Module:
    """Owns parameters and modules as plain attributes, or in lists and dicts of any depth, and lists them by name.

    A tensor that was made with requires_grad=True is a parameter, too.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.weight = Parameter([1.0, 2.0])
    >>> {name: p.shape for name, p in Scale().parameters().items()}
    {'weight': (2,)}
    """

    training = True

    def __repr__(self) -> str:
        parameters = self.parameters()
        sizes = ", ".join(f"{name} {parameter.shape}" for name, parameter in list(parameters.items())[:8])
        sizes += ", ..." * (len(parameters) > 8)
        count = sum(parameter.data.size for parameter in parameters.values())
        return f"<{type(self).__name__}: {counted(count, 'parameter')}{': ' * bool(sizes)}{sizes}>"

    def parameters(self) -> dict[str, Parameter]:
        """All parameters by dotted name, in the order in which they were made; a shared one appears once.

        Items of a list are named by their index. Of a dict that is an attribute the keys alone are names.
        """
        found: dict[str, Parameter] = {}
        for name, value in _inside(self):
            if not isinstance(value, Tensor):
                continue
            if name in found:
                raise ConfigError(
                    f"two parameters of {type(self).__name__} are called {name!r}; give them, or the keys of the dicts "
                    "that they are in, different names"
                )
            found[name] = value  # type: ignore[assignment]  # a leaf that is no Parameter is as good as one
            value.name = name
        return found

    def modules(self) -> Iterator[Module]:
        """This module and all those inside it, each once."""
        return (value for _, value in _inside(self, strict=False) if isinstance(value, Module))

    def to(self, name: str) -> None:
        """Move all parameters to a device, "cpu" or "cuda". Before a Flat is made of them, not after."""
        table = kernels.for_device(name)
        parameters = self.parameters()
        _require_free(parameters)
        for parameter in parameters.values():
            parameter.data = table.asarray(device.host(parameter.data))

    def train(self, training: bool = True) -> None:
        """Switch between training and use, which differ in dropout."""
        for module in self.modules():
            module.training = training


_PLAIN = {int, float, bool, str, bytes, type(None)}  # types of attributes that hold no parameters


def _inside(module: Module, strict: bool = True) -> list[tuple[str, Any]]:
    """(name, value) of every module and parameter within a module, itself included; each once, under its first name.
    strict: raise ConfigError for parameters in objects that are no Module."""
    found: list[tuple[str, Any]] = []
    _gather(module, "", set(), found, strict)
    return found


def _gather(value: Any, name: str, seen: set[int], found: list[tuple[str, Any]], strict: bool) -> None:
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Tensor):
        if _is_parameter(value) and id(value) not in seen:
            seen.add(id(value))
            found.append((name, value))
        return
    if isinstance(value, Module):
        items = vars(value).items()
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    else:
        if strict:
            _require_nothing_inside(value, name)
        return
    if id(value) in seen:  # it is shared, or holds itself
        return
    seen.add(id(value))
    whole = isinstance(value, Module)
    if whole:
        found.append((name, value))
    for key, item in items:
        if type(item) not in _PLAIN and (strict or not isinstance(item, Tensor)):
            keys_alone = whole and isinstance(item, dict)  # of a dict that is an attribute, the keys alone are names
            _gather(item, name if keys_alone else f"{name}.{key}" if name else str(key), seen, found, strict)


def _require_nothing_inside(value: Any, name: str) -> None:
    """ConfigError where parameters are in an object that cannot be searched for them by name."""
    if isinstance(value, (set, frozenset)):
        if any(isinstance(item, (Module, Tensor)) for item in value):
            raise ConfigError(f"{name} is a set, whose items have no order, and so no names; make it a list")
    elif any(isinstance(item, Tensor) and _is_parameter(item) for item in getattr(value, "__dict__", {}).values()):
        raise ConfigError(f"{name} holds parameters but is no Module; derive {type(value).__name__} from Module")


def _is_parameter(tensor: Tensor) -> bool:
    return tensor.requires_grad and tensor.leaf


class Flat:
    """All parameters in one buffer `data` (n,), all gradients in one buffer `grad` (n,).

    The parameters become views of it. So an update, a norm or a checkpoint is one pass over one array. All parameters
    must have the same precision, and a parameter is in one Flat at a time.

    parameters    a Module, or parameters by name, or a list of them. If a Module gets other parameters later, the next
                  `join` raises an error, because these would not be trained
    slices        where each parameter lies in the buffer, by name

    If somebody replaces an array (`p.grad = None`, `p.data = array`), `join` copies the new one into the buffer and
    makes it a view again; optimizers and norms call `join`. A copy or a pickle of a Flat has copies of the parameters.

    >>> flat = Flat([Parameter([1.0, 2.0]), Parameter([[3.0]])])
    >>> len(flat), flat.data.shape
    (3, (3,))
    """

    def __init__(self, parameters: Module | Mapping[str, Parameter] | Iterable[Parameter]):
        self.parameters = by_name(parameters)
        self._module = weakref.ref(parameters) if isinstance(parameters, Module) else None
        if not self.parameters:
            raise ConfigError("a model without parameters cannot be trained")
        _require_free(self.parameters)
        kinds = {parameter.dtype for parameter in self.parameters.values()}
        if len(kinds) > 1:
            raise ConfigError(f"parameters have different precisions: {', '.join(map(str, kinds))}")
        first = next(iter(self.parameters.values())).data
        table, size = kernels.of(first), sum(parameter.data.size for parameter in self.parameters.values())
        self._data, self._grad = table.empty((size,), first.dtype), table.zeros((size,), first.dtype)
        self.slices: dict[str, slice] = {}
        self._views: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # data and grad of each parameter
        start = 0
        for name, parameter in self.parameters.items():
            part = slice(start, start + parameter.data.size)
            self.slices[name], shape, start = part, parameter.shape, part.stop
            self._data[part] = parameter.data.reshape(-1)
            parameter.data, parameter.grad = self._data[part].reshape(shape), self._grad[part].reshape(shape)
            self._views[name] = parameter.data, parameter.grad
        with _flats_lock:
            _flats.add(self)

    data = property(lambda self: self._data, lambda self, value: self._fill(self._data, value))
    grad = property(lambda self: self._grad, lambda self, value: self._fill(self._grad, value))

    def _fill(self, buffer: np.ndarray, value: Any) -> None:
        """`flat.data = value` writes into the buffer, because the parameters are views of it."""
        if value is not buffer:
            buffer[...] = value
        self.touch()

    def __len__(self) -> int:
        return self._data.size

    def __reduce__(self) -> Any:
        return _again, (self.parameters,)

    def touch(self) -> None:
        """To be called after the parameters were written to in place, so that tapes notice it (Tensor.version)."""
        for parameter in self.parameters.values():
            parameter.version += 1

    def join(self) -> None:
        """Copy numbers and gradients that were replaced into the buffer, and make them views of it again; a gradient
        that is None becomes zero. ShapeError where they do not fit, ConfigError if another Flat has them."""
        module = None if self._module is None else self._module()
        if module is not None:
            ours = set(map(id, self.parameters.values()))
            new = [name for name, parameter in module.parameters().items() if id(parameter) not in ours]
            if new:
                raise ConfigError(f"parameter {new[0]} came into the model after its Flat was made; make the Flat last")
        for name, (data, grad) in self._views.items():
            parameter = self.parameters[name]
            if parameter.data is not data:
                _require_free({name: parameter}, but=self)
                require_like(f"data of parameter {name}", parameter.data, data, contiguous=False)
                data[...] = parameter.data
                parameter.data = data
            if parameter.grad is not grad:
                if parameter.grad is not None:
                    require_like(f"grad of parameter {name}", parameter.grad, grad, contiguous=False)
                grad[...] = 0 if parameter.grad is None else parameter.grad
                parameter.grad = grad

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self._grad[...] = 0
        for name, (_, grad) in self._views.items():
            self.parameters[name].grad = grad


# All Flats that exist, to check that no two of them have the same parameter.
_flats: weakref.WeakSet[Flat] = weakref.WeakSet()
_flats_lock = threading.Lock()


def flat_of(given: Any) -> Flat:
    """The Flat of a Module, of parameters, or of a list of both. If one with exactly these parameters exists, that
    one."""
    if isinstance(given, Flat):
        return given
    parameters = by_name(given)
    with _flats_lock:
        for flat in _flats:
            if list(map(id, flat.parameters.values())) == list(map(id, parameters.values())):
                return flat
    return Flat(given)


class _Several(Module):
    """Modules and parameters in a list, as one module."""

    def __init__(self, items: Iterable[Any]):
        self.items = dict(enumerate(items))


def by_name(given: Any) -> dict[str, Parameter]:
    """The parameters of a Module, of a list of modules or parameters, or as they are in a dict."""
    if isinstance(given, (list, tuple)) and any(isinstance(item, Module) for item in given):
        given = _Several(given)
    if isinstance(given, Module):
        return given.parameters()
    if isinstance(given, Mapping):
        tensors("Flat", given.values())
        return dict(given)
    if isinstance(given, (str, bytes)) or not np.iterable(given):
        raise ConfigError(f"what is to be trained is a Module, or its parameters, not {quoted(given)}")
    found = tensors("Flat", given)
    names = [tensor.name or str(n) for n, tensor in enumerate(found)]
    return dict(zip(names if len(set(names)) == len(names) else map(str, range(len(found))), found))


def _require_free(parameters: Mapping[str, Parameter], but: Flat | None = None) -> None:
    """ConfigError if one of the parameters is in another Flat than `but`."""
    with _flats_lock:
        others = [flat for flat in _flats if flat is not but]
    for flat in others:
        views = {id(flat.parameters[name]): data for name, (data, _) in flat._views.items()}
        for name, parameter in parameters.items():
            if views.get(id(parameter)) is parameter.data:
                raise ConfigError(
                    f"parameter {name} lies in a Flat already, such as an optimizer's, which would lose it; train the "
                    "module as a whole, or use that Flat (of a language model model.flat), and move a model to a"
                    " device before its Flat is made"
                )


def _again(parameters: dict[str, Parameter]) -> Flat:
    """A Flat of copied parameters, with their gradients."""
    gradients = {name: parameter.grad for name, parameter in parameters.items()}
    flat = Flat(parameters)
    for name, gradient in gradients.items():
        if gradient is not None:
            flat.grad[flat.slices[name]] = gradient.reshape(-1)
    return flat


def __dir__() -> list[str]:
    return __all__
