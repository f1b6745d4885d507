"""Depthwise convolutions of (B, H, W, C) maps that keep the resolution, and their gradients, without autograd.

Three exact transformations make them fast on a CPU:

* A convolution of a large dilation d becomes d x d dense ones: the map is split into its phases, and each phase is
  convolved by itself.
* Taps that lie outside the map at every position are left out. Kernels shrink on small maps.
* The gradient of a large kernel is itself a convolution. Its input is the input, its kernel the gradient of the output,
  its stride the dilation.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Below this dilation the convolution itself is faster than its phases.
SMALLEST_DILATION = 3
# Below this side of the kernel, and above this number of positions, PyTorch's own gradient of the kernel is faster.
SMALLEST_KERNEL = 5
MOST_POSITIONS = 64 * 64


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    """Convolve a map: (B, H, W, C) to the same.

    Args:
        x: Map (B, H, W, C); its channels may be a slice of a wider map.
        weight: (C, 1, k, k).
        bias: (C), or None.
        dilation: Dilation of the kernel.
    """
    height, width = x.shape[1:3]
    if dilation >= SMALLEST_DILATION:
        return _join(forward(_phases(x, dilation), weight, bias), dilation, height, width)
    return _dense(x, _cropped(weight, height, width, dilation), bias, dilation)


def backward(grad: Tensor, x: Tensor, weight: Tensor, dilation: int = 1) -> tuple[Tensor, Tensor]:
    """Return the gradients of ``x`` (B, H, W, C) and ``weight`` (C, 1, k, k). That of the bias is the sum of ``grad``.

    Args:
        grad: Gradient of the output (B, H, W, C).
        x: The input (B, H, W, C).
        weight: (C, 1, k, k).
        dilation: Dilation of the kernel.
    """
    height, width = x.shape[1:3]
    kernel = _cropped(weight, height, width, dilation)
    sides = kernel.shape[2], kernel.shape[3]
    if sides == (1, 1):
        grad_x, grad_kernel = grad * kernel.flatten(), (grad * x).sum((0, 1, 2)).view_as(kernel)
    else:
        grad_x = forward(grad, weight.flip(2, 3), None, dilation)
        small = weight.shape[2] < SMALLEST_KERNEL or (dilation == 1 and height * width > MOST_POSITIONS)
        kernel_gradient = _grad_by_pytorch if small or x.dtype is not torch.float32 else _grad_by_convolution
        grad_kernel = kernel_gradient(grad, x, sides, dilation)
    missing = [(weight.shape[i] - kernel.shape[i]) // 2 for i in (3, 3, 2, 2)]
    grad_weight = F.pad(grad_kernel, missing) if any(missing) else grad_kernel
    return grad_x, grad_weight.reshape(-1).view(weight.shape)  # with the strides of the weight


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    if weight.shape[2:] == (1, 1):
        return x * weight.flatten() if bias is None else torch.addcmul(bias, x, weight.flatten())
    padding = [side // 2 * dilation for side in weight.shape[2:]]
    y = F.conv2d(_as_map(x), weight, bias, padding=padding, dilation=dilation, groups=len(weight))
    return y.permute(0, 2, 3, 1)


def _as_map(x: Tensor) -> Tensor:
    """View (B, H, W, C) as (B, C, H, W), channels-last."""
    return x.permute(0, 3, 1, 2)


def _cropped(weight: Tensor, height: int, width: int, dilation: int = 1) -> Tensor:
    """Return the taps of a kernel that lie inside a map of this size at some position."""
    centre = weight.shape[2] // 2
    y, x = (min(centre, (side - 1) // dilation) for side in (height, width))
    return weight[:, :, centre - y : centre + y + 1, centre - x : centre + x + 1]


def _grad_by_convolution(grad: Tensor, x: Tensor, sides: tuple[int, int], dilation: int) -> Tensor:
    """Return the gradient of a kernel: all images are channels of one convolution, then summed.

    Taps lie ``dilation`` apart, so that the stride of this convolution is the dilation.
    """
    batch, height, width, channels = x.shape
    if batch > 1:
        grad, x = (t.permute(1, 2, 0, 3).reshape(1, height, width, batch * channels) for t in (grad, x))
    padding = [side // 2 * dilation for side in sides]
    kernel = _as_map(grad).transpose(0, 1)
    out = F.conv2d(_as_map(x), kernel, stride=dilation, padding=padding, groups=batch * channels)
    return out.view(batch, channels, 1, *sides).sum(0)


def _grad_by_pytorch(grad: Tensor, x: Tensor, sides: tuple[int, int], dilation: int) -> Tensor:
    """Return the gradient of a kernel by PyTorch's own operator."""
    channels = x.shape[-1]
    padding = [side // 2 * dilation for side in sides]
    return torch.ops.aten.convolution_backward(
        _as_map(grad),
        _as_map(x),
        x.new_empty(channels, 1, *sides),
        None,
        [1, 1],
        padding,
        [dilation, dilation],
        False,
        [0, 0],
        channels,
        (False, True, False),
    )[1]


def _phases(x: Tensor, d: int) -> Tensor:
    """Split (B, H, W, C) into its d x d phases (B * d * d, ceil(H / d), ceil(W / d), C), padded with zeros."""
    batch, height, width, channels = x.shape
    rows, columns = -(-height // d), -(-width // d)
    if (height, width) != (rows * d, columns * d):
        x = F.pad(x, (0, 0, 0, columns * d - width, 0, rows * d - height))
    x = x.reshape(batch, rows, d, columns, d, channels).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch * d * d, rows, columns, channels)


def _join(x: Tensor, d: int, height: int, width: int) -> Tensor:
    """Undo ``_phases``; returns a view or a copy (B, height, width, C)."""
    rows, columns, channels = x.shape[1:]
    x = x.reshape(-1, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(-1, rows * d, columns * d, channels)[:, :height, :width]
