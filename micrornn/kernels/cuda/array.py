"""Arrays in the memory of a graphics card, as far as ops need them: shapes, views, copies. No arithmetic.

    Array             what an op holds in the place of a NumPy array
    empty, full, zeros, asarray, contiguous, spread    the same names as in kernels/host.py
    Array.flat        the numbers as the flat array that a kernel takes
    Array.get()       a copy in the machine's memory; waits until all that was queued before is done

Which numbers a view takes from its memory is told by a NumPy array of the same shape, its `layout`: NumPy does the
slicing, turning and broadcasting of it, and only its shape, strides and address are ever read. All memory begins where
BEGIN does; there is nothing behind it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from micrornn.errors import DeviceError
from micrornn.kernels.cuda import card
from micrornn.kernels.cuda.driver import OUT_OF_MEMORY, CardError
from micrornn.kernels.cuda.jit import allocate, clear, cuda, free, kernel, over
from micrornn.pool import Idle

MOST_AXES = 5  # of a view that is copied
BEGIN = np.empty(1, np.complex128)
FIRST = BEGIN.ctypes.data
INDEXES = (int, np.integer, slice, type(None), type(...))


class Pool:
    """Memory that is used again instead of being given back. All work is queued on one stream, in order: so memory
    that Python has dropped may be handed out again at once, whatever the card is still to do with it."""

    def __init__(self) -> None:
        self.idle = Idle(free=free)

    def take(self, size: int, dtype: np.dtype) -> Memory:
        """Room for so many numbers."""
        size = max(size, 1)
        numbers = self.idle.take(size * dtype.itemsize, dtype)
        try:
            return Memory(self, self._allocate(size, dtype) if numbers is None else numbers)
        except BaseException:
            self.idle.used -= size * dtype.itemsize
            raise

    def _allocate(self, size: int, dtype: np.dtype) -> Any:
        if self.idle.most == math.inf:
            self.idle.most = card.memory()[1] // 2
        for _ in range(2):
            try:
                return allocate(size, dtype)
            except CardError as error:
                if error.code != OUT_OF_MEMORY:
                    raise
            self.idle.release()
        available, total = card.memory()
        raise DeviceError(
            f"device cuda is out of memory: {_bytes(size * dtype.itemsize)} were asked for, {_bytes(available)} of "
            f"{_bytes(total)} are free\nlower `batch_size`, `num_steps` or `hidden_size`"
        )


def _bytes(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{n / 1e6:,.1f} MB"


class Memory:
    """Numbers on the card, on loan from a pool until the last array that looks at them is gone."""

    __slots__ = ("numbers", "pool", "writes")

    def __init__(self, pool: Pool, numbers: Any):
        self.pool, self.numbers = pool, numbers
        self.writes = 0  # by `x[index] = value`; a tape looks at it to see whether what it needs has changed

    def __del__(self) -> None:
        self.pool.idle.put(self.numbers, self.numbers.nbytes, self.numbers.dtype)


pool = Pool()


class Array:
    """A view of numbers on the card.

    shape, dtype, ndim, size, itemsize, nbytes, flags, len()     as NumPy has them
    reshape, transpose, x[index], x[index] = number or array     as NumPy has them; views, not copies
    """

    __slots__ = ("__weakref__", "_flat", "layout", "memory")
    device = "cuda"  # as NumPy's arrays say "cpu"
    __array_ufunc__ = None  # NumPy must not try to compute with it

    def __init__(self, memory: Memory, layout: np.ndarray):
        self.memory, self.layout, self._flat = memory, layout, None

    shape = property(attrgetter("layout.shape"))
    dtype = property(attrgetter("layout.dtype"))
    ndim = property(attrgetter("layout.ndim"))
    size = property(attrgetter("layout.size"))
    itemsize = property(attrgetter("layout.itemsize"))
    nbytes = property(attrgetter("layout.nbytes"))
    flags = property(attrgetter("layout.flags"))

    @property
    def offset(self) -> int:
        """Where in its memory the first number lies."""
        return (self.layout.ctypes.data - FIRST) // self.layout.itemsize

    @property
    def flat(self) -> Any:
        """The numbers as a flat array, as kernels take it. They must lie in order."""
        if self._flat is None:
            if not self.layout.flags.c_contiguous:
                raise ValueError(f"an array of shape {self.shape} whose numbers do not lie in order")
            size, numbers = self.layout.size, self.memory.numbers
            self._flat = numbers if size == numbers.size else numbers[self.offset : self.offset + size]
        return self._flat

    def __len__(self) -> int:
        return len(self.layout)

    def __repr__(self) -> str:
        return f"Array({self.get()!r} on cuda)"

    def reshape(self, *shape: Any) -> Array:
        """The same numbers in another shape."""
        if not self.layout.flags.c_contiguous:
            return contiguous(self).reshape(*shape)
        return Array(self.memory, self.layout.reshape(*shape))

    def transpose(self, *axes: Any) -> Array:
        """A view with its axes in another order."""
        return Array(self.memory, self.layout.transpose(*axes))

    def __getitem__(self, index: Any) -> Array:
        parts = index if isinstance(index, tuple) else (index,)
        for part in parts:  # of an index array NumPy would make a copy, and a copy of the layout leads nowhere
            if not isinstance(part, INDEXES):
                raise TypeError(f"an array on the card is indexed by integers and slices, not by {part!r}")
        if Ellipsis not in parts:
            parts = (*parts, ...)  # with it, NumPy gives a view even of a single number
        return Array(self.memory, self.layout[parts])

    def __setitem__(self, index: Any, value: Any) -> None:
        target = self[index]
        self.memory.writes += 1
        if isinstance(value, Array):
            _copy(target, value)
        elif np.ndim(value) == 0:
            _fill(target, value)
        else:
            _copy(target, asarray(value, self.dtype))

    def copy(self) -> Array:
        """The same numbers in memory of their own."""
        out = empty(self.shape, self.dtype)
        _copy(out, self)
        return out

    def get(self) -> np.ndarray:
        """A NumPy array of the same numbers. Waits for all that was queued before."""
        view = contiguous(self)
        if not view.size:
            return np.empty(self.shape, self.dtype)
        return np.asarray(view.flat.copy_to_host()).reshape(self.shape)

    def item(self) -> Any:
        """The number of an array that holds just one."""
        return self.get().item()

    def __float__(self) -> float:
        return float(self.item())

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("this array is on the graphics card; device.host(array) copies it")


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of undefined numbers."""
    layout = _layout(tuple(shape), np.dtype(dtype))
    return Array(pool.take(layout.size, layout.dtype), layout)


