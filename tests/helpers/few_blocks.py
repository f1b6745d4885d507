"""Networks of the real widths with few blocks, and weights with which every part of a block counts."""

import torch
from torch import Tensor, nn

from helpers.official import fill
from moganet import MogaNet
from moganet.arch import ARCHS
from moganet.ops import dispatch

DEPTHS = (1, 1, 2, 1)


def few_blocks(arch: str = 'xtiny', **options) -> MogaNet:
    """The widths of a size, and weights as those of ``official``; returns the maps of all stages."""
    model = MogaNet(dict(ARCHS[arch], depths=DEPTHS), out_indices=(0, 1, 2, 3), **options)
    filled(model)
    return model


def filled(model: nn.Module) -> nn.Module:
    """With the weights of ``official``, by the names that they have in ``model``."""
    model.load_state_dict({name: fill(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()})
    return model


def lively(model: nn.Module) -> nn.Module:
    """Scales and biases far from their start."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'scale' in name:
                parameter.uniform_(0.05, 0.3)
            elif name.endswith('bias'):
                parameter.normal_(0, 0.1)
    return model


def accepted(block: nn.Module, x: Tensor) -> bool:
    """Return whether a backend computes the block."""
    return dispatch.backend_for(block, x) is not None
