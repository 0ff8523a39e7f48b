"""Kernels in a forked process: what the threads did, one thread does.

install()    called once, before the first parallel kernel is linked

Threads do not survive a fork, and GNU OpenMP, which Numba starts them with on Linux, ends a forked process that asks
for them: a pool of processes then waits for ever. So parallel kernels go through a function of ours, which calls
OpenMP as long as no fork has happened; in a forked process it runs all parts one after the other, which gives the same
numbers. A process that is started anew (the start methods "spawn" and "forkserver" of multiprocessing) has its threads.
"""

from __future__ import annotations

import ctypes
import os

import llvmlite.binding as llvm
from numba.np.ufunc import parallel

from micrornn.errors import ConfigError

SYMBOL = "numba_parallel_for"  # what compiled kernels call: (function, arguments, sizes, strides, data, ...)
TEXT = """
@forked = global i32 0

define void @parallel_for(ptr %function, ptr %arguments, ptr %sizes, ptr %strides, ptr %data,
                          i64 %inner, i64 %count, i64 %threads) {{
  %flag = load i32, ptr @forked
  %alone = icmp ne i32 %flag, 0
  br i1 %alone, label %one, label %all
one:
  call void %function(ptr %arguments, ptr %sizes, ptr %strides, ptr %data)
  ret void
all:
  %pool = inttoptr i64 {address} to ptr
  call void %pool(ptr %function, ptr %arguments, ptr %sizes, ptr %strides, ptr %data,
                  i64 %inner, i64 %count, i64 %threads)
  ret void
}}
"""
_engines: list[llvm.ExecutionEngine] = []  # the compiled function lives as long as they do


def install() -> None:
    """Start Numba's threads, and put the function above before them where they do not stand a fork."""
    try:
        parallel._launch_threads()
    except ValueError as error:
        words = " ".join(str(error).split())
        raise ConfigError(f"Numba starts no threads: {words} (variables NUMBA_THREADING_LAYER...)") from None
    if _engines or parallel._threading_layer != "omp" or not hasattr(os, "register_at_fork"):
        return
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    pool = llvm.address_of_symbol(SYMBOL)
    module = llvm.parse_assembly(TEXT.format(address=pool))
    engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
    engine.finalize_object()
    flag = ctypes.c_int32.from_address(engine.get_global_value_address("forked"))
    llvm.add_symbol(SYMBOL, engine.get_function_address("parallel_for"))
    _engines.append(engine)

    def alone() -> None:
        flag.value = 1

    os.register_at_fork(after_in_child=alone)
