"""A block by the faster path of its device: its two halves as one operation each, on maps (B, H, W, C)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from . import autograd, dispatch
from .triton import block as on_gpu


def applies(block: nn.Module, x: Tensor) -> bool:
    """Whether a faster path computes ``block(x)``. Norms and stochastic depth are called, and may be what they like."""
    if block.foreign_part():
        return False
    attn, mlp = block.attn, block.mlp
    value = attn.value
    convs = (
        attn.proj_1,
        attn.gate,
        value.DW_conv0,
        value.DW_conv1,
        value.DW_conv2,
        value.PW_conv,
        attn.proj_2,
        mlp.fc1,
        mlp.dwconv,
        mlp.decompose,
        mlp.fc2,
    )
    if any(type(conv) is not nn.Conv2d for conv in convs):
        return False
    fast = on_gpu.applies if on_gpu.takes(x) else dispatch.fast
    return fast(x, (*convs, attn, value, attn.sigma, mlp, mlp.sigma))


def layout(block: nn.Module, x: Tensor) -> torch.memory_format | None:
    """In which layout a network of such blocks is best given ``x``; None where it does not matter."""
    return torch.channels_last if applies(block, x) else None


def run(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, (B, C, H, W) in channels-last, of the type that the reference gives."""
    spatial, channel = (on_gpu if on_gpu.takes(x) else autograd).halves()
    x = x.contiguous(memory_format=torch.channels_last)
    x = _run(spatial, _spatial_weights(block), x, block.norm1(x), block.drop_path, _options(block))
    return _run(channel, _channel_weights(block), x, block.norm2(x), block.drop_path, ())


def _run(
    compute: Callable, weights: tuple[Tensor, ...], x: Tensor, normed: Tensor, drop_path: nn.Module, options: tuple
) -> Tensor:
    mask = None
    if not isinstance(drop_path, nn.Identity) and drop_path.training:
        mask = drop_path(x.new_ones((len(x), 1, 1, 1), dtype=torch.promote_types(x.dtype, torch.float32)))
    x, normed = (t.permute(0, 2, 3, 1).contiguous() for t in (x, normed))
    return compute(options, x, normed, mask, weights).permute(0, 3, 1, 2)


def _spatial_weights(block: nn.Module) -> tuple[Tensor, ...]:
    attn = block.attn
    value = attn.value
    convs = (attn.gate, value.DW_conv0, value.DW_conv1, value.DW_conv2, value.PW_conv, attn.proj_2)
    proj_1 = attn.proj_1
    return (
        block.layer_scale_1,
        proj_1.weight,
        proj_1.bias,
        attn.sigma.scale,
        *(p for conv in convs for p in (conv.weight, conv.bias)),
    )


def _channel_weights(block: nn.Module) -> tuple[Tensor, ...]:
    mlp = block.mlp
    before, after = (mlp.fc1, mlp.dwconv, mlp.decompose), mlp.fc2
    return (
        block.layer_scale_2,
        *(p for conv in before for p in (conv.weight, conv.bias)),
        mlp.sigma.scale,
        after.weight,
        after.bias,
    )


def _options(block: nn.Module) -> tuple[bool, tuple[int, ...]]:
    value = block.attn.value
    return block.attn.double_gate, tuple(c.dilation[0] for c in (value.DW_conv0, value.DW_conv1, value.DW_conv2))
