"""MogaNet, the backbone of "MogaNet: Multi-order Gated Aggregation Network" (ICLR 2024).

    https://arxiv.org/abs/2211.03295

A stage is an embedding that halves the resolution (the stem quarters it), blocks, and a norm. A block has two residual
branches, a spatial one (``MultiOrderGatedAggregation``) and a channel one (``ChannelAggregationFFN``).

Maps are (B, C, H, W). Parameter names are those of the official release, whose weights load with ``strict=True``.

Where the paper and the released code disagree, this file follows the code, since the published weights come from it:

* Feature decomposition is followed by SiLU; the paper's Eq. 7 says GELU.
* The gated aggregation adds its (normalised) input to its output; the paper's Eq. 5 has no such shortcut.
* Both branches of a block carry a LayerScale of initial value 1e-5, which the paper does not mention.
* gamma_s and gamma_c (``sigma.scale``) start at 1e-5; the paper says zero.
* The spatial branch has four 1x1 convolutions; the paper's Appendix C.3 counts three (``proj_1`` is missing).
* The stem is two 3x3 convolutions of stride 2 with a norm and GELU between them; the paper's Table A1 shows one row.
* The norm after each stage feeds the next stage too. It is no side output for dense tasks.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from . import ops
from .activation_checkpointing import checkpointed
from .arch import NUM_STAGES, check_options, layer_depth, resolve_arch, split_channels
from .compat import BatchNorm
from .layers import DropPath, depthwise_conv, init_conv

INIT_SCALE = 1e-5


class ElementScale(nn.Module):
    """Learnt scale per channel: gamma_s and gamma_c of the paper. The module around it reads ``scale``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), INIT_SCALE))


