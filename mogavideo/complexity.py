"""Parameters and multiply-adds of a video predictor, counted as the paper's tables count them.

The paper's digits come from fvcore's counter on one clip of 10 frames, of a model in training mode: a batch norm then
costs 5 per element rather than 2, which UniFormer's last digit needs. Products of attention are counted, as the
release's were; PyTorch's fused attention would hide them. fvcore does not see convolutions with ``padding='same'``,
which is how the release writes ConvMixer's depthwise ones and this package too: with them it has 0.131 GMACs more.
"""

import itertools

import torch
from fvcore.nn import FlopCountAnalysis
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from moganet.paper.complexity import Complexity

from .simvp import IN_SHAPE

PAPER_COUNTER = 'fvcore'
COUNTERS = {
    'fvcore': 'convolutions and linear layers without biases, products of attention, 5 per element of a norm, 1 per '
    'input of a pooling layer; not: activations, means, products and sums of maps, convolutions with padding="same"'
}


def default_shape(cfg: Config) -> tuple[int, int]:
    """The (H, W) of the frames that the model is built for."""
    return tuple(cfg.model.get('in_shape', IN_SHAPE)[2:])


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the model ``cfg.model`` for one clip, one pass of it: as many frames out as in.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the frames in pixels, those the model is built for if None.
        counter: 'fvcore', see ``COUNTERS``.

    Raises:
        ValueError: no such counter, or a size that the model cannot have.
    """
    if counter not in COUNTERS:
        raise ValueError(f'counter={counter!r}: expected {", ".join(COUNTERS)}')
    frames, channels = cfg.model.get('in_shape', IN_SHAPE)[:2]
    shape = tuple(shape or default_shape(cfg))
    settings = {**cfg.model, 'in_shape': (frames, channels, *shape), 'out_frames': frames}
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmengine'):
        model = MODELS.build(settings)
    with torch.random.fork_rng(devices=()), torch.no_grad():
        macs = _fvcore(model, (1, frames, channels, *shape))
    return Complexity(
        parameters=sum(p.numel() for p in model.parameters()),
        backbone_parameters=sum(p.numel() for p in model.hid.parameters()),
        macs=int(macs),
        shape=shape,
        counter=counter,
    )


def _fvcore(model: nn.Module, shape: tuple[int, ...]) -> float:
    # fvcore traces, which fails on the meta device: sizes become tensors there. Values do not matter.
    model = model.to_empty(device='cpu').train()
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.zero_()
    for module in model.modules():
        if hasattr(module, 'fused_attn'):
            module.fused_attn = False
    analysis = FlopCountAnalysis(model, torch.zeros(shape))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
