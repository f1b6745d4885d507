"""A block by the faster path of its device. On a CPU, that is its two halves as one operation each, on (B, H, W, C)."""

from types import ModuleType

import torch
from torch import Tensor, nn

from . import channel, choice, spatial
from .gpu import block as on_gpu


def applies(block: nn.Module, x: Tensor) -> bool:
    """Whether a faster path computes ``block(x)``. Norms and stochastic depth are called, and may be what they like."""
    if block.foreign_part():
        return False
    attn, mlp = block.attn, block.mlp
    value = attn.value
    convs = (attn.proj_1, attn.gate, value.DW_conv0, value.DW_conv1, value.DW_conv2, value.PW_conv, attn.proj_2,
             mlp.fc1, mlp.dwconv, mlp.decompose, mlp.fc2)  # fmt: skip
    if any(type(conv) is not nn.Conv2d for conv in convs):
        return False
    fast = on_gpu.applies if on_gpu.takes(x) else choice.fast
    return fast(x, (*convs, attn, value, attn.sigma, mlp, mlp.sigma))


def layout(block: nn.Module, x: Tensor) -> torch.memory_format | None:
    """In which layout a network of such blocks is best given ``x``; None where it does not matter."""
    return torch.channels_last if applies(block, x) else None


def run(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, (B, C, H, W) in channels-last."""
    if on_gpu.takes(x):
        return on_gpu.run(block, x)
    x = x.contiguous(memory_format=torch.channels_last)
    x = _run(spatial, _spatial_weights(block), x, block.norm1(x), block.drop_path, _options(block))
    return _run(channel, _channel_weights(block), x, block.norm2(x), block.drop_path, ())


def _run(
    half: ModuleType, weights: tuple[Tensor, ...], x: Tensor, normed: Tensor, drop_path: nn.Module, options: tuple
) -> Tensor:
    mask = None if isinstance(drop_path, nn.Identity) else drop_path(x.new_ones(len(x), 1, 1, 1))
    maps = [t.permute(0, 2, 3, 1).contiguous() for t in (x, normed)]
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*maps, *weights)):
        out = Half.apply(half, options, *maps, mask, *weights)
    else:
        out = half.forward(*maps, mask, weights, options, None)
    return out.permute(0, 3, 1, 2)


def _spatial_weights(block: nn.Module) -> tuple[Tensor, ...]:
    attn = block.attn
    value = attn.value
    return (
        block.layer_scale_1.flatten(), *_product(attn.proj_1), attn.sigma.scale.flatten(), *_product(attn.gate),
        *_depthwise(value.DW_conv0), *_depthwise(value.DW_conv1), *_depthwise(value.DW_conv2),
        *_product(value.PW_conv), *_product(attn.proj_2),
    )  # fmt: skip


def _channel_weights(block: nn.Module) -> tuple[Tensor, ...]:
    mlp = block.mlp
    return (
        block.layer_scale_2.flatten(), *_product(mlp.fc1), *_depthwise(mlp.dwconv),
        mlp.decompose.weight.flatten(), mlp.decompose.bias, mlp.sigma.scale.flatten(), *_product(mlp.fc2),
    )  # fmt: skip


def _product(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    return conv.weight.flatten(1).contiguous(), conv.bias


def _depthwise(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    return conv.weight.contiguous(), conv.bias


def _options(block: nn.Module) -> tuple[bool, tuple[int, ...]]:
    value = block.attn.value
    return block.attn.double_gate, tuple(c.dilation[0] for c in (value.DW_conv0, value.DW_conv1, value.DW_conv2))


class Half(torch.autograd.Function):
    """A half of a block, ``spatial`` or ``channel``, for autograd. First derivatives only."""

    @staticmethod
    def forward(
        ctx, half: ModuleType, options: tuple, x: Tensor, normed: Tensor, mask: Tensor | None, *weights: Tensor
    ) -> Tensor:
        kept = []
        out = half.forward(x, normed, mask, weights, options, kept)
        ctx.half, ctx.options, ctx.count = half, options, len(weights)
        ctx.save_for_backward(normed, mask, *weights, *kept)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        normed, mask, *rest = ctx.saved_tensors
        weights, kept = tuple(rest[: ctx.count]), rest[ctx.count :]
        grad_normed, grads = ctx.half.backward(grad.contiguous(), normed, mask, weights, ctx.options, kept)
        return None, None, grad, grad_normed, None, *grads
