"""exp, tanh and sigmoid of one number, in a form that LLVM turns into vector code.

`math.tanh` is a library call of 10-14 ns a number and stops every loop around it from being vectorised. The
float32 forms here are a few multiplications and one division: 0.1-0.3 ns a number. float64 is for checking
gradients, where the last bit matters more than speed, and calls the library.

    float32 tanh     rational, degree 13 over 6, |error| < 4e-7   (coefficients: Eigen's ptanh)
    float32 sigmoid  (1 + tanh(x / 2)) / 2,      |error| < 2e-7
    float32 exp      2^n times a polynomial of degree 6 (Cephes expf), relative error < 3e-7
    float32 quick_log   an odd polynomial of degree 9, relative error < 3e-7; -inf below 1.2e-38
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, float32, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from micrornn.kernels import maths
from micrornn.kernels.cpu.jit import kernel

f = np.float32  # a bare literal is a float64 and would pull the whole expression up with it
ZERO, ONE = f(0), f(1)  # for kernels of either precision: beside a float64 it is widened, and loses nothing

_LIMIT = f(7.90531110763549805)
_A1, _A3, _A5 = f(4.89352455891786e-03), f(6.37261928875436e-04), f(1.48572235717979e-05)
_A7, _A9, _A11 = f(5.12229709037114e-08), f(-8.60467152213735e-11), f(2.00018790482477e-13)
_A13 = f(-2.76076847742355e-16)
_B0, _B2 = f(4.89352518554385e-03), f(2.26843463243900e-03)
_B4, _B6 = f(1.18534705686654e-04), f(1.19825839466702e-06)


def _same_bits(kind: Any) -> Any:
    @intrinsic
    def cast(typing, number):
        def generate(context, builder, signature, args):
            return builder.bitcast(args[0], context.get_value_type(kind))

        return kind(number), generate

    return cast


_float_from_bits, _bits_of_float = _same_bits(float32), _same_bits(types.int32)  # by IEEE's pattern


@kernel
def reciprocal32(x):
    """1 / x of a float32 between 1e-30 and 1e30, relative error < 2e-7.

    A division takes 16 cycles, in which 32 fused multiply-adds could start. Turning the sign of the exponent, with
    one subtraction from the bits, is right to 12 %; each of Newton's steps squares the error: 1e-2, 2e-4, 5e-8.
    """
    y: Any = _float_from_bits(np.int32(np.int32(0x7EF311C3) - _bits_of_float(x)))
    y = y * (f(2) - x * y)
    y = y * (f(2) - x * y)
    return y + y * (f(1) - x * y)


@kernel
def tanh32(x):
    """tanh of a float32."""
    x = min(max(x, -_LIMIT), _LIMIT) if x == x else x  # NaN stays NaN
    s = x * x
    top = s * (s * (s * (s * (s * (s * _A13 + _A11) + _A9) + _A7) + _A5) + _A3) + _A1
    return x * top * reciprocal32(s * (s * (s * _B6 + _B4) + _B2) + _B0)


@kernel
def sigmoid32(x):
    """1 / (1 + exp(-x)) of a float32."""
    return f(0.5) * tanh32(f(0.5) * x) + f(0.5)


_LOG2E, _LN2_HIGH, _LN2_LOW = f(1.44269504088896341), f(0.693359375), f(-2.12194440e-4)
_E0, _E1, _E2 = f(1.9875691500e-4), f(1.3981999507e-3), f(8.3334519073e-3)
_E3, _E4, _E5 = f(4.1665795894e-2), f(1.6666665459e-1), f(5.0000001201e-1)
_EXP_LOW, _EXP_HIGH = f(-87.33654), f(88.72283)


@kernel
def exp32(x):
    """exp of a float32; 0 below -87.3, inf above 88.7."""
    y = min(max(x, _EXP_LOW), _EXP_HIGH) if x == x else f(0)  # NaN must not reach the shift below
    n = np.floor(y * _LOG2E + f(0.5))
    r = y - n * _LN2_HIGH - n * _LN2_LOW  # ln 2 in two parts, so that the remainder loses no digits
    p = (((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5) * r * r + r + f(1)
    half = np.int32(n) >> np.int32(1)  # 2^n in two factors: 2^128 itself is no float32
    rest = np.int32(n) - half
    p = p * _float_from_bits(np.int32((half + np.int32(127)) << np.int32(23)))
    p = p * _float_from_bits(np.int32((rest + np.int32(127)) << np.int32(23)))
    p = f(0) if x < _EXP_LOW else p
    p = f(np.inf) if x > _EXP_HIGH else p
    return p if x == x else x


_HALF_ROOT = np.int32(0x3F3504F3)  # the bits of sqrt(1/2)
_NORMAL, _LARGEST = np.finfo(f).tiny, np.finfo(f).max


@kernel
def log32(x):
    """log of a float32: n ln 2 + log m, where m in 0.7..1.4 has the series 2 artanh((m - 1) / (m + 1))."""
    n = (_bits_of_float(x) - _HALF_ROOT) >> np.int32(23)
    m: Any = _float_from_bits(np.int32(_bits_of_float(x) - (n << np.int32(23))))
    s = (m - f(1)) / (m + f(1))
    q = s * s
    series = q * (q * (q * (q * f(1 / 9) + f(1 / 7)) + f(1 / 5)) + f(1 / 3))
    y = f(n) * _LN2_HIGH + (f(n) * _LN2_LOW + f(2) * (s + s * series))
    y = -f(np.inf) if x < _NORMAL else y
    y = f(np.nan) if x < f(0) else y
    return y if x <= _LARGEST else x  # inf and NaN stay what they are


bits = kernel(maths.bits)


@kernel
def clipped(x, limit):
    return min(max(x, -limit), limit)


@intrinsic
def _maxnum(typing, a, b):
    """LLVM's own maximum of two numbers, with leave to ignore NaN: a comparison with a choice behind it is never
    made vector code."""

    def generate(context, builder, signature, args):
        kind = args[0].type
        name = "llvm.maxnum.f32" if signature.return_type == float32 else "llvm.maxnum.f64"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, kind]), name)
        return builder.call(function, args, fastmath=("nnan", "nsz"))

    return a(a, a), generate


# Python's own functions raise an error where compiled ones give inf or NaN.
log, sqrt = (np.log, np.sqrt) if config.DISABLE_JIT else (math.log, math.sqrt)
larger = max if config.DISABLE_JIT else _maxnum  # of two numbers that are not NaN


# Which form a kernel gets is settled by the type of its number, when it is compiled. Under
# NUMBA_DISABLE_JIT=1 nothing is compiled, and the bodies of these four functions are what runs.


def tanh(x):
    return np.tanh(x)


def exp(x):
    return np.exp(x)


def quick_log(x):
    """For cells. Elsewhere the library's `log` stays, for the bits of older runs."""
    return np.log(x)


def sigmoid(x):
    e = np.exp(-abs(x))  # never exp of a positive number, so it cannot overflow
    return 1.0 / (1.0 + e) if x >= 0 else e / (1.0 + e)


def _by_precision(plain: Any, single: Any, double: Any) -> None:
    @overload(plain)
    def chosen(x):
        return (lambda x: single(x)) if x == float32 else (lambda x: double(x))


_by_precision(tanh, tanh32, math.tanh)
_by_precision(exp, exp32, math.exp)
_by_precision(quick_log, log32, math.log)
_by_precision(sigmoid, sigmoid32, kernel(sigmoid))
