"""Roofline: the rates that a machine reaches, the work of a network, and the two lower bounds of its time.

The bound by operations is twice the multiply-adds over the rate of one large matmul. The bound by bytes is the traffic
of memory over the rate of one large copy. Traffic counts every convolution and linear layer, projections of attention
included, as one pass: its input is read once, its output written once, its weights read once. A kernel that merges
convolutions can stay below that bound.
"""

import functools
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..ops.torch import matmul
from .interleave import time_interleaved

MATMUL_SIDE = {'cpu': 2048, 'cuda': 8192}
COPIED_BYTES = {'cpu': 1 << 28, 'cuda': 1 << 32}


@dataclass(frozen=True)
class Roofline:
    """Measured rates of a machine.

    Attributes:
        operations: Per second, of a matmul of square matrices; a multiply-add is two operations.
        bytes: Per second, read and written by a copy.
    """

    operations: float
    bytes: float


@dataclass(frozen=True)
class Work:
    """Counted work of a network on one batch.

    Attributes:
        operations: A multiply-add is two.
        elements: Elements of maps and weights that are read or written.
    """

    operations: float
    elements: float


@dataclass(frozen=True)
class Rate:
    """Throughput of a network, and the two lower bounds of the time of its batch.

    Attributes:
        name: The network and how it is run.
        images_per_s: Measured throughput.
        ms: Measured milliseconds a batch.
        operations_floor_ms: Lower bound by operations, in milliseconds.
        bytes_floor_ms: Lower bound by memory traffic, in milliseconds.
    """

    name: str
    images_per_s: float
    ms: float
    operations_floor_ms: float
    bytes_floor_ms: float
    missed = False

    def line(self) -> str:
        """Return the row of the printed table; the bounds also as percentages of the measured time."""
        floors = ((self.operations_floor_ms, 'operations'), (self.bytes_floor_ms, 'bytes'))
        shares = ', '.join(f'{name} {floor:8.2f} ms ({100 * floor / self.ms:3.0f} %)' for floor, name in floors)
        return f'{self.name:58} {self.images_per_s:9.1f} images/s {self.ms:9.1f} ms   floors: {shares}'

    def as_dict(self) -> dict[str, object]:
        """Return the entry of the json file."""
        return dict(kind='rate', **asdict(self))


def square_matmul(device: str, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Return a call that multiplies two random square matrices of ``MATMUL_SIDE``; zeros are faster on some chips.

    A CPU uses the faster of PyTorch's two libraries, as the network does.
    """
    a, b = (torch.randn(MATMUL_SIDE[device], MATMUL_SIDE[device], device=device, dtype=dtype) for _ in range(2))
    return functools.partial(matmul.matmul if device == 'cpu' else torch.mm, a, b)


def large_copy(device: str) -> Callable[[], torch.Tensor]:
    """Return a call that copies ``COPIED_BYTES``, too many for any cache."""
    source = torch.randint(256, (COPIED_BYTES[device],), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def roofline_calls(device: str, dtype: torch.dtype) -> dict[str, Callable[[], torch.Tensor]]:
    """Return the two calls whose times ``roofline_from_times`` reads."""
    return dict(matmul=square_matmul(device, dtype), copy=large_copy(device))


def roofline_from_times(times: dict[str, list[float]], device: str) -> Roofline:
    """Compute the rates from the milliseconds of ``roofline_calls``.

    The best round counts, so that no network can lie above the roofline.
    """
    matmul_s, copy_s = (min(times[name]) / 1e3 for name in ('matmul', 'copy'))
    return Roofline(2 * MATMUL_SIDE[device] ** 3 / matmul_s, 2 * COPIED_BYTES[device] / copy_s)


def measure_roofline(device: str, dtype: torch.dtype, rounds: int) -> Roofline:
    """Measure the rates of a device in interleaved rounds, after a warm-up."""
    return roofline_from_times(time_interleaved(roofline_calls(device, dtype), rounds, device), device)


def count_work(build: Callable[[], nn.Module], shape: tuple[int, ...], training: bool = False) -> Work:
    """Count the work of a network on the meta device, where nothing is computed.

    Args:
        build: Returns the network.
        shape: The batch, (B, C, H, W).
        training: Count forward and backward. That triples the operations. A layer's backward pass reads its input, the
            gradient of its output and its weights; it writes the gradients of its input and its weights. The traffic of
            the optimizer does not count.
    """
    elements = 0
    # Number of times that inputs, outputs and weights of a layer are read or written.
    passes = (3, 2, 3) if training else (1, 1, 1)

    def add(module: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal elements
        weight = module.get_parameter('weight')
        sizes = inputs[0].numel(), out.numel(), weight.numel()
        elements += sum(n * size for n, size in zip(passes, sizes, strict=True))

    with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = build().eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(add)
        model(torch.empty(shape))
    return Work((3 if training else 1) * counter.get_total_flops(), elements)


def rate_from_times(
    name: str, times: list[float], batch: int, work: Work, roofline: Roofline, dtype: torch.dtype
) -> Rate:
    """Compute throughput and lower bounds from the milliseconds of batches of ``batch`` images."""
    ms = statistics.median(times)
    traffic = work.elements * dtype.itemsize
    return Rate(name, 1e3 * batch / ms, ms, 1e3 * work.operations / roofline.operations, 1e3 * traffic / roofline.bytes)
