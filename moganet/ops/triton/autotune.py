"""How kernels are launched: by the fastest of their configurations, and without what Triton does before each launch.

The fastest one is measured once per kind of map, and kept on disk by Triton. What Triton found for one set of shapes,
types and addresses (the compiled kernel and its grid) is kept here as a plan: its own search takes longer, in every
launch, than most of these kernels.
"""

import os
import threading
from collections.abc import Callable

import torch
import triton
from torch import Tensor

# One multiprocessor is given several programs, so that some compute while others wait: enough for 132 of them.
PROGRAMS = 1056
# Plans that are kept. Detection has images of many sizes.
PLANS = 1 << 14
# Triton compiles for addresses that are multiples of this, or for any.
ALIGNMENT = 16

_plans: dict[tuple, Callable] = {}
_planning = threading.Lock()


def ceil_div(a: int, b: int) -> int:
    """``triton.cdiv``, of which the host has many to compute, in a tenth of its time."""
    return -(-a // b)


def tuned(key: tuple[str, ...], *configs: triton.Config, overwritten: tuple[str, ...] = ()) -> Callable:
    """Decorate a kernel: of ``configs``, the fastest for arguments that share the values of ``key``.

    Triton's interpreter measures nothing and takes the first. What the kernel reads and has ``overwritten`` is as it
    was before each measurement.
    """
    count = 1 if os.environ.get('TRITON_INTERPRET') == '1' else len(configs)
    kept = list(overwritten) or None
    return triton.autotune(list(configs[:count]), key=list(key), restore_value=kept, cache_results=True)


def kind(size: int, width: int) -> int:
    """A number that maps share whose elements and whose widths differ by less than a factor of two most often.

    One measurement does for all of them: detection has images of many sizes.
    """
    return size.bit_length() << 8 | width.bit_length()


def launch(
    kernel: Callable,
    grid: tuple[int, ...] | Callable[[dict], tuple[int, ...]],
    tensors: tuple[Tensor | None, ...],
    numbers: tuple[int, ...],
    **constants: object,
) -> None:
    """``kernel[grid](*tensors, *numbers, **constants)`` on the current device.

    Args:
        kernel: Of ``triton.jit``, tuned or not. Its parameters are pointers, then numbers, then constants.
        grid: Or a function of the constants and the configuration, which knows nothing else that is not in ``numbers``.
        tensors: The pointers; None where a kernel does without.
        numbers: Integers.
        constants: The constexprs that no configuration has, and options such as num_warps.
    """
    device = torch.cuda.current_device() if tensors[0].is_cuda else None
    addresses, key = 0, [id(kernel), device, numbers, *constants.values()]
    if not callable(grid):
        key.append(grid)
    for tensor in tensors:
        if tensor is None:
            key.append(None)
        else:
            addresses |= tensor.data_ptr()
            key.append(tensor.dtype)
    key = tuple(key)
    plan = _plans.get(key)
    if plan is None or addresses % ALIGNMENT:
        plan = _plan(kernel, grid, tensors, numbers, constants)
        if plan is not None and not addresses % ALIGNMENT:
            _keep(key, plan)
    else:
        plan(*tensors, *numbers)


def _plan(
    kernel: Callable, grid: tuple | Callable[[dict], tuple], tensors: tuple, numbers: tuple, constants: dict
) -> Callable | None:
    """Launch as Triton does, and return what launches the same without a search; None in Triton's interpreter."""
    with _planning:  # the best configuration is that of the last launch
        compiled = kernel[grid](*tensors, *numbers, **constants)
        if not isinstance(compiled, triton.compiler.CompiledKernel):
            return None
        best = getattr(kernel, 'best_config', None)
        constants = {**constants, **(best.kwargs if best else {})}
    tail = [constants[name] for name in kernel.arg_names[len(tensors) + len(numbers) :]]
    sizes = tuple(grid(constants) if callable(grid) else grid)
    run = compiled[sizes + (1,) * (3 - len(sizes))]
    return lambda *args: run(*args, *tail)


def _keep(key: tuple, plan: Callable) -> None:
    if len(_plans) >= PLANS:
        _plans.clear()
    _plans[key] = plan