class MultiOrderDWConv(nn.Module):
    """Multi-order depthwise convolutions (paper 4.3) and the 1x1 convolution that mixes them.

    The 5x5 convolution sees all channels. Two wider ones then see three and four eighths of its output.
    """

    def __init__(self, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        _, middle, high = split_channels(channels)
        self.DW_conv0 = depthwise_conv(channels, 5, dilations[0])
        self.DW_conv1 = depthwise_conv(middle, 5, dilations[1])
        self.DW_conv2 = depthwise_conv(high, 7, dilations[2])
        self.PW_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the value branch of the gate (B, C, H, W)."""
        low, middle, high = self.DW_conv0(x).split(split_channels(x.shape[1]), dim=1)
        return self.PW_conv(torch.cat((low, self.DW_conv1(middle), self.DW_conv2(high)), dim=1))


class MultiOrderGatedAggregation(nn.Module):
    """The spatial branch: feature decomposition, then gated aggregation of multi-order context (paper Eq. 5 to 8)."""

    def __init__(self, channels: int, dilations: Sequence[int], gate: str) -> None:
        super().__init__()
        self.double_gate = gate == 'double'
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.sigma = ElementScale(channels)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.value = MultiOrderDWConv(channels, dilations)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the branch on normalised features (B, C, H, W)."""
        y = self.proj_1(x)  # Eq. 6
        y = F.silu(y + self.sigma.scale * (y - y.mean((2, 3), keepdim=True)))  # Eq. 7
        g, v = F.silu(self.gate(y)), F.silu(self.value(y))  # Eq. 8
        if self.double_gate:
            g, v = F.silu(g), F.silu(v)
        return x + self.proj_2(g * v)


class ChannelAggregationFFN(nn.Module):
    """The channel branch: an inverted bottleneck that reallocates its hidden channels (paper Eq. 9 and 10)."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden_channels, 1)
        self.dwconv = depthwise_conv(hidden_channels, 3)
        self.decompose = nn.Conv2d(hidden_channels, 1, 1)
        self.sigma = ElementScale(hidden_channels)
        self.fc2 = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the branch on normalised features (B, C, H, W)."""
        x = F.gelu(self.dwconv(self.fc1(x)))  # Eq. 9
        x = x + self.sigma.scale * (x - F.gelu(self.decompose(x)))  # Eq. 10
        return self.fc2(x)


class MogaBlock(nn.Module):
    """One block: x + ls1 * spatial(norm1(x)), then x + ls2 * channel(norm2(x)), each under stochastic depth.

    ``ffn_ratio`` is the number of hidden channels over ``channels``; ``MogaNet`` documents the other options.
    """

    def __init__(
        self, channels: int, ffn_ratio: float, drop_path_rate: float, dilations: Sequence[int], gate: str
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = MultiOrderGatedAggregation(channels, dilations, gate)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = ChannelAggregationFFN(channels, int(channels * ffn_ratio))
        self.layer_scale_1 = nn.Parameter(torch.full((1, channels, 1, 1), INIT_SCALE))
        self.layer_scale_2 = nn.Parameter(torch.full((1, channels, 1, 1), INIT_SCALE))
        self.drop_path = DropPath(drop_path_rate) if drop_path_rate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block on (B, C, H, W), by a faster backend of ``ops`` where one accepts."""
        out = ops.fast_block(self, x)
        if out is not None:
            return out
        x = x + self.drop_path(self.layer_scale_1 * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2 * self.mlp(self.norm2(x)))

    def preferred_layout(self, x: Tensor) -> torch.memory_format | None:
        """Return the memory format in which blocks compute an image ``x`` fastest, or None if any will do."""
        return ops.preferred_layout(self, x)


class StemEmbed(nn.Module):
    """The stem: two 3x3 convolutions of stride 2, (B, in, H, W) to (B, C, H/4, W/4)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels // 2),
            nn.GELU(),
            nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed the image."""
        return self.projection(x)


class PatchEmbed(nn.Module):
    """The embedding between stages: a 3x3 convolution of stride 2, (B, in, H, W) to (B, C, H/2, W/2)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the map of the stage before."""
        return self.norm(self.projection(x))


@MODELS.register_module()
class MogaNet(nn.Module):
    """MogaNet without a head. Returns a tuple of maps, one per entry of ``out_indices``.

    Stage i returns (B, embed_dims[i], H / 2^(i+2), W / 2^(i+2)), sides rounded up, after the stage's norm.
    Stages after the last entry of ``out_indices`` are not built, so that every parameter gets a gradient.

    Args:
        arch: 'xtiny', 'tiny', 'small', 'base', 'large' or 'xlarge' (paper Table A1), or a dict with ``embed_dims``,
            ``depths`` and ``ffn_ratios`` of four entries each.
        in_channels: Channels of the input image.
        drop_path_rate: Rate of stochastic depth in the last block; it rises linearly from 0 in the first one.
        out_indices: Stages whose maps are returned, from 0 to 3, rising.
        frozen_stages: As in mmdet's ResNet: -1 freezes nothing, 0 the stem, k the stem and stages 1 to k. Parameters
            and norm statistics are frozen, through every ``train()``.
        norm_eval: Keep the running statistics of all norms as they are while training.
        with_cp: Save memory while training by computing each block again in the backward pass.
        final_dilation: Dilate the convolutions of the last stage too. False gives the last stage dilations 1, 2, 1.
        gate: 'single' is the gate of the paper and the official weights. 'double' applies both activations twice, as
            the official code does under ``attn_force_fp32=True``: OpenMixup's weights need it.
        init_cfg: MMEngine's initialisation, most often ``dict(type='Pretrained', checkpoint='moganet://small_1k')``.

    Raises:
        ValueError: An option is out of its range; the message names the option and the range.
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
    ) -> None:
        super().__init__()
        # MMEngine's BaseModule would add init_weights() alone, and its import takes longer than that of the core.
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
        """Follow ``init_cfg``; type 'Pretrained' comes last and loads strictly. MMEngine calls this method.

        ``moganet.checkpoint.load_backbone`` documents the other keys of a 'Pretrained' ``init_cfg``.
        """
        if self.is_init:
            return
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        # Imported here for the reason given in __init__.
        from mmengine.model import PretrainedInit, initialize

        from .checkpoint import load_backbone

        pretrained = [cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)]
        initialize(self, [cfg for cfg in cfgs if cfg not in pretrained])
        for cfg in pretrained:
            load_backbone(self, **{key: value for key, value in cfg.items() if key != 'type'})
        self.is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of the stages in ``out_indices`` for an image (B, in_channels, H, W)."""
        outs = []
        stages = [self._stage(i) for i in range(1, self.num_stages + 1)]
        _, first_blocks, _ = stages[0]
        x, restore = ops.to_layout(x, first_blocks[0].preferred_layout(x))
        for i, (embed, blocks, norm) in enumerate(stages):
            x = embed(x)
            for block in blocks:
                x = checkpointed(block, x) if self.with_cp and torch.is_grad_enabled() else block(x)
            x = norm(x)
            if i in self.out_indices:
                outs.append(restore(x))
        return tuple(outs)

    def train(self, mode: bool = True) -> 'MogaNet':
        """Set training mode; frozen stages, and all norms under ``norm_eval``, stay in eval mode."""
        super().train(mode)
        self._freeze_stages()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self) -> None:
        frozen = self._stage(1)[:1] if self.frozen_stages >= 0 else []
        frozen += [module for i in range(1, self.frozen_stages + 1) for module in self._stage(i)]
        for module in frozen:
            module.eval().requires_grad_(False)

    def _stage(self, i: int) -> list[Any]:
        """Return embedding, blocks and norm of stage ``i``, counted from 1 as in the names of the release."""
        return [getattr(self, f'{part}{i}') for part in ('patch_embed', 'blocks', 'norm')]

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Return the layer of a parameter, and the number of layers, as the released detectors count them.

        A layer-wise learning rate is scaled by decay ** (layers - layer - 1).

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Prefix of the backbone's own names in the model, such as 'backbone.'.
        """
        return layer_depth(param_name, prefix)
