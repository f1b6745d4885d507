"""Deterministic weights under the official parameter names, and what the official PyTorch code computes from them.

``parity/keys_<arch>.json`` lists the official release's names and shapes; ``state_dict`` fills them with values that
depend on the name alone. ``parity/expected_<arch>.npz`` was computed by the official code (float32, CPU):

    logits             (2, 1000)  eval mode, of ``image((2, 3, 64, 64))``
    feat1 .. feat4     eval mode, the four stages' outputs after their norms, of ``image((1, 3, 96, 64))``
    train_logits       (2, 1000)  train mode without drop path, of ``image((2, 3, 64, 64))``
    grad:<name>        gradients of ``train_logits.square().mean()``
    logits_force_fp32  (2, 1000)  as ``logits``, of a network built with ``attn_force_fp32=True``
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from moganet import MogaNet

PARITY = Path(__file__).parent / 'parity'
SIZES = ('xtiny', 'tiny', 'small')


def image(shape, seed=0):
    """Standard normal float32 tensor of ``shape``."""
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape).astype(np.float32))


def fill(name, shape):
    """The value of the tensor ``name``: norms near one, convolutions of unit gain, scales far from their start."""
    if name.endswith('num_batches_tracked'):
        return torch.tensor(0)
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith('running_var'):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith('running_mean'):
        value = 0.1 * rng.randn(*shape)
    elif 'layer_scale' in name:
        value = rng.uniform(0.02, 0.08, shape)
    elif name.endswith('sigma.scale'):
        value = rng.uniform(-0.5, 0.5, shape)
    elif len(shape) >= 2:
        value = rng.randn(*shape) / np.sqrt(np.prod(shape[1:]))
    elif '.norm' in name or name.startswith('norm') or name.split('.')[-2].isdigit():
        value = rng.uniform(0.5, 1.5, shape) if name.endswith('weight') else 0.1 * rng.randn(*shape)
    else:
        value = 0.1 * rng.randn(*shape)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def keys(arch):
    return json.loads((PARITY / f'keys_{arch}.json').read_text())


def state_dict(arch):
    return {name: fill(name, tuple(shape)) for name, shape in keys(arch).items()}


def expected(arch):
    with np.load(PARITY / f'expected_{arch}.npz') as data:
        return {name: torch.from_numpy(data[name]) for name in data}


def backbone(arch, **options):
    """(backbone with the deterministic weights in eval mode, function from its last map to logits, head's tensors)."""
    weights = state_dict(arch)
    head = [weights.pop(name).requires_grad_() for name in ('head.weight', 'head.bias')]
    model = MogaNet(arch, **options)
    model.load_state_dict(weights, strict=True)
    return model.eval(), lambda feature: F.linear(feature.mean((2, 3)), *head), head


def relative_error(actual, expected):
    """Largest difference over the largest value."""
    return ((actual.detach().double() - expected.double()).abs().max() / expected.double().abs().max()).item()
