"""A window of data that a model is run over, whatever its task: what goes in, what is wanted, and the state before it.

Window           all of that
one_by_one       all windows that a measure looks at
piece_of         some lanes of a window, and of its time steps
of_one_length    windows with padding, made as long as the longest sequence
mask_of          which time steps of a window are no padding
length_of        how long the longest sequence of a window with padding is
lanes_of         how many sequences a window with padding holds
recurrents_of    the recurrent parts of a model by name; ConfigError if it has none
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from micrornn import device
from micrornn.data import Padded
from micrornn.errors import ConfigError
from micrornn.parameters import Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Tensor


@dataclass(frozen=True)
class Window:
    """inputs, targets: as the task has them, such as int32 (seq_len, batch_size). state: what was read before has left,
    None for the initial one."""

    inputs: Any
    targets: Any
    state: tuple[Tensor, ...] | None


def one_by_one(what: str, windows: Iterable[Window], progress: Callable[[int, int], Any] | None) -> Iterator[Window]:
    """All windows; progress(done, total) hears when each has been looked at. ConfigError where a measure gets none."""
    windows = list(windows)
    if not windows:
        raise ConfigError(f"{what}: there is no window to look at")
    for done, window in enumerate(windows, 1):
        yield window
        if progress is not None:
            progress(done, len(windows))


def piece_of(window: Window, lanes: slice, steps: slice = slice(None)) -> Window:
    """Some lanes of a window that was cut out of a longer sequence, and of its time steps from the first on."""
    state = None
    if window.state is not None:
        state = tuple(Tensor(part.data[:, lanes].copy()) for part in window.state)
    inputs, targets = (np.ascontiguousarray(part[steps, lanes]) for part in (window.inputs, window.targets))
    return Window(inputs, targets, state)


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """What a task gives, with `change` of each array in it; one with padding counts as one."""
    if isinstance(value, tuple | list) and not isinstance(value, Padded):
        parts = [_changed(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return change(value)


def _leaves(*values: Any) -> list[Any]:
    """The arrays in it, those with padding as they are."""
    found: list[Any] = []
    _changed(values, found.append)
    return found


def _masks(window: Window) -> list[np.ndarray]:
    """(T, B) of each array with padding."""
    return [leaf.mask for leaf in _leaves(window.inputs, window.targets) if isinstance(leaf, Padded)]


def mask_of(window: Window, shape: tuple[int, int]) -> np.ndarray | None:
    """Which time steps (T, B) of that shape are no padding: as the targets have it, else the inputs. None: all are."""
    for leaf in _leaves(window.targets, window.inputs):
        if isinstance(leaf, Padded) and leaf.mask.shape == shape:
            return None if leaf.mask.all() else np.asarray(leaf.mask, bool)
    return None


def of_one_length(windows: Sequence[Window]) -> list[Window]:
    """The same windows, where they hold padding: all as long as the longest of their sequences."""
    rows = [_leaves(window.inputs, window.targets) for window in windows]
    padded = [n for n, leaf in enumerate(rows[0]) if isinstance(leaf, Padded)] if rows else []
    if not padded:
        return list(windows)
    kept = {}  # of each array with padding: the time steps at which any sequence is no padding
    for n in padded:
        size = max(len(row[n].mask) for row in rows)
        there = np.any([_longer(row[n].mask, size).any(axis=1) for row in rows], axis=0)
        kept[n] = size, np.flatnonzero(there) if there.any() else np.arange(size)

    def fitted(row: list[Any], leaf: Any) -> Any:
        """Like the array that it lies beside, if it has a number for each of its time steps."""
        for n in padded:
            if leaf is row[n]:
                return Padded(*(_longer(np.asarray(part), kept[n][0])[kept[n][1]] for part in leaf))
            if np.shape(leaf)[:2] == row[n].mask.shape:
                return _longer(np.asarray(leaf), kept[n][0])[kept[n][1]]
        return leaf

    found = []
    for window, row in zip(windows, rows):
        inputs, targets = _changed((window.inputs, window.targets), partial(fitted, row))
        found.append(Window(inputs, targets, window.state))
    return found


def length_of(window: Window) -> int:
    """Time steps of the longest sequence of a window with padding; 0 of one without."""
    return max((int(mask.sum(axis=0).max()) for mask in _masks(window)), default=0)


def lanes_of(window: Window) -> int | None:
    """How many sequences a window with padding holds; None where that is not known: as many as was asked for."""
    masks = _masks(window)
    return int(masks[0].shape[1]) if masks else None


def _longer(array: np.ndarray, size: int) -> np.ndarray:
    more = np.zeros((size - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, more])


def recurrents_of(model: Module) -> dict[str, Recurrent]:
    """The recurrent parts of a model by name, that which the outputs are read from last: those that it names itself as
    `rnns`, else its attributes. ConfigError if there are none: nothing flows through time then."""
    parts = getattr(model, "rnns", None) or vars(model)
    found = {"": model} if isinstance(model, Recurrent) else {}
    found |= {name: part for name, part in parts.items() if isinstance(part, Recurrent)}
    if not found:
        raise ConfigError(
            f"{type(model).__name__} has no recurrent layer: no gradient flows through time in it; "
            "`micrornn eval` judges it"
        )
    if any(device.of(weight.data) != "cpu" for rnn in found.values() for weight in rnn.weights.values()):
        raise ConfigError("a model on a graphics card is inspected as a copy: model.copy(device='cpu')")
    return found
