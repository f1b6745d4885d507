"""Folds what is linear at inference: ``fuse(model)`` returns a faster model of the same function, for any task.

With a norm as ``a x + b`` per channel, s the scale of feature decomposition or channel aggregation, ls a layer scale:

* The norms of the stem and of the embeddings are folded into their convolutions, norm2 into fc1.
* The bias that remains at the end of a stem or embedding moves into the block after it, whose spatial branch is linear
  in it. This saves one pass over the map.
* norm1 and feature decomposition (Eq. 6 and 7): y + s (y - mean of y) with y = P norm1(x) is q = (1 + s) P' x plus a
  bias of each image, c - s / (1 + s) (mean of q), where P' = P a and c = P b + the bias of P.
* The spatial branch returns ls (proj_2(..) + norm1(x)), to which x is added: x + (ls a) x + ls b + ls proj_2(..).
* Channel aggregation (Eq. 10) is linear in the hidden map h: fc2 diag(1 + s) h - (fc2 s) context. ls goes into both.

The dilated convolutions cannot be folded into the 5x5 one before them: zero padding makes their borders differ.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .backbone import (
    ChannelAggregationFFN,
    MogaBlock,
    MogaNet,
    MultiOrderDWConv,
    MultiOrderGatedAggregation,
    PatchEmbed,
    StemEmbed,
)
from .compat import BatchNorm, child_parameters
from .ops import dispatch, fused
from .ops.interface import Options

# The smallest absolute value of 1 + s.
SMALLEST_FACTOR = 1e-6


def fuse(model: nn.Module) -> nn.Module:
    """Return a copy of ``model`` in eval mode whose MogaNet blocks, stems and embeddings are folded. For inference.

    The copy differs from ``model`` by rounding; ``model`` stays as it is. The copy has other parameters, so that its
    ``state_dict`` loads into ``fuse`` of a model of the same config, and into nothing else.

    Args:
        model: Any module with MogaNet blocks in it: a backbone, a detector, a video model.

    Raises:
        ValueError: There are no such blocks, or one of them has a module that cannot be folded; the message names the
            module and its class.
    """
    model = copy.deepcopy(model).eval()
    folds: dict[type, Callable] = {MogaBlock: FusedBlock, StemEmbed: FusedStem, PatchEmbed: _fuse_embedding}
    found = [(name, module) for name, module in model.named_modules() if type(module) in folds]
    if not any(type(module) is MogaBlock for _, module in found):
        raise ValueError(f'{type(model).__name__} has no MogaNet blocks to fuse: expected a MogaNet or what has one')
    for name, module in found:
        _check(name, module)
    with torch.no_grad():
        for name, module in found:
            folded = folds[type(module)](module).eval().requires_grad_(False)
            if not name:
                return folded
            model.set_submodule(name, folded)
        for network in model.modules():
            if isinstance(network, MogaNet) and type(network).forward is MogaNet.forward:
                _move_biases(network)
    return model


class FusedSpatial(nn.Module):
    """The folded spatial branch of a block, its shortcut included. ``FusedBlock`` reads its weights."""

    def __init__(self, block: MogaBlock) -> None:
        super().__init__()
        attn, value = block.attn, block.attn.value
        scale, shift = _affine(block.norm1)
        ls, sigma = (p.double().flatten() for p in (block.layer_scale_1, attn.sigma.scale))
        weight, bias = _matrix(attn.proj_1)
        bias = bias + weight @ shift
        weight = weight * scale
        out_weight, out_bias = _matrix(attn.proj_2)
        like = attn.proj_1.weight
        # Not 0, so that the mean of y can be computed from that of q. The error is at most a millionth of y.
        factor = torch.where((1 + sigma).abs() < SMALLEST_FACTOR, SMALLEST_FACTOR, 1 + sigma)
        self.proj_1 = _linear(weight * factor[:, None], bias, like)
        self.mean = nn.Parameter((sigma / factor).to(like))
        self.gate = _linear(*_matrix(attn.gate), like)
        self.DW_conv0, self.DW_conv1, self.DW_conv2 = value.DW_conv0, value.DW_conv1, value.DW_conv2
        self.PW_conv = _linear(*_matrix(value.PW_conv), like)
        self.proj_2 = _linear(ls[:, None] * out_weight, ls * (out_bias + shift), like)
        self.shortcut = nn.Parameter((ls * scale).to(like))
        self.dilations = tuple(conv.dilation[0] for conv in (self.DW_conv0, self.DW_conv1, self.DW_conv2))
        self.double_gate = attn.double_gate

    def weights(self) -> list[Tensor]:
        """Return the weights in the order that ``ops`` reads them.

        proj_1 (C, C) and bias (C), the factors of the subtracted mean (C), gate and bias, the three depthwise
        convolutions each with its bias, PW_conv and bias, proj_2 and bias, and the factors of the shortcut (C).
        """
        w_in, b_in, *others = child_parameters(self)
        return [w_in, b_in, self.mean, *others, self.shortcut]

    def options(self) -> Options:
        """Return the settings that ``ops`` reads."""
        return Options(self.double_gate, self.dilations)

    def add_input_bias(self, bias: Tensor) -> None:
        """Change the biases so that the branch computes on ``x - bias`` what it computed on ``x``, plus ``bias``.

        Args:
            bias: (C).
        """
        bias = bias.double()
        projected = self.proj_1.weight.double() @ bias
        self.proj_1.bias.add_(((1 - self.mean.double()) * projected).to(self.mean))
        self.proj_2.bias.add_(((1 + self.shortcut.double()) * bias).to(self.mean))


class FusedChannel(nn.Module):
    """The folded channel branch of a block, its shortcut included. ``FusedBlock`` reads its weights."""

    def __init__(self, block: MogaBlock) -> None:
        super().__init__()
        mlp = block.mlp
        scale, shift = _affine(block.norm2)
        ls, sigma = (p.double().flatten() for p in (block.layer_scale_2, mlp.sigma.scale))
        weight, bias = _matrix(mlp.fc1)
        out_weight, out_bias = _matrix(mlp.fc2)
        out_weight, like = ls[:, None] * out_weight, mlp.fc1.weight
        self.fc1 = _linear(weight * scale, bias + weight @ shift, like)
        self.dwconv = mlp.dwconv
        self.decompose = _linear(*_matrix(mlp.decompose), like)
        self.fc2 = _linear(out_weight * (1 + sigma), ls * out_bias, like)
        self.subtracted = nn.Parameter((out_weight @ sigma).to(like))

    def weights(self) -> list[Tensor]:
        """Return the weights in the order that ``ops`` reads them.

        fc1 (rC, C) and bias, the depthwise convolution and its bias, decompose (1, rC) and bias, fc2 (C, rC) and bias,
        and the vector (C) that the shared channel is multiplied by before it is subtracted.
        """
        return [*child_parameters(self), self.subtracted]


class FusedBlock(nn.Module):
    """A MogaBlock at inference.

    Args:
        block: The block to fold.
    """

    def __init__(self, block: MogaBlock) -> None:
        super().__init__()
        self.spatial = FusedSpatial(block)
        self.channel = FusedChannel(block)
        fused.prepare(self.spatial.weights(), self.channel.weights())

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Prepare the weights again after ``to``, ``half`` and the like, which call this method."""
        super()._apply(fn, recurse)
        fused.prepare(self.spatial.weights(), self.channel.weights())
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: (B, C, H, W) to the same."""
        spatial = self.spatial
        return fused.block(x, spatial.weights(), self.channel.weights(), spatial.options())

    def preferred_layout(self, x: Tensor) -> torch.memory_format:
        """Return the memory format in which folded blocks compute fastest: channels-last."""
        return torch.channels_last


class FusedStem(nn.Module):
    """A StemEmbed at inference.

    Args:
        stem: The stem to fold.
    """

    def __init__(self, stem: StemEmbed) -> None:
        super().__init__()
        layers: tuple[Any, ...] = tuple(stem.projection)
        conv1, norm1, act, conv2, norm2 = layers
        self.projection = nn.Sequential(_convolution(conv1, norm1), act, _convolution(conv2, norm2))

    def forward(self, x: Tensor) -> Tensor:
        """Embed an image: (B, in, H, W) to (B, C, H / 4, W / 4)."""
        first, act, second = self.projection
        return second(fused.stem_start(x, first, act))


def _move_biases(network: MogaNet) -> None:
    """Move the last biases of folded embeddings into the folded blocks after them."""
    for i in range(1, network.num_stages + 1):
        embed, block = network.get_submodule(f'patch_embed{i}'), network.get_submodule(f'blocks{i}.0')
        if not isinstance(block, FusedBlock):
            continue
        conv: Any
        if isinstance(embed, FusedStem):
            conv = embed.projection[-1]
        elif type(embed) is PatchEmbed:
            conv = embed.projection
        else:
            continue
        block.spatial.add_input_bias(conv.bias)
        conv.bias = None


def _fuse_embedding(embedding: PatchEmbed) -> PatchEmbed:
    embedding.projection = _convolution(embedding.projection, embedding.norm)
    embedding.set_submodule('norm', nn.Identity())
    return embedding


def _convolution(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Fold a norm into the convolution before it, with channels-last weights like the maps, which saves conversions."""
    return nn.utils.convert_conv2d_weight_memory_format(fuse_conv_bn_eval(conv, norm), torch.channels_last)


