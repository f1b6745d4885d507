"""Parameters and multiply-adds of a video predictor, counted as the paper's tables count them.

The paper's digits come from fvcore's counter on one clip of 10 frames, with the model in training mode. A batch norm
then costs 5 per element rather than 2, as UniFormer's last digit shows. The matmuls of attention are counted, as in
the release; PyTorch's fused attention would hide them. fvcore does not count convolutions with ``padding='same'``.
ConvMixer's depthwise convolutions have that padding in the release and here; they would add 0.131 GMACs.
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
    """Return the (H, W) of the frames that the model is built for."""
    _, _, height, width = cfg.model.get('in_shape', IN_SHAPE)
    return height, width


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the model ``cfg.model`` for one clip and one pass: as many predicted frames as input frames.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the frames in pixels; None stands for the size that the model is built for.
        counter: 'fvcore', see ``COUNTERS``.

    Raises:
        ValueError: unknown counter, or a size that the model cannot have.
    """
    if counter not in COUNTERS:
        raise ValueError(f'counter={counter!r}: expected {", ".join(COUNTERS)}')
    frames, channels = cfg.model.get('in_shape', IN_SHAPE)[:2]
    height, width = shape or default_shape(cfg)
    settings = {**cfg.model, 'in_shape': (frames, channels, height, width), 'out_frames': frames}
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmengine'):
        model = MODELS.build(settings)
    with torch.random.fork_rng(devices=()), torch.no_grad():
        macs = _fvcore(model, (1, frames, channels, height, width))
    return Complexity(
        parameters=sum(p.numel() for p in model.parameters()),
        backbone_parameters=sum(p.numel() for p in model.hid.parameters()),
        macs=int(macs),
        shape=(height, width),
        counter=counter,
    )


def _fvcore(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Count multiply-adds of a model on the meta device with fvcore."""
    # fvcore traces the model. Tracing fails on the meta device, where sizes become tensors. Values do not matter.
    model = model.to_empty(device='cpu').train()
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.zero_()
    for module in model.modules():
        attributes = vars(module)
        if 'fused_attn' in attributes:
            attributes['fused_attn'] = False
    analysis = FlopCountAnalysis(model, torch.zeros(shape))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
