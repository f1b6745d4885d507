"""Mask R-CNN with MogaNet-XT beside mmdet's own with R-50 and Swin-T: the same input, heads and process."""

from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from torch import nn

from moganet.benchmark import Result, compare_times, time_interleaved
from moganet.run.config import load_config

OURS = 'MogaNet-XT'
CONFIGS = {
    OURS: 'configs/det/mask_rcnn_moganet_xt.py',
    'R-50': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'Swin-T': 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
}
HEIGHT, WIDTH, OBJECTS = 256, 320, 4


def build(config: str) -> nn.Module:
    """A detector with random weights."""
    cfg = (load_config(config) if Path(config).is_file() else get_config(config)).model
    cfg.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg)


def training_step(model: nn.Module) -> Callable[[], None]:
    """Forward, losses and backward of one image with a few objects and their masks."""
    batch = demo_mm_inputs(1, [[3, HEIGHT, WIDTH]], num_items=[OBJECTS], num_classes=80, with_mask=True)

    def step() -> None:
        model.train()
        data = model.data_preprocessor(batch, True)
        losses, _ = model.parse_losses(model(**data, mode='loss'))
        losses.backward()
        model.zero_grad(set_to_none=True)

    return step


def inference(model: nn.Module) -> Callable[[], None]:
    """Detection on one image. Random weights are sure of nothing, so no masks are computed, in any of the detectors."""
    batch = demo_mm_inputs(1, [[3, HEIGHT, WIDTH]], num_items=[OBJECTS], num_classes=80)

    @torch.no_grad()
    def run() -> None:
        model.eval()
        model.test_step(batch)

    return run


def backbone_alone(model: nn.Module, train: bool) -> Callable[[], None]:
    """The part of the above that is the backbone's."""
    x = torch.randn(1, 3, HEIGHT, WIDTH)

    def run() -> None:
        model.backbone.train(train)
        with torch.set_grad_enabled(train):
            outs = model.backbone(x)
        if train:
            sum(out.mean() for out in outs).backward()
            model.zero_grad(set_to_none=True)

    return run


def measure(rounds: int) -> list[Result]:
    """Training and inference of ours over each rival, and the share of the backbone in each detector."""
    torch.manual_seed(0)
    models = {name: build(config) for name, config in CONFIGS.items()}
    results = []
    for what, whole in (('training step', training_step), ('inference', inference)):
        calls = {name: whole(model) for name, model in models.items()}
        calls |= {f'{name} backbone': backbone_alone(m, whole is training_step) for name, m in models.items()}
        times = time_interleaved(calls, rounds)
        title = f'{what}, Mask R-CNN {OURS}, {HEIGHT}x{WIDTH}'
        results += [compare_times(title, times[OURS], name, times[name]) for name in models if name != OURS]
        for name in models:
            share = f'{what}, backbone of Mask R-CNN {name}'
            results.append(compare_times(share, times[f'{name} backbone'], 'the whole detector', times[name]))
    return results