@lru_cache(1000)
def _layout(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Of numbers that lie in order, from the beginning of their memory."""
    return as_strided(BEGIN.view(dtype), (math.prod(shape),), (dtype.itemsize,)).reshape(shape)


def full(shape: tuple[int, ...], value: float, dtype: Any) -> Array:
    """An array of the same number."""
    out = empty(shape, dtype)
    _fill(out, value)
    return out


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of zeros."""
    return full(shape, 0, dtype)


def asarray(array: Any, dtype: Any = None) -> Array:
    """The numbers of a NumPy array on the card; an Array as it is."""
    if isinstance(array, Array):
        return array
    array = np.asarray(array, dtype, order="C")
    out = empty(array.shape, array.dtype)
    if array.size:
        out.flat.copy_to_device(array.reshape(-1))
    return out


def contiguous(view: Array) -> Array:
    """The array itself if its numbers lie in order, else a copy in which they do."""
    return view if view.layout.flags.c_contiguous else view.copy()


def spread(array: Array, shape: tuple[int, ...]) -> Array:
    """The array repeated to this shape by the rules of broadcasting; itself if it has it already."""
    if array.shape == shape:
        return array
    return Array(array.memory, np.broadcast_to(array.layout, shape)).copy()


# --- copying -------------------------------------------------------------------------------------------------


@kernel
def _fill_flat(out, value):
    for i in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        out[i] = value


@kernel
def _copy_view(out, out_at, x, x_at, n1, n2, n3, n4, o0, o1, o2, o3, o4, x0, x1, x2, x3, x4, count):
    """Any view into any other of the same five axes: n their lengths, o and x their strides in numbers."""
    for i in range(cuda.grid(1), count, cuda.gridsize(1)):
        rest, i4 = i // n4, i % n4
        rest, i3 = rest // n3, rest % n3
        rest, i2 = rest // n2, rest % n2
        i0, i1 = rest // n1, rest % n1
        out[out_at + i0 * o0 + i1 * o1 + i2 * o2 + i3 * o3 + i4 * o4] = x[
            x_at + i0 * x0 + i1 * x1 + i2 * x2 + i3 * x3 + i4 * x4
        ]


def _fill(out: Array, value: Any) -> None:
    if not out.size:
        return
    value = out.dtype.type(value)
    if not out.layout.flags.c_contiguous:
        _copy(out, full((), value, out.dtype))
    elif any(value.tobytes()):
        _fill_flat[over(out.size)](out.flat, value)
    else:
        clear(out.flat)


def _copy(out: Array, x: Array) -> None:
    """out[...] = x, by the rules of broadcasting; both of one type."""
    if not out.size:
        return
    if out.dtype != x.dtype:
        raise TypeError(f"a copy from {x.dtype} to {out.dtype}")
    if out.shape == x.shape and out.layout.flags.c_contiguous and x.layout.flags.c_contiguous:
        out.flat.copy_to_device(x.flat)
        return
    source = np.broadcast_to(x.layout, out.shape)
    missing = MOST_AXES - out.ndim
    if missing < 0:
        raise ValueError(f"a copy of an array with {out.ndim} axes; at most {MOST_AXES} can be")
    sizes = [1] * missing + list(out.shape)
    strides = [[0] * missing + [stride // out.itemsize for stride in layout.strides] for layout in (out.layout, source)]
    _copy_view[over(out.size)](
        out.memory.numbers, out.offset, x.memory.numbers, x.offset, *sizes[1:], *strides[0], *strides[1], out.size
    )
