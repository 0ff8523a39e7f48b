"""Checks of what callers pass to the library: numbers, whole numbers, the inputs and options of an op.

    numbers(what, x, dtype)          an array of float32 or float64; ConfigError for anything that is not numbers
    require_precision(what, dtype)   float32 or float64
    real(what, x), rate(what, x)     a number; one of 0 or more and below 1
    flag(what, given)                True or False
    choice(what, given, there)       one of some names
    whole(what, n), wholes(what, n)  a whole number, several
    sizes(what, hidden_size=8)       whole numbers of 1 or more
    tensors(what, given)             a list of tensors, and not one bare tensor
    several(what, given)             a list of anything
    short(x)                         a repr that fits into a line
    require_like(what, given, wanted)    an array of the same kind as another, that a kernel may add to
    options_by_place(name, forward, inputs, options)    the options of an op by name, if they were given by position
    in_one_precision(name, tensors)  the arrays of an op's inputs, with data in the precision of the weights
    refuse_mixture(name, arrays)     inputs of an op on two devices or in two precisions
    refuse_call(name, forward, ...)  a call of an op with inputs or options that it does not have
    refuse_loss(loss, ...)           a loss that nothing flows back from

NumPy makes an array of almost anything: None becomes NaN, a text an array of letters, a list of tensors one of objects.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from micrornn import device
from micrornn.errors import ConfigError, ShapeError, TapeError, counted, instead, quoted
from micrornn.operators import Operators

PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))
LARGEST = 2**31 - 1  # size: kernels count in int32
EXACT = 2**53  # up to here float64 holds every whole number


def numbers(what: str, x: Any, dtype: Any = None) -> np.ndarray:
    """x as a C-contiguous array of this precision; by default its own if that is float32 or float64, else float32. An
    array on a graphics card, or of symbols, is returned as it is. If dtype is object, as for symbols, so is the
    array."""
    if type(x) is np.ndarray and x.dtype in PRECISIONS and (dtype is None or x.dtype == dtype) and x.flags.c_contiguous:
        return x
    exact = type(x) is float or (type(x) is int and -EXACT < x < EXACT)
    if exact and isinstance(dtype, np.dtype) and dtype.kind in "fO":  # the most frequent case first
        return np.asarray(x, dtype)
    if device.of(x) != "cpu":
        return x
    if isinstance(x, Operators):
        raise ConfigError(f"{what}: this is a tensor already; use it as it is, or x.data to leave its past behind")
    if isinstance(x, (list, tuple)) and _holds_tensors(x):
        raise ConfigError(f"{what}: a list of tensors is not one tensor; ops.stack(*tensors) makes one of them")
    if isinstance(x, np.ma.MaskedArray):
        raise ConfigError(f"{what}: the mask of a masked array would be lost; give x.data, and the mask to the op")
    try:
        array = np.asarray(x)
    except ValueError:
        raise ConfigError(f"{what}: not an array: {short(x)} has rows of different lengths") from None
    if array.dtype.kind not in "fiub":
        said = "complex numbers" if array.dtype.kind == "c" else f"{type(x).__name__} {short(x)}"
        raise ConfigError(f"{what}: wanted real numbers, not {said}")
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return array
    if dtype is None:
        dtype = array.dtype if array.dtype in PRECISIONS else np.float32
    return np.asarray(array, require_precision(what, dtype), order="C")


def _holds_tensors(given: Any) -> bool:
    return isinstance(given, Operators) or (
        isinstance(given, (list, tuple)) and any(_holds_tensors(part) for part in given)
    )


def short(x: Any) -> str:
    """As much of it as fits into a line."""
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."


def require_precision(what: str, dtype: Any) -> np.dtype:
    """float32 or float64 as a dtype."""
    try:
        found = np.dtype(dtype)
        if found in PRECISIONS:
            return found
    except TypeError:
        pass
    raise ConfigError(f"{what}: the precision is float32 or float64, not {short(dtype)}")


def whole(what: str, n: Any, least: int | None = None) -> int:
    """A whole number: Python's, NumPy's, or an array of just one."""
    try:
        if isinstance(n, (bool, np.bool_)):
            raise TypeError
        found = operator.index(n)
    except TypeError:
        raise ConfigError(f"{what} must be a whole number, not {short(n)}") from None
    if least is not None and found < least:
        raise ConfigError(f"{what} must be {least} or more, not {found}")
    return found


def real(what: str, x: Any) -> float:
    """A number as Python's float."""
    try:
        if isinstance(x, (str, bytes)):
            raise TypeError
        return float(x)
    except (TypeError, ValueError):
        raise ConfigError(f"{what} must be a number, not {short(x)}") from None


