"""What a machine could do, measured, and what a network asks of it, counted: the two floors of its time.

The floor of operations is twice the multiply-adds over the rate of one large matrix product. The floor of bytes is what
must move through memory over the rate of one large copy. It counts each convolution, linear layer and attention's
projection as one pass: its input read once, its output written once, its weights read once, and nothing in between. A
kernel that merges convolutions can go below it.
"""

import functools
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..ops.torch import matmul
from .interleave import take_turns

PRODUCT_SIDE = {'cpu': 2048, 'cuda': 8192}
COPIED_BYTES = {'cpu': 1 << 28, 'cuda': 1 << 32}


@dataclass(frozen=True)
class Ceilings:
    """Per second: operations of a product of square matrices (a multiply-add is two), bytes that a copy moves."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Work:
    """Of one batch: operations (a multiply-add is two), and elements of maps and weights that are read or written."""

    operations: float
    elements: float


@dataclass(frozen=True)
class Rate:
    """Images per second of a network, and the two floors under the milliseconds of its batch."""

    name: str
    images_per_s: float
    ms: float
    operations_floor_ms: float
    bytes_floor_ms: float
    missed = False

    def line(self) -> str:
        floors = ((self.operations_floor_ms, 'operations'), (self.bytes_floor_ms, 'bytes'))
        shares = ', '.join(f'{what} {floor:8.2f} ms ({100 * floor / self.ms:3.0f} %)' for floor, what in floors)
        return f'{self.name:58} {self.images_per_s:9.1f} images/s {self.ms:9.1f} ms   floors: {shares}'

    def as_dict(self) -> dict:
        return dict(kind='rate', **asdict(self))


def product(device: str, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """A product of two square matrices of random numbers: on zeros some chips are faster.

    On a CPU by the faster of PyTorch's two libraries, as our path has it.
    """
    a, b = (torch.randn(PRODUCT_SIDE[device], PRODUCT_SIDE[device], device=device, dtype=dtype) for _ in range(2))
    return functools.partial(matmul.product if device == 'cpu' else torch.mm, a, b)


def copy(device: str) -> Callable[[], torch.Tensor]:
    """A copy of a buffer that no cache holds."""
    source = torch.randint(256, (COPIED_BYTES[device],), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def ceilings_of(times: dict[str, list[float]], device: str) -> Ceilings:
    """Of the milliseconds of ``product`` and ``copy``: of the best round, since nothing may lie above a ceiling."""
    product_s, copy_s = (min(times[name]) / 1e3 for name in ('product', 'copy'))
    return Ceilings(2 * PRODUCT_SIDE[device] ** 3 / product_s, 2 * COPIED_BYTES[device] / copy_s)


def measure_ceilings(device: str, dtype: torch.dtype, rounds: int) -> Ceilings:
    """By turns, after a warm-up."""
    return ceilings_of(take_turns(dict(product=product(device, dtype), copy=copy(device)), rounds, device), device)


def count(build: Callable[[], nn.Module], shape: tuple[int, ...], training: bool = False) -> Work:
    """What a batch of ``shape`` (B, C, H, W) asks for; nothing is computed.

    Training is forward and backward: twice the operations more, and a layer's backward reads its input, the gradient
    of its output and its weights, and writes the gradients of its input and its weights. AdamW's traffic is not in it.
    """
    elements = 0
    # How often inputs, outputs and weights of a layer are read or written.
    passes = (3, 2, 3) if training else (1, 1, 1)

    def add(module: nn.Module, inputs: tuple, out: torch.Tensor) -> None:
        nonlocal elements
        sizes = inputs[0].numel(), out.numel(), module.weight.numel()
        elements += sum(n * size for n, size in zip(passes, sizes, strict=True))

    with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = build().eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(add)
        model(torch.empty(shape))
    return Work((3 if training else 1) * counter.get_total_flops(), elements)


def rate(name: str, times: list[float], batch: int, work: Work, limits: Ceilings, dtype: torch.dtype) -> Rate:
    """Of the milliseconds per batch of ``batch`` images."""
    ms = statistics.median(times)
    moved = work.elements * dtype.itemsize
    return Rate(name, 1e3 * batch / ms, ms, 1e3 * work.operations / limits.operations, 1e3 * moved / limits.bytes)
