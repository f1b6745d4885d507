"""Autotuning and launching of kernels, without the work that Triton does before each launch.

Triton measures the configurations of a kernel once per size bucket and keeps the fastest on disk. ``launch`` keeps
the compiled kernel and its grid for one set of shapes, types and alignments as a plan: Triton's own search takes longer
than most of these kernels, in every launch.
"""

import os
import threading
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

# Programs that fill a GPU: several for each of 132 multiprocessors, so that some compute while others wait.
TARGET_PROGRAMS = 1056
# Plans kept at most. Detection has images of many sizes.
MAX_PLANS = 1 << 14
# Triton compiles for addresses that are multiples of this, or for any.
ALIGNMENT = 16

# Launches without a search, by kernel, device, integers, constants, grid and types of the tensors.
plans: dict[tuple, Callable] = {}
_planning = threading.Lock()


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up, in a tenth of the time of ``triton.cdiv``."""
    return -(-a // b)


def autotuned(key: tuple[str, ...], *configs: triton.Config, overwritten: tuple[str, ...] = ()) -> Callable:
    """Return a decorator that makes a kernel run in its fastest configuration.

    Triton's interpreter measures nothing and takes the first configuration.

    Args:
        key: Arguments of the kernel whose values share a measurement.
        configs: Configurations to measure.
        overwritten: Pointers to maps that the kernel reads and overwrites. Triton restores these maps before each
            measurement.
    """
    count = 1 if os.environ.get('TRITON_INTERPRET') == '1' else len(configs)
    restored = list(overwritten) or None
    return triton.autotune(list(configs[:count]), key=list(key), restore_value=restored, cache_results=True)


def size_bucket(size: int, width: int) -> int:
    """Return the autotuning bucket of a map: power of two of its size and of its width.

    All maps of a bucket share one measurement, since detection has images of many sizes.

    Args:
        size: Number of elements of the map.
        width: Number of columns, or 0 where a kernel does not depend on it.
    """
    return size.bit_length() << 8 | width.bit_length()


def launch(
    kernel: Any,
    grid: tuple[int, ...] | Callable[[dict], tuple[int, ...]],
    tensors: tuple[Tensor | None, ...],
    integers: tuple[int, ...],
    **constants: object,
) -> None:
    """Run ``kernel[grid](*tensors, *integers, **constants)`` on the current device.

    Args:
        kernel: A function decorated by ``triton.jit``, autotuned or not. Its parameters are pointers, then integers,
            then constants.
        grid: Numbers of programs, or a function that computes them from the constants and the configuration. All else
            that the function depends on must be among ``integers``.
        tensors: The pointers; None where a kernel does without. The first is a tensor.
        integers: The integers.
        constants: The constexprs that no configuration has, and options such as num_warps.
    """
    device = torch.cuda.current_device() if tensors[0] is not None and tensors[0].is_cuda else None
    addresses = 0
    parts: list[object] = [id(kernel), device, integers, *constants.values()]
    if not callable(grid):
        parts.append(grid)
    for tensor in tensors:
        if tensor is None:
            parts.append(None)
        else:
            addresses |= tensor.data_ptr()
            parts.append(tensor.dtype)
    key = tuple(parts)
    plan = plans.get(key)
    if plan is None or addresses % ALIGNMENT:
        plan = _plan(kernel, grid, tensors, integers, constants)
        if plan is not None and not addresses % ALIGNMENT:
            if len(plans) >= MAX_PLANS:
                plans.clear()
            plans[key] = plan
    else:
        plan(*tensors, *integers)


def _plan(
    kernel: Any, grid: tuple | Callable[[dict], tuple], tensors: tuple, integers: tuple, constants: dict
) -> Callable | None:
    """Launch through Triton, and return the same launch without a search; None in Triton's interpreter."""
    with _planning:  # best_config is the one of the last launch
        compiled = kernel[grid](*tensors, *integers, **constants)
        if not isinstance(compiled, triton.compiler.CompiledKernel):
            return None
        best = getattr(kernel, 'best_config', None)
        constants = {**constants, **(best.kwargs if best else {})}
    tail = [constants[name] for name in kernel.arg_names[len(tensors) + len(integers) :]]
    sizes = tuple(grid(constants) if callable(grid) else grid)
    run = compiled[sizes + (1,) * (3 - len(sizes))]
    return lambda *args: run(*args, *tail)
