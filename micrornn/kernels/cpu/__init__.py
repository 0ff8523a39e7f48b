"""The kernels for the processor, compiled by Numba. Names and parameters are those of reference.py.

Importing this package imports Numba (0.4 s); nothing is compiled before it is first called.
"""

from micrornn.kernels.cpu.elementwise import LIFTED, lifted
from micrornn.kernels.cpu.jit import cache_dir
from micrornn.kernels.cpu.product import add_bias, matmul, matvec
from micrornn.kernels.cpu.reduce import (
    cross_entropy,
    cross_entropy_vjp,
    gather,
    log_softmax,
    log_softmax_vjp,
    max,
    max_vjp,
    scatter_add,
    softmax,
    softmax_vjp,
    sum,
    sum_of_squares,
)  # fmt: skip
from micrornn.kernels.cpu.sequence import cell_sequence, cell_sequence_vjp, cell_step
from micrornn.kernels.cpu.threads import set_threads

globals().update(LIFTED)  # add, exp, ...: what formulas.py tells
