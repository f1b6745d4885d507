"""SimVP as released: names and shapes of its checkpoints, deterministic weights, and outputs of the released code.

``parity/simvp_keys.json.gz`` holds {size: {translator: {name: shape}}}, under the release's names of translators:
``full`` is what was trained on Moving MNIST, ``small`` has 10x1x32x32 clips, hid_S 16, hid_T 64, N_S 4, N_T 4.
``parity/simvp_expected.npz`` holds, for six translators, every fourth row and column of the small model's prediction
(2, 10, 1, 32, 32) in eval mode for ``clip()``, its weights filled by ``official.fill`` under the released names.
"""

import functools
import gzip
import json

import numpy as np
import torch

from helpers.official import PARITY, fill, image
from mogavideo import SimVP

RELEASED = {'moganet': 'moga', 'mlpmixer': 'mlp'}
TRANSLATORS = (
    'moganet',
    'gsta',
    'incepu',
    'vit',
    'swin',
    'uniformer',
    'mlpmixer',
    'convmixer',
    'poolformer',
    'convnext',
    'van',
    'hornet',
)
SMALL = dict(in_shape=(10, 1, 32, 32), hid_S=16, hid_T=64, N_S=4, N_T=4)
STEP = 4


@functools.cache
def _all_keys():
    return json.loads(gzip.decompress((PARITY / 'simvp_keys.json.gz').read_bytes()))


def keys(translator, size='small'):
    return {name: tuple(shape) for name, shape in _all_keys()[size][RELEASED.get(translator, translator)].items()}


def state_dict(translator):
    """Return released names and shapes of the small model."""
    return {name: fill(name, shape) for name, shape in keys(translator).items()}


def expected():
    """Return {translator: every fourth row and column of its prediction} for six translators."""
    ours = {released: name for name, released in RELEASED.items()}
    with np.load(PARITY / 'simvp_expected.npz') as data:
        return {ours.get(name, name): torch.from_numpy(data[name]) for name in data}


def clip():
    return image((2, 10, 1, 32, 32)).sigmoid()


def small_model(translator, **options):
    """Return the small model with the deterministic weights, in eval mode."""
    model = SimVP(translator=translator, **{**SMALL, **options})
    model.load_state_dict(model.from_released(state_dict(translator))[0], strict=True)
    return model.eval()
