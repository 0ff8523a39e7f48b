"""The driver of the card, called directly: memory, copies, launches. Not in the simulator.

    allocate(size, dtype)    Numbers: memory for so many; free(numbers) gives it back, clear(numbers) makes them 0
    Kernel(dispatcher)       a function that Numba compiles, launched by kernel[blocks, threads](*arguments)
    CardError                what the driver answered, in its words

All copies and kernels of this process are queued on one stream, one behind the other: the one that is always there.

Numba compiles the kernels, and no more. Through it a launch took 22 us with two arrays and 82 us with ten (H100), which
is longer than most kernels of a small network run, and an update of a two-layer LSTM is 59 launches. And its arrays on
the card are emptied as soon as a garbage collection finds them in a cycle of references, before the pool in array.py
can take their memory.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import threading
from functools import cache, partial
from typing import Any

import numpy as np

from micrornn.errors import DeviceError

# Of CUresult: cuda.h
OUT_OF_MEMORY, NOT_INITIALIZED, INVALID_CONTEXT = 2, 3, 201
STREAM = 0
SLOT = 8  # bytes for each parameter of a kernel, whatever it needs
FORMATS = {"int64": "q", "uint64": "Q", "float64": "d", "int32": "i4x", "float32": "f4x", "bool": "?7x"}
ARRAY = "7q"  # as Numba hands over an array: nothing, nothing, how many, bytes of each, address, length, stride


class CardError(DeviceError):
    """What the driver answered. code: its number for it."""

    def __init__(self, code: int, said: str):
        super().__init__(f"device cuda: the driver says: {said}")
        self.code = code


@cache
def library() -> Any:
    """The driver, with the types of what is called often."""
    found, pointer, unsigned = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p, ctypes.c_uint
    found.cuLaunchKernel.argtypes = [pointer, *[unsigned] * 7, *[pointer] * 3]
    found.cuLaunchCooperativeKernel.argtypes = [pointer, *[unsigned] * 7, *[pointer] * 2]
    found.cuMemAlloc_v2.argtypes = [pointer, ctypes.c_size_t]
    found.cuMemFree_v2.argtypes = [ctypes.c_uint64]
    found.cuMemcpyHtoD_v2.argtypes = [ctypes.c_uint64, pointer, ctypes.c_size_t]
    found.cuMemcpyDtoH_v2.argtypes = [pointer, ctypes.c_uint64, ctypes.c_size_t]
    found.cuMemcpyDtoDAsync_v2.argtypes = [ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t, pointer]
    found.cuMemsetD8Async.argtypes = [ctypes.c_uint64, ctypes.c_ubyte, ctypes.c_size_t, pointer]
    return found


def call(function: Any, *arguments: Any) -> None:
    """CardError if the driver refuses."""
    code = function(*arguments)
    if code in (NOT_INITIALIZED, INVALID_CONTEXT):  # Numba wakes the card, and makes it known to this thread
        importlib.import_module("numba.cuda").current_context()
        code = function(*arguments)
    if code:
        said = ctypes.c_char_p()
        library().cuGetErrorString(code, ctypes.byref(said))
        raise CardError(code, f"{(said.value or b'an unknown error').decode()} ({code})")


# --- memory ------------------------------------------------------------------------------------------------------


class Numbers:
    """Numbers that lie in a row on the card.

    size, dtype, nbytes    how many, of which type
    x[first:last]          a part of them, in the same memory
    kind, words            type and place, as a kernel is launched with them

    Nothing happens when they are dropped: who has allocated them frees them.
    """

    __slots__ = ("dtype", "kind", "nbytes", "place", "size", "words")

    def __init__(self, place: int, size: int, dtype: np.dtype):
        self.place, self.size, self.dtype, self.kind = place, size, dtype, dtype.char
        self.nbytes = size * dtype.itemsize
        self.words = 0, 0, size, dtype.itemsize, place, size, dtype.itemsize

    def __getitem__(self, part: slice) -> Numbers:
        first, last, _ = part.indices(self.size)
        return Numbers(self.place + first * self.dtype.itemsize, max(last - first, 0), self.dtype)

    def copy_to_device(self, source: Any) -> None:
        """self[...] = source, Numbers or a NumPy array in order, of the same size and type."""
        assert source.size == self.size and source.dtype == self.dtype
        if isinstance(source, Numbers):
            call(library().cuMemcpyDtoDAsync_v2, self.place, source.place, self.nbytes, STREAM)
        else:
            call(library().cuMemcpyHtoD_v2, self.place, source.__array_interface__["data"][0], self.nbytes)

    def copy_to_host(self) -> np.ndarray:
        """A NumPy array of the same numbers; waits for all that was queued before."""
        out = np.empty(self.size, self.dtype)
        call(library().cuMemcpyDtoH_v2, out.ctypes.data, self.place, self.nbytes)
        return out

    @property
    def _numba_type_(self) -> Any:
        return importlib.import_module("numba").typeof(np.empty(0, self.dtype))


def allocate(size: int, dtype: np.dtype) -> Numbers:
    """Memory for so many numbers, at least one. CardError where there is none left."""
    place = ctypes.c_uint64()
    call(library().cuMemAlloc_v2, ctypes.byref(place), size * dtype.itemsize)
    return Numbers(place.value, size, dtype)


def free(numbers: Numbers) -> None:
    """Give allocated memory back, once the card has done all that was queued. At the end of a process there may be no
    card any more, and nobody wants to know."""
    library().cuMemFree_v2(numbers.place)


def clear(numbers: Numbers) -> None:
    """Zero in all bytes. The driver does it sooner than a kernel could be launched."""
    call(library().cuMemsetD8Async, numbers.place, 0, numbers.nbytes, STREAM)


# --- launches ----------------------------------------------------------------------------------------------------


class Kernel:
    """Launched as kernel[blocks, threads](*arguments): Numbers, or numbers of Python or NumPy."""

    def __init__(self, dispatcher: Any):
        self.dispatcher, self.__name__ = dispatcher, dispatcher.__name__
        self.ready: dict[tuple[Any, ...], Any] = {}  # by the types of the arguments
        self.lock = threading.Lock()  # of the buffers

    def __getitem__(self, grid: tuple[Any, Any]) -> Any:
        return partial(self.launch, *grid)

    def launch(self, blocks: Any, threads: Any, *arguments: Any) -> None:
        kinds: list[Any] = []
        values: list[Any] = []
        for argument in arguments:
            if type(argument) is Numbers:
                kinds.append(argument.kind)
                values += argument.words
            else:
                kinds.append(type(argument))
                values.append(argument)
        key = tuple(kinds)
        ready = self.ready.get(key)
        if ready is None:
            ready = self.ready[key] = self._compiled(arguments)
        with self.lock:
            ready((*_three(blocks), *_three(threads)), values)

    def _compiled(self, arguments: tuple[Any, ...]) -> Any:
        """launch(grid and block, values): they are written into one buffer, from which the driver copies."""
        types = tuple(self.dispatcher.typeof_pyval(argument) for argument in arguments)
        compiled = self.dispatcher.compile(types)
        handle = int(compiled._codelibrary.get_cufunc().handle)
        formats = [ARRAY if isinstance(a, Numbers) else FORMATS[str(t)] for a, t in zip(arguments, types)]
        packing = struct.Struct("<" + "".join(formats))
        buffer = ctypes.create_string_buffer(packing.size)
        count, first = packing.size // SLOT, ctypes.addressof(buffer)
        addresses = (ctypes.c_void_p * count)(*(first + SLOT * n for n in range(count)))
        alone, together = library().cuLaunchKernel, library().cuLaunchCooperativeKernel
        start, rest = (together, ()) if compiled.cooperative else (alone, (None,))

        def launch(sizes: tuple[int, ...], values: list[Any]) -> None:
            packing.pack_into(buffer, 0, *values)
            call(start, handle, *sizes, 0, STREAM, addresses, *rest)

        return launch


def _three(sizes: Any) -> tuple[int, ...]:
    """Of a grid or a block: Numba takes fewer, and a number for a tuple of one."""
    return (*sizes, 1, 1)[:3] if isinstance(sizes, tuple) else (sizes, 1, 1)
