"""The kernels for NVIDIA graphics cards, compiled by Numba. Names and parameters are those of reference.py.

Importing this package imports Numba's `cuda`; nothing is compiled before it is first launched.
"""

from micrornn.kernels.cuda.elementwise import LIFTED, lifted
from micrornn.kernels.cuda.jit import cache_dir
from micrornn.kernels.cuda.product import add_bias, matmul
from micrornn.kernels.cuda.reduce import max, max_vjp, sum, sum_of_squares
from micrornn.kernels.cuda.rows import (
    cross_entropy,
    cross_entropy_vjp,
    log_softmax,
    log_softmax_vjp,
    matvec,
    softmax,
    softmax_vjp,
)
from micrornn.kernels.cuda.sequence import cell_sequence, cell_sequence_vjp, cell_step
from micrornn.kernels.cuda.tables import gather, scatter_add

globals().update(LIFTED)  # add, exp, ...: what formulas.py tells
