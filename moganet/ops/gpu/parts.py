"""How maps in channels-last are shared out among programs that take positions as they come, without neighbours."""

import triton
import triton.language as tl
from torch import Tensor

from .tuning import PROGRAMS

# Positions and channels that a program has at once, with four warps: sixteen elements per thread.
POSITIONS = 32
CHANNELS = 64
WARPS = 4


@triton.jit
def place(N, C, length, BC: tl.constexpr):
    """This program's image, channels and first position, and the number of its part, of ``length`` of N positions."""
    blocks, parts = tl.cdiv(C, BC), tl.cdiv(N, length)
    program = tl.program_id(0)
    channels = program % blocks * BC + tl.arange(0, BC)
    part = program // blocks
    return part // parts, channels, part % parts * length, part


@triton.jit
def vector(x_ptr, channels, C):
    """A number per channel, (1, BC) in float32."""
    return tl.load(x_ptr + channels, mask=channels < C, other=0).to(tl.float32)[None, :]


def programs(x: Tensor, length: int) -> int:
    """How many there are for ``x`` (B, C, H, W): one per image, ``length`` positions and block of channels."""
    return parts(x, length) * triton.cdiv(x.shape[1], CHANNELS)


def parts(x: Tensor, length: int) -> int:
    batch, _, height, width = x.shape
    return batch * triton.cdiv(height * width, length)


def longest(x: Tensor) -> int:
    """Positions per program where they are summed: the more, the fewer the parts, while programs suffice."""
    length = POSITIONS
    while length < x.shape[2] * x.shape[3] and programs(x, 2 * length) >= PROGRAMS:
        length *= 2
    return length