def choice(what: str, given: Any, there: Sequence[str]) -> None:
    """One of these names."""
    if not isinstance(given, str) or given not in there:
        raise ConfigError(f"{what}: there is no {quoted(given)}{instead(given, there)}")


def rate(what: str, x: Any) -> float:
    """How likely something is: 0 or more and below 1."""
    found = real(what, x)
    if not 0 <= found < 1:
        raise ConfigError(f"{what} must be 0 or more and below 1, not {short(x)}")
    return found


def flag(what: str, given: Any) -> bool:
    """True or False."""
    if isinstance(given, (bool, np.bool_)):
        return bool(given)
    raise ConfigError(f"{what} must be True or False, not {short(given)}")


def wholes(what: str, given: Any, least: int | None = None) -> tuple[int, ...]:
    """Several whole numbers as a tuple; a single one is allowed, too."""
    if isinstance(given, (str, bytes)) or not np.iterable(given):
        return (whole(what, given, least),)
    return tuple(whole(what, n, least) for n in given)


def sizes(what: str, **given: Any) -> None:
    """Each must be a whole number of 1 or more, and one that an array can have."""
    for name, value in given.items():
        if whole(f"{what}: {name}", value, least=1) > LARGEST:
            raise ConfigError(f"{what}: {name} is {value:,}; no array is as long as that")


def tensors(what: str, given: Any) -> list[Any]:
    """The tensors of a list. A single tensor is refused, because it would be taken for the list of its rows."""
    if isinstance(given, Operators):
        raise ConfigError(f"{what}: wanted a list of tensors, not a bare one; write [x]")
    found = several(what, given.values() if isinstance(given, dict) else given)
    for x in found:
        if not isinstance(x, Operators):
            raise ConfigError(f"{what}: wanted a list of tensors; {short(x)} is none")
    return found


def several(what: str, given: Any) -> list[Any]:
    """The items of anything that can be iterated over, as a list."""
    if isinstance(given, (str, bytes)) or not np.iterable(given):
        raise ConfigError(f"{what}: wanted a list, not {short(given)}")
    return list(given)


def alike(given: Any, wanted: Any) -> bool:
    """Whether two NumPy arrays have the shape and precision of each other, and the first may be added to. What
    `require_like` finds, sooner: False where that must look."""
    return (
        type(given) is type(wanted) is np.ndarray
        and given.shape == wanted.shape
        and given.dtype == wanted.dtype
        and given.flags.carray
    )


def require_like(what: str, given: Any, wanted: np.ndarray, contiguous: bool = True) -> None:
    """ShapeError unless `given` has the shape, dtype and device of `wanted`. A kernel that adds to it would otherwise
    read and write beyond its end."""
    if device.of(given) != device.of(wanted) or getattr(given, "shape", None) != wanted.shape:
        raise ShapeError(f"{what} is {_array(given)}, wanted {_array(wanted)}")
    if given.dtype != wanted.dtype or (contiguous and not (given.flags.c_contiguous and given.flags.writeable)):
        raise ShapeError(f"{what} is {_array(given)}, wanted {_array(wanted)}, C-contiguous and writeable")


