"""Depthwise convolutions of (B, H, W, C) maps that keep the resolution, and their gradients, without autograd.

Three things make them fast on a CPU, all exact:

* A widely dilated one is d x d dense ones: the map is split into its phases, each is convolved by itself.
* Taps that lie outside the map for every position are left out: kernels shrink on small maps.
* The gradient of a large kernel is itself a convolution: of the input, with the gradient of the output as its kernel,
  and with the dilation as its stride.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Of a smaller dilation the convolution itself is faster than its phases.
SMALLEST_DILATION = 3
# Below this size of kernel, and above this number of positions, PyTorch's own gradient of the kernel is the faster one.
SMALLEST_KERNEL = 5
MOST_POSITIONS = 64 * 64


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    """Convolve ``x`` (B, H, W, C), whose channels may be a slice, with ``weight`` (C, 1, k, k): (B, H, W, C)."""
    height, width = x.shape[1:3]
    if dilation >= SMALLEST_DILATION:
        return _join(forward(_phases(x, dilation), weight, bias), dilation, height, width)
    return _dense(x, _cropped(weight, height, width, dilation), bias, dilation)


def backward(grad: Tensor, x: Tensor, weight: Tensor, dilation: int = 1) -> tuple[Tensor, Tensor]:
    """Gradients of ``x`` and of ``weight``, given that of the output. The bias's is the sum of ``grad``.

    Returns:
        (B, H, W, C) and (C, 1, k, k).
    """
    height, width = x.shape[1:3]
    kernel = _cropped(weight, height, width, dilation)
    sides = kernel.shape[2:]
    if sides == (1, 1):
        grad_x, grad_kernel = grad * kernel.flatten(), (grad * x).sum((0, 1, 2)).view_as(kernel)
    else:
        grad_x = forward(grad, weight.flip(2, 3), None, dilation)
        small = weight.shape[2] < SMALLEST_KERNEL or dilation == 1 and height * width > MOST_POSITIONS
        own = _grad_small_kernel if small or x.dtype is not torch.float32 else _grad_kernel
        grad_kernel = own(grad, x, sides, dilation)
    missing = [(weight.shape[i] - kernel.shape[i]) // 2 for i in (3, 3, 2, 2)]
    grad_weight = F.pad(grad_kernel, missing) if any(missing) else grad_kernel
    return grad_x, grad_weight.reshape(-1).view(weight.shape)  # strides as those of the weight


def _dense(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Tensor:
    if weight.shape[2:] == (1, 1):
        return x * weight.flatten() if bias is None else torch.addcmul(bias, x, weight.flatten())
    padding = [side // 2 * dilation for side in weight.shape[2:]]
    y = F.conv2d(_as_map(x), weight, bias, padding=padding, dilation=dilation, groups=len(weight))
    return y.permute(0, 2, 3, 1)


def _as_map(x: Tensor) -> Tensor:
    """(B, C, H, W), channels-last, of a (B, H, W, C)."""
    return x.permute(0, 3, 1, 2)


def _cropped(weight: Tensor, height: int, width: int, dilation: int = 1) -> Tensor:
    """The taps of a kernel that meet a map of this size somewhere."""
    centre = weight.shape[2] // 2
    y, x = (min(centre, (side - 1) // dilation) for side in (height, width))
    return weight[:, :, centre - y : centre + y + 1, centre - x : centre + x + 1]


def _grad_kernel(grad: Tensor, x: Tensor, sides: tuple[int, int], dilation: int) -> Tensor:
    """The gradient of a kernel, all images and channels as channels of one image, and the images then summed.

    Taps that lie ``dilation`` apart are every so many positions of that convolution.
    """
    batch, height, width, channels = x.shape
    if batch > 1:
        grad, x = (t.permute(1, 2, 0, 3).reshape(1, height, width, batch * channels) for t in (grad, x))
    padding = [side // 2 * dilation for side in sides]
    kernel = _as_map(grad).transpose(0, 1)
    out = F.conv2d(_as_map(x), kernel, stride=dilation, padding=padding, groups=batch * channels)
    return out.view(batch, channels, 1, *sides).sum(0)


def _grad_small_kernel(grad: Tensor, x: Tensor, sides: tuple[int, int], dilation: int) -> Tensor:
    """The gradient of a kernel by PyTorch's own operation."""
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
    """The d x d phases of (B, H, W, C) as so many images: (B * d * d, ceil(H / d), ceil(W / d), C), zeros beyond."""
    batch, height, width, channels = x.shape
    rows, columns = -(-height // d), -(-width // d)
    if (height, width) != (rows * d, columns * d):
        x = F.pad(x, (0, 0, 0, columns * d - width, 0, rows * d - height))
    x = x.reshape(batch, rows, d, columns, d, channels).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch * d * d, rows, columns, channels)


def _join(x: Tensor, d: int, height: int, width: int) -> Tensor:
    """What ``_phases`` took apart, as a view or copy of (B, height, width, C)."""
    rows, columns, channels = x.shape[1:]
    x = x.reshape(-1, d, d, rows, columns, channels).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(-1, rows * d, columns * d, channels)[:, :height, :width]
