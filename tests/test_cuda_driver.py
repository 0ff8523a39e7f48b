"""What is handed to the driver of a card: a stand-in for its library, in this machine's memory, looks at it."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

from micrornn.kernels.cuda import driver
from micrornn.kernels.cuda.driver import CardError, Kernel, Numbers, allocate, call, clear, free


class Library:
    """Memory and copies as they should be; a launch is kept: what was called, how, and the parameters' bytes."""

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.launches: list[Any] = []
        self.refuse = 0  # this many times, with
        self.code = driver.INVALID_CONTEXT

    def _answer(self) -> int:
        self.refuse -= 1
        return self.code if self.refuse >= 0 else 0

    def cuMemAlloc_v2(self, out: Any, size: int) -> int:
        code = self._answer()
        if not code:
            block = ctypes.create_string_buffer(size)
            self.blocks[ctypes.addressof(block)] = block
            out._obj.value = ctypes.addressof(block)
        return code

    def cuMemFree_v2(self, place: int) -> int:
        del self.blocks[place]
        return 0

    def cuMemcpyHtoD_v2(self, to: int, source: int, size: int, *_: Any) -> int:
        ctypes.memmove(to, source, size)
        return 0

    cuMemcpyDtoH_v2 = cuMemcpyDtoDAsync_v2 = cuMemcpyHtoD_v2

    def cuMemsetD8Async(self, place: int, byte: int, size: int, _: int) -> int:
        ctypes.memset(place, byte, size)
        return 0

    def cuGetErrorString(self, code: int, out: Any) -> int:
        out._obj.value = b"no room"
        return 0

    def cuLaunchKernel(self, *given: Any) -> int:
        self.launches.append((given[:9], [ctypes.string_at(place, 8) for place in given[9]], given[10:]))
        return self._answer()

    def cuLaunchCooperativeKernel(self, *given: Any) -> int:
        return self.cuLaunchKernel(*given, "together")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(driver, "library", lambda: found)
    return found


def kernel(cooperative: bool = False) -> tuple[Kernel, list[Any]]:
    """One that counts what it is compiled for."""
    compiled: list[Any] = []

    def compile(types: Any) -> Any:
        compiled.append(types)
        code = SimpleNamespace(get_cufunc=lambda: SimpleNamespace(handle=77))
        return SimpleNamespace(_codelibrary=code, cooperative=cooperative)

    return Kernel(SimpleNamespace(__name__="some", typeof_pyval=numba.typeof, compile=compile)), compiled


def test_numbers_go_there_and_back_and_parts_lie_in_the_whole(library: Library) -> None:
    x, y = allocate(5, np.dtype("f4")), allocate(2, np.dtype("f4"))
    x.copy_to_device(np.arange(5, dtype="f4"))
    assert x[1:4].copy_to_host().tolist() == [1, 2, 3] and x[4:2].size == 0
    y.copy_to_device(x[3:5])
    assert y.copy_to_host().tolist() == [3, 4]
    clear(x[1:3])
    assert x.copy_to_host().tolist() == [0, 0, 0, 3, 4]
    with pytest.raises(AssertionError):
        x.copy_to_device(np.zeros(5))  # float64
    free(x)
    free(y)
    assert not library.blocks


def test_each_parameter_stands_where_the_driver_looks_for_it(library: Library) -> None:
    launch, compiled = kernel()
    x: Numbers = allocate(6, np.dtype("f8"))
    given = (x[2:5], 7, -7, True, np.float32(1.5), 2.5, np.uint64(2**63), np.int32(-3))
    launch[(4, 2), 64](*given)
    launch[9, (32, 2)](*given)
    launch[9, 32](x, *given[1:])
    assert [str(t) for t in compiled[0][1:]] == ["int64", "int64", "bool", "float32", "float64", "uint64", "int32"]
    assert len(compiled) == 1 and compiled[0][0] == numba.types.Array(numba.float64, 1, "C")
    (how, words, rest), second, whole = library.launches
    assert how == (77, 4, 2, 1, 64, 1, 1, 0, 0) and rest == (None,) and second[0][:7] == (77, 9, 1, 1, 32, 2, 1)
    assert [int.from_bytes(w, "little") for w in words[:7]] == [0, 0, 3, 8, x.place + 16, 3, 8]
    assert [int.from_bytes(w, "little") for w in whole[1][:7]] == [0, 0, 6, 8, x.place, 6, 8]
    kinds = ["<i8", "<i8", "?", "<f4", "<f8", "<u8", "<i4"]
    read = [np.frombuffer(word, kind)[0] for word, kind in zip(words[7:], kinds)]
    assert read == list(given[1:])
    launch[1, 1](x, 7.0, *given[2:])
    assert len(compiled) == 2  # for another type


def test_blocks_that_meet_are_launched_together(library: Library) -> None:
    launch, _ = kernel(cooperative=True)
    launch[1, 32](1)
    assert library.launches[0][2] == ("together",)


def test_a_thread_that_does_not_know_the_card_is_told_of_it(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    module = SimpleNamespace(current_context=lambda: woken.append(1))
    monkeypatch.setattr(driver.importlib, "import_module", lambda name: module)
    library.refuse = 1
    assert allocate(3, np.dtype("f4")).size == 3 and woken == [1]
    library.refuse, library.code = 2, driver.OUT_OF_MEMORY
    with pytest.raises(CardError, match=r"device cuda: the driver says: no room \(2\)") as told:
        call(library.cuMemAlloc_v2, ctypes.byref(ctypes.c_uint64()), 3)
    assert told.value.code == driver.OUT_OF_MEMORY and woken == [1]
