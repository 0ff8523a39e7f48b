"""The weights of a model of one's own, in a file that NumPy reads as well.

save_weights(model, path)      all parameters by name, as an .npz
load_weights(model, source)    back into a model of the same sizes, from such a file or a dict of arrays

A checkpoint of a training (`mr.load`) holds more: its settings, the optimizer, how far it came.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn import device
from micrornn.arguments import numbers
from micrornn.calls import checked
from micrornn.checkpoint import StrPath, read_file, write_atomically
from micrornn.checkpoint.archive import is_checkpoint, npy_array
from micrornn.errors import CheckpointError, ConfigError, instead, named, quoted
from micrornn.parameters import Module, Parameter, by_name
from micrornn.tape import Tensor


@checked
def save_weights(model: Any, path: StrPath) -> None:
    """Write all parameters of a model to `path`, atomically: what was there before stays whole until the new is.

    model    a Module, or a list of them
    path     exactly this name is written; `np.load(path)` reads it, too

    ConfigError for what has no parameters, CheckpointError where the file cannot be written.

    >>> import tempfile, numpy as np, micrornn as mr
    >>> path = tempfile.mkdtemp() + "/model.npz"
    >>> mr.save_weights(mr.Linear(3, 2), path)
    >>> {name: array.shape for name, array in np.load(path).items()}
    {'weight': (2, 3), 'bias': (2,)}
    """
    arrays = {f"{name}.npy": device.host(p.data) for name, p in _parameters("save_weights", model).items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # np.savez takes no name that it has an argument of
        for name, array in arrays.items():
            with archive.open(name, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    write_atomically(path, [buffer.getbuffer()])


@checked
def load_weights(model: Any, source: StrPath | Mapping[str, Any]) -> None:
    """Copy saved weights into a model; where they do not fit, the model stays as it is.

    model     a Module, or a list of them, made as the one that was saved; precision and device remain its own
    source    a file of `save_weights`; or arrays or tensors by parameter name, such as `other.parameters()`

    CheckpointError for a file that is missing, damaged or something else, and where a name or a shape differs (it
    names the first); ConfigError for what is not made of numbers.

    >>> import tempfile, numpy as np, micrornn as mr
    >>> path, x = tempfile.mkdtemp() + "/model.npz", np.ones((5, 4, 3))
    >>> trained, fresh = mr.GRU(3, 8, seed=1), mr.GRU(3, 8, seed=2)
    >>> mr.save_weights(trained, path)
    >>> mr.load_weights(fresh, path)
    >>> np.array_equal(trained(x)[0].data, fresh(x)[0].data)
    True
    """
    parameters = _parameters("load_weights", model)
    if isinstance(source, Mapping):
        where, arrays = "load_weights", {name: x.data if isinstance(x, Tensor) else x for name, x in source.items()}
    elif isinstance(source, (str, os.PathLike)):
        where, arrays = named(source), _read(source)
    else:
        raise ConfigError(f"load_weights: wanted a path, or arrays by name, not {quoted(source)}")
    found = _fitting(parameters, arrays, where)
    for name, parameter in parameters.items():
        parameter.data[...] = found[name]
        parameter.version += 1  # a tape that still needs the old numbers says so


def _parameters(what: str, model: Any) -> dict[str, Parameter]:
    found = by_name(model) if isinstance(model, (Module, list, tuple)) else {}
    if not found:
        raise ConfigError(f"{what}: wanted a Module with parameters, or a list of them, not {quoted(model)}")
    return found


def _read(path: StrPath) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name; nothing is unpickled, and nothing can take more memory than the file."""
    data = read_file(path)
    if data and is_checkpoint(data):
        raise CheckpointError(f"{named(path)}: a checkpoint of a training, not weights alone; mr.load reads it")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = {}
            for entry in archive.infolist():
                if not entry.filename.endswith(".npy"):
                    raise ValueError(f"it holds {quoted(entry.filename)}, which is no array")
                if entry.compress_type != zipfile.ZIP_STORED:  # a few bytes could become any number
                    raise ValueError("its arrays are compressed; np.savez writes them as they are")
                found[entry.filename.removesuffix(".npy")] = npy_array(archive.read(entry))
            return found
    except MemoryError:
        raise
    except Exception as error:  # zip and npy have their own ways to fail, each with other exceptions
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"{named(path)}: damaged, or not a file of save_weights: {what}") from error


def _fitting(parameters: Mapping[str, Parameter], arrays: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """The array for each parameter, in its precision. CheckpointError where they are not just those of the model."""
    spare = [name for name in arrays if name not in parameters]
    for name, parameter in parameters.items():
        if name not in arrays:
            told = instead(name, spare, "it has") if spare else ""
            raise CheckpointError(f"{where}: there is no {name} {parameter.shape} in it{told}")
    if spare:
        raise CheckpointError(f"{where}: {quoted(spare[0])} is no parameter of the model")
    found = {}
    for name, parameter in parameters.items():
        array = arrays[name] if device.of(arrays[name]) == "cpu" else device.host(arrays[name])
        with np.errstate(over="ignore"):
            found[name] = numbers(f"{where}: {name}", array, parameter.dtype)
        if found[name].shape != parameter.shape:
            raise CheckpointError(f"{where}: {name} is {found[name].shape}, and in the model {parameter.shape}")
        if np.isinf(found[name]).sum() > np.isinf(array).sum():
            raise CheckpointError(f"{where}: {name} holds a number that is too large for {parameter.dtype}")
    return found
