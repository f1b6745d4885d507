"""Helpers of the tests of swapped configs: a tiny network, the written config, a training step."""

import math
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS

from moganet.backbone import MogaNet
from moganet.run.config import dicts
from moganet.swap import child_config, plan_swap
from moganet.swap.command import load_base

TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))
# Sizes that affect the time of a step, but not these tests.
FEWER = dict(num_queries=20, num_proposals=20, num_dn_queries=4, num_points=64, nms_pre=50, max_per_img=20)


def swapped(base: str, folder: Path) -> Config:
    """Return the config that the command would write, read again."""
    original = load_base(base)
    child = folder / 'child.py'
    child.write_text(child_config(base, original, plan_swap(original, TINY), base))
    return Config.fromfile(child)


def look_up(node: object, place: str) -> object:
    """Return the value of a dotted name, such as 'decode_head.0.in_channels'."""
    for key in place.split('.'):
        node = node[int(key) if key.isdigit() else key]
    return node


def build(settings: dict) -> torch.nn.Module:
    """Return the model for one process: fewer queries, layers, points, proposals; no padding, no pretrained weights."""
    for node in dicts(settings):
        node.pop('batch_augments', None)
        if (node.get('init_cfg') or {}).get('type') == 'Pretrained':
            node.pop('init_cfg')
        for key, value in FEWER.items():
            if type(node.get(key)) is int:
                node[key] = value
        for key in ('encoder', 'decoder', 'transformer_decoder'):
            if 'num_layers' in (node.get(key) or {}):
                node[key]['num_layers'] = 1
    model = revert_sync_batchnorm(MODELS.build(settings))
    model.init_weights()
    assert isinstance(model.backbone, MogaNet)
    return model


def check_training_step(model: torch.nn.Module, batch: dict) -> None:
    """Check that one step of AdamW has a finite positive loss and changes every parameter of the backbone."""
    model.train()
    before = {key: value.detach().clone() for key, value in model.backbone.named_parameters()}
    losses = model.train_step(batch, OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3)))
    assert math.isfinite(losses['loss'].item())
    assert losses['loss'].item() > 0
    assert [key for key, value in model.backbone.named_parameters() if torch.equal(value, before[key])] == []