# Modules with convolutions that folding looks into.
_CONTAINERS = (
    MogaBlock,
    StemEmbed,
    PatchEmbed,
    MultiOrderGatedAggregation,
    MultiOrderDWConv,
    ChannelAggregationFFN,
    nn.Sequential,
)


def _check(name: str, module: nn.Module) -> None:
    """Raise ValueError if a module inside is of another class than it was built as."""
    modified = dispatch.modified_module(module) if type(module) is MogaBlock else None
    if modified:
        _refuse(name, modified, module.get_submodule(modified), f'a {dispatch.EXPECTED_TYPES[modified]}')
    for inner, part in module.named_modules():
        expected = None
        if inner.rpartition('.')[2].startswith('norm') and not (
            isinstance(part, BatchNorm) and part.track_running_stats and part.affine
        ):
            expected = 'a BatchNorm with running statistics and weights'
        leaf = next(part.children(), None) is None
        if leaf and isinstance(getattr(part, 'weight', None), Tensor) and not isinstance(part, (BatchNorm, nn.Conv2d)):
            expected = 'a convolution or a BatchNorm'
        wraps = any(isinstance(child, nn.Conv2d) for child in part.children())
        if wraps and not isinstance(part, _CONTAINERS):  # such as LoRA around a convolution
            expected = 'a convolution'
        if expected:
            _refuse(name, inner, part, expected)


def _refuse(name: str, inner: str, part: nn.Module, expected: str) -> None:
    path = '.'.join(filter(None, (name, inner)))
    raise ValueError(f'{path} is a {type(part).__name__}, which cannot be folded: expected {expected}')


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the factors and the offsets of a norm at inference, (C) each, in double precision."""
    mean, variance = norm.get_buffer('running_mean').double(), norm.get_buffer('running_var').double()
    scale = norm.weight.double() * (variance + norm.eps).rsqrt()
    return scale, norm.bias.double() - mean * scale


def _matrix(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return weight (O, I) and bias (O) of a 1x1 convolution in double precision."""
    return conv.weight.double().flatten(1), conv.get_parameter('bias').double()


def _linear(weight: Tensor, bias: Tensor, like: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device='meta')
    layer.weight = nn.Parameter(weight.to(like))
    layer.bias = nn.Parameter(bias.to(like))
    return layer
