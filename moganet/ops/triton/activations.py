"""GELU, SiLU and their parts for Triton kernels, in float32."""

import triton
import triton.language as tl


@triton.jit
def normal_tail(size, EXACT: tl.constexpr):
    """Return the probability that a normal variable exceeds ``size`` >= 0, as 2 to the power of a polynomial.

    The polynomials are minimax fits of the probability, and of its product with ``size``. Their values fall without
    end, so that the probability of a large ``size`` is 0. The short one errs by 7e-7, less than numbers of 16 bits
    resolve. The EXACT one errs by less than float32 rounds.
    """
    if EXACT:
        power = -0.00016293465 + size * (3.40646527e-5 - size * 2.36103397e-6)
        power = -0.0525290468 + size * (0.00712087158 + size * (-0.000187467772 + size * power))
        power = -1.0 + size * (-1.15110581 + size * (-0.459199974 + size * power))
    else:
        power = -0.052388066 + size * (0.00730067841 - size * 0.000502870159)
        power = -1.0 + size * (-1.15107016 + size * (-0.459368182 + size * power))
    return tl.exp2(power)


@triton.jit
def normal_cdf(x):
    """Return the probability that a normal variable is below x, by which GELU multiplies x."""
    return 0.5 * (1 + tl.erf(x * 0.7071067811865476))


@triton.jit
def gelu(x, EXACT: tl.constexpr):
    """Return GELU(x); ``normal_tail`` explains EXACT."""
    size = tl.abs(x)
    return tl.maximum(x, 0.0) - size * normal_tail(size, EXACT)


@triton.jit
def silu_denominator(x):
    """Return 1 + exp(-x), by which SiLU divides x."""
    return 1 + tl.exp2(x * -1.4426950408889634)


@triton.jit
def divide(x, y):
    """Return x / y for y of 1 or more, and 0 for an infinite y.

    This takes three instructions. A division takes more than a GPU can hide behind its memory accesses.
    """
    root = tl.rsqrt(y)
    return x * root * root


@triton.jit
def silu(x):
    """Return SiLU(x)."""
    return divide(x, silu_denominator(x))


@triton.jit
def silu_derivative(x):
    """Return the derivative of SiLU at x."""
    sigmoid = tl.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))
