"""GELU and SiLU in Triton kernels, in float32."""

import triton
import triton.language as tl


@triton.jit
def beyond(size, EXACT: tl.constexpr):
    """The share of the normal distribution beyond ``size`` >= 0: 2 to the power of a polynomial, which falls for ever.

    The polynomials are minimax fits of the share, and of its product with ``size``: they err by 7e-7, less than numbers
    of 16 bits resolve, or, EXACT, by less than the rounding of float32.
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
def gelu(x, EXACT: tl.constexpr):
    """EXACT: see ``beyond``."""
    size = tl.abs(x)
    return tl.maximum(x, 0.0) - size * beyond(size, EXACT)


@triton.jit
def slack(x):
    """1 + exp(-x): what SiLU divides by."""
    return 1 + tl.exp2(x * -1.4426950408889634)


@triton.jit
def over(x, y):
    """x / y for y of 1 or more, in three instructions: those of a division, or of exp, are more than a GPU has time for
    while it waits for memory. An infinite y gives 0.
    """
    root = tl.rsqrt(y)
    return x * root * root


@triton.jit
def silu(x):
    return over(x, slack(x))
