"""MogaNet, the backbone of "MogaNet: Multi-order Gated Aggregation Network" (ICLR 2024).

    https://arxiv.org/abs/2211.03295

Maps are (B, C, H, W). A stage is an embedding that halves the resolution (the first quarters it), blocks, and a norm;
a block is a spatial half (``MultiOrderGatedAggregation``) and a channel half (``ChannelAggregationFFN``).

Parameter names are those of the official release, so its weights load with ``strict=True``.

Where the paper and the released code disagree, this follows the code, since the published weights come from it:

* Feature decomposition is followed by SiLU; the paper's Eq. 7 says GELU.
* The gated aggregation adds its (normalised) input to its output; the paper's Eq. 5 has no such shortcut.
* Both halves of a block carry a LayerScale of initial value 1e-5, which the paper does not mention.
* gamma_s and gamma_c (``sigma.scale``) start at 1e-5; the paper says zero.
* A block has four 1x1 convolutions in its spatial half; the paper's Appendix C.3 counts three (``proj_1`` is missing).
* The stem is two 3x3 convolutions of stride 2 with a norm and GELU between them; the paper's Table A1 shows one row.
* The norm after each stage feeds the next stage too: it is no side branch for dense tasks.
"""

import copy
import math
from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from . import ops
from .activation_checkpointing import recomputed
from .arch import NUM_STAGES, check_options, resolve_arch

INIT_SCALE = 1e-5


class DropPath(nn.Module):
    """Stochastic depth: drops a branch per sample and scales the others by 1 / (1 - rate)."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.rate
        return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f'rate={self.rate:.3f}'


class ElementScale(nn.Module):
    """A learnt scale per channel: gamma_s and gamma_c of the paper."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), INIT_SCALE))


def depthwise_conv(channels: int, kernel_size: int, dilation: int = 1) -> nn.Conv2d:
    """A depthwise convolution that keeps the resolution."""
    return nn.Conv2d(
        channels, channels, kernel_size, padding=kernel_size // 2 * dilation, dilation=dilation, groups=channels
    )


class MultiOrderDWConv(nn.Module):
    """Multi-order depthwise convolutions and the 1x1 that mixes them: the value branch (paper 4.3)."""

    def __init__(self, channels: int, dilations: Sequence[int]):
        super().__init__()
        _, middle, high = ops.split_channels(channels)
        self.DW_conv0 = depthwise_conv(channels, 5, dilations[0])
        self.DW_conv1 = depthwise_conv(middle, 5, dilations[1])
        self.DW_conv2 = depthwise_conv(high, 7, dilations[2])
        self.PW_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.PW_conv(ops.multi_order_dwconv(x, self.DW_conv0, self.DW_conv1, self.DW_conv2))


class MultiOrderGatedAggregation(nn.Module):
    """The spatial half of a block: feature decomposition, then gated multi-order context (paper Eq. 5 to 8)."""

    def __init__(self, channels: int, dilations: Sequence[int], gate: str):
        super().__init__()
        self.double_gate = gate == 'double'
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.sigma = ElementScale(channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.value = MultiOrderDWConv(channels, dilations)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = F.silu(ops.decompose_features(self.proj_1(x), self.sigma.scale))
        x = ops.gate(self.gate(x), self.value(x), self.double_gate)
        return shortcut + self.proj_2(x)


class ChannelAggregationFFN(nn.Module):
    """The channel half of a block: an inverted bottleneck that reallocates its channels (paper Eq. 9 and 10)."""

    def __init__(self, channels: int, hidden_channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden_channels, 1)
        self.dwconv = depthwise_conv(hidden_channels, 3)
        self.decompose = nn.Conv2d(hidden_channels, 1, 1)
        self.sigma = ElementScale(hidden_channels)
        self.fc2 = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.dwconv(self.fc1(x)))
        x = ops.aggregate_channels(x, F.gelu(self.decompose(x)), self.sigma.scale)
        return self.fc2(x)


