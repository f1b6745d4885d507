"""How kernels find the fastest of their configurations: measured once per kind of map, and kept on disk by Triton."""

import os
from collections.abc import Callable

import triton

# One multiprocessor is given several programs, so that some compute while others wait: enough for 132 of them.
PROGRAMS = 1056


def tuned(key: tuple[str, ...], *configs: triton.Config) -> Callable:
    """Decorate a kernel: of ``configs``, the fastest for arguments that share the values of ``key``.

    Triton's interpreter measures nothing and takes the first.
    """
    count = 1 if os.environ.get('TRITON_INTERPRET') == '1' else len(configs)
    return triton.autotune(list(configs[:count]), key=list(key), cache_results=True)


def kind(size: int, width: int) -> int:
    """A number that maps share whose elements and whose widths differ by less than a factor of two most often.

    One measurement does for all of them: detection has images of many sizes.
    """
    return size.bit_length() << 8 | width.bit_length()