def _array(given: Any) -> str:
    if not hasattr(given, "dtype"):
        return short(given)
    return f"an array {given.shape} {given.dtype} on {device.of(given)}"


def options_by_place(name: str, forward: Callable[..., Any], inputs: tuple[Any, ...],
                     options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:  # fmt: skip
    """(the inputs, all options by name), for a call that gives options after the inputs. ConfigError if the op cannot
    be called like this."""
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    count = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    # a mask must be given by name: NumPy has the order where(mask, a, b), and a mix-up would go unnoticed
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "mask"]
    behind = dict(zip(names, inputs[count:]))
    if not behind or len(inputs) > count + len(names) or behind.keys() & options.keys():
        refuse_call(name, forward, inputs, options)
    return inputs[:count], behind | options


def in_one_precision(name: str, tensors: Sequence[Any]) -> list[np.ndarray]:
    """The arrays of these tensors in one precision. Data (tensors that need no gradient and were not computed) is
    converted to the precision of the others. ConfigError where the others differ, or where a number is too large."""
    arrays = [tensor.data for tensor in tensors]
    fixed = {x.data.dtype for x in tensors if x.requires_grad or not x.leaf}
    if len(fixed) != 1 or len({array.device for array in arrays}) > 1:
        refuse_mixture(name, arrays)
    (dtype,) = fixed
    with np.errstate(over="ignore"):
        found = [array if array.dtype == dtype else array.astype(dtype) for array in arrays]
    if any(
        device.of(x) == "cpu" and np.isinf(y).sum() > np.isinf(x).sum() for x, y in zip(arrays, found) if x is not y
    ):
        refuse_mixture(name, arrays)
    return found


def refuse_mixture(name: str, arrays: Sequence[np.ndarray]) -> NoReturn:
    """ConfigError for inputs of different precisions or devices: a kernel would misread the bytes of one of them."""
    kinds, places = (", ".join(str(part) for part in parts) for parts in zip(*[(a.dtype, a.device) for a in arrays]))
    if len({array.dtype for array in arrays}) > 1:
        raise ConfigError(f"{name}: inputs must have the same precision, not {kinds}; Tensor(x, dtype=...) sets it")
    raise ConfigError(f"{name}: inputs must be on the same device, not {places}; Module.to(device) moves them")


def refuse_call(name: str, forward: Callable[..., Any], inputs: Sequence[Any], options: dict[str, Any]) -> None:
    """ConfigError if this op cannot be called like this; the message says how it is called."""
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    wanted = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    known = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    least = 1 if many else sum(p.default is p.empty for p in wanted)
    shown = [f"*{p.name}" if p.kind is p.VAR_POSITIONAL else p.name for p in parameters if p.name not in known]
    shown += [f"{p.name}=..." for p in known.values()]
    usage = f"write {name}({', '.join(shown)})"
    if len(inputs) < least or (len(inputs) > len(wanted) and not many):
        count = f"{least} or more inputs" if many else counted(len(wanted), "input")
        raise ConfigError(f"{name} takes {count}, and was given {len(inputs)}; {usage}")
    for option in options:
        if option not in known and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise ConfigError(f"{name} has no option {option!r}; {usage}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ConfigError(f"{name} needs the option {option}; {usage}")


def refuse_loss(loss: Any, is_tensor: bool, records: int, entered: bool) -> None:
    """TapeError that says why nothing can flow back from this loss. records: how many are on the tape; entered: whether
    the tape was ever active."""
    if not is_tensor:
        raise TapeError(f"the loss must be a tensor that was computed on this tape, not {type(loss).__name__}")
    if not entered:
        why = "this tape was never active: compute the loss in `with tape:`"
    elif not loss.requires_grad:
        why = "nothing that it was computed from has requires_grad=True, or it was computed in `with no_tape():`"
    else:
        why = "it was computed outside of `with tape:`, or in that of another tape within it, which records then"
    raise TapeError(f"the loss is not on this tape, which holds {counted(records, 'record')}; {why}")