# Parts of a block whose arithmetic the faster paths and folding know.
PARTS = {
    'attn': MultiOrderGatedAggregation,
    'attn.sigma': ElementScale,
    'attn.value': MultiOrderDWConv,
    'mlp': ChannelAggregationFFN,
    'mlp.sigma': ElementScale,
}


class MogaBlock(nn.Module):
    """One block: x + ls1 * spatial(norm1(x)), then x + ls2 * channel(norm2(x)), each under stochastic depth."""

    def __init__(self, channels: int, ffn_ratio: float, drop_path_rate: float, dilations: Sequence[int], gate: str):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = MultiOrderGatedAggregation(channels, dilations, gate)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = ChannelAggregationFFN(channels, int(channels * ffn_ratio))
        self.layer_scale_1 = nn.Parameter(torch.full((1, channels, 1, 1), INIT_SCALE))
        self.layer_scale_2 = nn.Parameter(torch.full((1, channels, 1, 1), INIT_SCALE))
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if ops.block.applies(self, x):
            return ops.block.run(self, x)
        x = x + self.drop_path(self.layer_scale_1 * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2 * self.mlp(self.norm2(x)))

    def foreign_part(self) -> str | None:
        """The name of a part that something wraps or replaces, so that what it computes is its own affair, or None."""
        for name, kind in PARTS.items():
            part = self
            for key in name.split('.'):
                part = part._modules[key]  # every forward pass asks: get_submodule() takes many times as long
            if type(part) is not kind:
                return name
        return None

    def layout(self, x: Tensor) -> torch.memory_format | None:
        """In which layout a network of such blocks is best given ``x``; None where it does not matter."""
        return ops.block.layout(self, x)


class StemEmbed(nn.Module):
    """The stem: two 3x3 convolutions of stride 2, (B, in, H, W) to (B, C, H/4, W/4)."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.projection = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels // 2),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(x)


class PatchEmbed(nn.Module):
    """The embedding between stages: a 3x3 convolution of stride 2, (B, in, H, W) to (B, C, H/2, W/2)."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.projection(x))


