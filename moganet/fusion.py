"""Folds what is linear at inference: ``fuse(model)`` gives a faster model of the same function, any model of any task.

With a norm as ``a x + b`` per channel, s the scale of feature decomposition or channel aggregation, ls a layer scale:

* The norms of the stem and of the embeddings go into their convolutions, norm2 into fc1.
* What is then added last in a stem or embedding, a number per channel, goes into the block that comes after it, whose
  spatial half is linear in it: a pass less over the map.
* norm1 and feature decomposition (Eq. 6 and 7): y + s (y - mean of y) with y = P norm1(x) is q = (1 + s) P' x with a
  bias that is the image's own, c - s / (1 + s) (mean of q), where P' = P a and c = P b + the bias of P.
* The spatial half returns ls (proj_2(..) + norm1(x)), to which x is added: x + (ls a) x + ls b + ls proj_2(..).
* Channel aggregation (Eq. 10) is linear in the hidden map h: fc2 diag(1 + s) h - (fc2 s) context. ls goes into both.

The dilated convolutions cannot go into the 5x5 one before them: zero padding makes their borders differ.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import ops
from .backbone import PARTS, MogaBlock, MogaNet, PatchEmbed, StemEmbed

SMALLEST_FACTOR = 1e-6


def fuse(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in eval mode whose MogaNet blocks, stems and embeddings are folded. For inference only.

    What the copy computes differs by rounding; ``model`` stays as it is. The copy has other parameters, so that its
    ``state_dict`` loads into ``fuse`` of a model of the same config, and into nothing else.

    Args:
        model: Any module with MogaNet blocks in it: a backbone, a detector, a video model.

    Raises:
        ValueError: there are no such blocks, or one of them has parts that cannot be folded, named with their class.
    """
    model = copy.deepcopy(model).eval()
    folds = {MogaBlock: FusedBlock, StemEmbed: FusedStem, PatchEmbed: _fuse_embedding}
    found = [(name, module) for name, module in model.named_modules() if type(module) in folds]
    if not any(type(module) is MogaBlock for _, module in found):
        raise ValueError(f'{type(model).__name__} has no MogaNet blocks to fuse: expected a MogaNet or what has one')
    for name, module in found:
        _check(name, module)
    with torch.no_grad():
        for name, module in found:
            fused = folds[type(module)](module).eval().requires_grad_(False)
            if not name:
                return fused
            model.set_submodule(name, fused)
        for network in model.modules():
            if isinstance(network, MogaNet) and type(network).forward is MogaNet.forward:
                _move_biases(network)
    return model


class FusedHalf(nn.Module):
    """Half a block."""

    def _of_layers(self) -> list[Tensor]:
        """Weight and bias of each layer, in the order of their registration, without what attributes cost."""
        return [p for layer in self._modules.values() for p in layer._parameters.values()]


class FusedSpatial(FusedHalf):
    """The spatial half of a block: (B, C, H, W) to the same, the shortcut included."""

    def __init__(self, block: MogaBlock):
        super().__init__()
        attn, value = block.attn, block.attn.value
        scale, shift = _affine(block.norm1)
        ls, sigma = (p.double().flatten() for p in (block.layer_scale_1, attn.sigma.scale))
        weight, bias = _product(attn.proj_1)
        bias = bias + weight @ shift
        weight = weight * scale
        out_weight, out_bias = _product(attn.proj_2)
        like = attn.proj_1.weight
        # Not 0, so that the mean of y can be had from that of q: off by a millionth of y at most.
        factor = torch.where((1 + sigma).abs() < SMALLEST_FACTOR, SMALLEST_FACTOR, 1 + sigma)
        self.proj_1 = _linear(weight * factor[:, None], bias, like)
        self.mean = nn.Parameter((sigma / factor).to(like))
        self.gate = _linear(*_product(attn.gate), like)
        self.DW_conv0, self.DW_conv1, self.DW_conv2 = value.DW_conv0, value.DW_conv1, value.DW_conv2
        self.PW_conv = _linear(*_product(value.PW_conv), like)
        self.proj_2 = _linear(ls[:, None] * out_weight, ls * (out_bias + shift), like)
        self.shortcut = nn.Parameter((ls * scale).to(like))
        self.dilations = tuple(conv.dilation[0] for conv in (self.DW_conv0, self.DW_conv1, self.DW_conv2))
        self.double_gate = attn.double_gate

    def weights(self) -> list[Tensor]:
        """In the order of ``ops.fused.spatial``."""
        w_in, b_in, *others = self._of_layers()
        own = self._parameters
        return [w_in, b_in, own['mean'], *others, own['shortcut']]

    def take(self, bias: Tensor) -> None:
        """From now on the input comes without ``bias``, a number per channel, and the output is what it was."""
        bias = bias.double()
        seen = self.proj_1.weight.double() @ bias
        self.proj_1.bias += ((1 - self.mean.double()) * seen).to(self.mean)
        self.proj_2.bias += ((1 + self.shortcut.double()) * bias).to(self.mean)