def init_conv(module: nn.Module) -> None:
    """The released classifier's initialisation: N(0, 2 / fan_out), zero bias. Norms keep PyTorch's one and zero."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
        nn.init.zeros_(module.bias)


@MODELS.register_module()
class MogaNet(nn.Module):
    """MogaNet without a head. Returns a tuple of maps, one per entry of ``out_indices``.

    Stage i returns (B, embed_dims[i], H / 2^(i+2), W / 2^(i+2)), sides rounded up, after the stage's norm.
    Stages after the last one asked for are not built, so that no parameter stays without a gradient.

    Args:
        arch: 'xtiny', 'tiny', 'small', 'base', 'large' or 'xlarge' (paper Table A1), or a dict with ``embed_dims``,
            ``depths`` and ``ffn_ratios`` of four entries each.
        in_channels: Channels of the input image.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first one.
        out_indices: Stages whose maps are returned, from 0 to 3, rising.
        frozen_stages: As in mmdet's ResNet: -1 freezes nothing, 0 the stem, k the stem and stages 1 to k. Frozen are
            parameters and norm statistics, through every ``train()``.
        norm_eval: Keep the running statistics of all norms as they are while training.
        with_cp: Save memory while training by computing each block again in the backward pass.
        final_dilation: Dilate the convolutions of the last stage too. False gives it the dilations 1, 2, 1.
        gate: 'single' is the paper's gate and what the official weights need; 'double' applies both activations twice,
            as the official code does under ``attn_force_fp32=True``: OpenMixup's weights need it.
        init_cfg: MMEngine's initialisation, most often ``dict(type='Pretrained', checkpoint='moganet://small_1k')``.

    Raises:
        ValueError: an option outside its range, named with what was expected.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (3,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        final_dilation: bool = True,
        gate: str = 'single',
        init_cfg: dict | list | None = None,
    ):
        super().__init__()
        # All that MMEngine's BaseModule would add is init_weights(), and importing it takes longer than the whole core.
        self.init_cfg = copy.deepcopy(init_cfg)
        self.is_init = False
        settings = resolve_arch(arch)
        self.out_indices = check_options(in_channels, drop_path_rate, out_indices, frozen_stages, gate)
        self.embed_dims = tuple(settings['embed_dims'])
        self.num_stages = self.out_indices[-1] + 1
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.gate = gate

        depths = settings['depths']
        drop_path_rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device='cpu').tolist())
        for i, channels in enumerate(self.embed_dims[: self.num_stages]):
            embed = StemEmbed(in_channels, channels) if i == 0 else PatchEmbed(self.embed_dims[i - 1], channels)
            dilations = (1, 2, 1) if i == NUM_STAGES - 1 and not final_dilation else (1, 2, 3)
            blocks = nn.ModuleList(
                MogaBlock(channels, settings['ffn_ratios'][i], next(drop_path_rates), dilations, gate)
                for _ in range(depths[i])
            )
            setattr(self, f'patch_embed{i + 1}', embed)
            setattr(self, f'blocks{i + 1}', blocks)
            setattr(self, f'norm{i + 1}', nn.BatchNorm2d(channels))
        self.apply(init_conv)
        self._freeze_stages()

    def init_weights(self) -> None:
        """What MMEngine calls once the whole model is built: follow ``init_cfg``, type 'Pretrained' last and strictly.

        See ``moganet.checkpoint.load_backbone``, which takes the other keys of such an ``init_cfg``.
        """
        if self.is_init:
            return
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        # Imported only now: they take longer than all of the core.
        from mmengine.model import PretrainedInit, initialize

        from .checkpoint import load_backbone

        pretrained = [cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)]
        initialize(self, [cfg for cfg in cfgs if cfg not in pretrained])
        for cfg in pretrained:
            load_backbone(self, **{key: value for key, value in cfg.items() if key != 'type'})
        self.is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outs = []
        inner = self.blocks1[0].layout(x)
        outer = torch.contiguous_format if inner is not None and x.is_contiguous() else None
        x = _in_layout(x, inner)
        for i in range(self.num_stages):
            x = getattr(self, f'patch_embed{i + 1}')(x)
            for block in getattr(self, f'blocks{i + 1}'):
                x = recomputed(block, x) if self.with_cp and torch.is_grad_enabled() else block(x)
            x = getattr(self, f'norm{i + 1}')(x)
            if i in self.out_indices:
                outs.append(_in_layout(x, outer))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'MogaNet':
        super().train(mode)
        self._freeze_stages()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self) -> None:
        frozen = [self.patch_embed1] if self.frozen_stages >= 0 else []
        for i in range(1, self.frozen_stages + 1):
            frozen += [getattr(self, f'{part}{i}') for part in ('patch_embed', 'blocks', 'norm')]
        for module in frozen:
            module.eval().requires_grad_(False)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Layer of a parameter for layer-wise learning rates, as the released detectors count them.

        The stem is layer 0, stages 1 and 2 are layers 2 and 3, stage 3 spreads over 4 to 11, stage 4 is layer 12;
        the norms after the stages and all outside the backbone belong to the last layer, 13.

        Args:
            param_name: The parameter's name in the whole model.
            prefix: What the model puts before the backbone's own names, such as 'backbone.'.

        Returns:
            The layer and the number of layers: a rate is scaled by decay ** (layers - layer - 1).
        """
        num_layers = 14
        last = num_layers - 1
        if not param_name.startswith(prefix):
            return last, num_layers
        part, _, rest = param_name[len(prefix) :].partition('.')
        if part == 'blocks3':
            return min(3 + int(rest.split('.')[0]) // 2, 11), num_layers
        layers = dict(patch_embed1=0, blocks1=2, patch_embed2=3, blocks2=3, patch_embed3=4, patch_embed4=12, blocks4=12)
        return layers.get(part, last), num_layers


def _in_layout(x: Tensor, layout: torch.memory_format | None) -> Tensor:
    return x if layout is None else x.contiguous(memory_format=layout)