class FusedChannel(FusedHalf):
    """The channel half of a block: (B, C, H, W) to the same, the shortcut included."""

    def __init__(self, block: MogaBlock):
        super().__init__()
        mlp = block.mlp
        scale, shift = _affine(block.norm2)
        ls, sigma = (p.double().flatten() for p in (block.layer_scale_2, mlp.sigma.scale))
        weight, bias = _product(mlp.fc1)
        out_weight, out_bias = _product(mlp.fc2)
        out_weight, like = ls[:, None] * out_weight, mlp.fc1.weight
        self.fc1 = _linear(weight * scale, bias + weight @ shift, like)
        self.dwconv = mlp.dwconv
        self.decompose = _linear(*_product(mlp.decompose), like)
        self.fc2 = _linear(out_weight * (1 + sigma), ls * out_bias, like)
        self.subtracted = nn.Parameter((out_weight @ sigma).to(like))

    def weights(self) -> list[Tensor]:
        """In the order of ``ops.fused.channel``."""
        return [*self._of_layers(), self._parameters['subtracted']]


class FusedBlock(nn.Module):
    """A MogaBlock at inference."""

    def __init__(self, block: MogaBlock):
        super().__init__()
        self.spatial = FusedSpatial(block)
        self.channel = FusedChannel(block)
        ops.fused.prepare(self.spatial.weights(), self.channel.weights())

    def _apply(self, fn, recurse: bool = True) -> nn.Module:
        """What ``to``, ``half`` and the like call."""
        super()._apply(fn, recurse)
        ops.fused.prepare(self.spatial.weights(), self.channel.weights())
        return self

    def forward(self, x: Tensor) -> Tensor:
        spatial = self.spatial
        return ops.fused.block(x, spatial.weights(), self.channel.weights(), spatial.dilations, spatial.double_gate)

    def layout(self, x: Tensor) -> torch.memory_format:
        """In which layout a network of such blocks is best given ``x``."""
        return torch.channels_last


class FusedStem(nn.Module):
    """A StemEmbed at inference."""

    def __init__(self, stem: StemEmbed):
        super().__init__()
        conv1, norm1, act, conv2, norm2 = stem.projection
        self.projection = nn.Sequential(_convolution(conv1, norm1), act, _convolution(conv2, norm2))

    def forward(self, x: Tensor) -> Tensor:
        first, act, second = self.projection
        return second(ops.fused.embed(x, first, act))


def _move_biases(network: MogaNet) -> None:
    """From the last convolutions of folded embeddings into the folded blocks that come next."""
    for i in range(1, network.num_stages + 1):
        embed, block = network.get_submodule(f'patch_embed{i}'), network.get_submodule(f'blocks{i}.0')
        if type(embed) in (FusedStem, PatchEmbed) and type(block) is FusedBlock:
            conv = embed.projection[-1] if type(embed) is FusedStem else embed.projection
            block.spatial.take(conv.bias)
            conv.bias = None


def _fuse_embedding(embedding: PatchEmbed) -> PatchEmbed:
    embedding.projection = _convolution(embedding.projection, embedding.norm)
    embedding.norm = nn.Identity()
    return embedding


def _convolution(conv: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Both in one, with weights in channels-last, as the maps are: they are then not turned each time."""
    return fuse_conv_bn_eval(conv, norm).to(memory_format=torch.channels_last)


def _check(name: str, module: nn.Module) -> None:
    """Raise ValueError if what is folded is something else than it was built as."""
    foreign = type(module) is MogaBlock and module.foreign_part()
    if foreign:
        _refuse(name, foreign, module.get_submodule(foreign), f'a {PARTS[foreign].__name__}')
    for inner, part in module.named_modules():
        expected = None
        if inner.rpartition('.')[2].startswith('norm') and not (
            isinstance(part, _BatchNorm) and part.track_running_stats and part.affine
        ):
            expected = 'a BatchNorm with running statistics and weights'
        leaf = next(part.children(), None) is None
        if leaf and isinstance(getattr(part, 'weight', None), Tensor) and not isinstance(part, (_BatchNorm, nn.Conv2d)):
            expected = 'a convolution or a BatchNorm'
        if expected:
            _refuse(name, inner, part, expected)


def _refuse(name: str, inner: str, part: nn.Module, expected: str) -> None:
    path = '.'.join(filter(None, (name, inner)))
    raise ValueError(f'{path} is a {type(part).__name__}, which cannot be folded: expected {expected}')


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """A norm at inference, in double precision: what x is multiplied by, and what is added."""
    scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def _product(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution, in double precision."""
    return conv.weight.double().flatten(1), conv.bias.double()


def _linear(weight: Tensor, bias: Tensor | None, like: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device='meta')
    layer.weight = nn.Parameter(weight.to(like))
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(like))
    return layer
