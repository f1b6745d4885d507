"""Speed of Mask R-CNN with MogaNet-XT against R-50 and Swin-T of mmdet: same input, heads and process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

from moganet.benchmark import Result, compare_times, time_interleaved
from moganet.run.config import load_config

OURS = 'MogaNet-XT'
CONFIGS = {
    OURS: 'configs/det/mask_rcnn_moganet_xt.py',
    'R-50': 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'Swin-T': 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
}
HEIGHT, WIDTH, OBJECTS = 256, 320, 4


def build(config: str) -> Any:
    """Return a detector with random weights from the path of a config, or from mmdet's name of a config."""
    cfg = (load_config(config) if Path(config).is_file() else get_config(config)).model
    cfg.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg)


def training_step(model: Any) -> Callable[[], None]:
    """Return a function that runs forward, losses and backward on one image with a few objects and masks."""
    batch = demo_mm_inputs(1, [[3, HEIGHT, WIDTH]], num_items=[OBJECTS], num_classes=80, with_mask=True)

    def step() -> None:
        model.train()
        data = model.data_preprocessor(batch, True)
        losses, _ = model.parse_losses(model(**data, mode='loss'))
        losses.backward()
        model.zero_grad(set_to_none=True)

    return step


def inference(model: Any) -> Callable[[], None]:
    """Return a function that detects on one image.

    Scores of random weights are below the threshold, so no detector computes masks.
    """
    batch = demo_mm_inputs(1, [[3, HEIGHT, WIDTH]], num_items=[OBJECTS], num_classes=80)

    @torch.no_grad()
    def run() -> None:
        model.eval()
        model.test_step(batch)

    return run


def backbone_alone(model: Any, train: bool) -> Callable[[], None]:
    """Return a function that runs the backbone on one image, with a backward pass if ``train``."""
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
    """Measure training and inference over each baseline, and the fraction of the backbone in each detector."""
    torch.manual_seed(0)
    models = {name: build(config) for name, config in CONFIGS.items()}
    results = []
    for phase, call in (('training step', training_step), ('inference', inference)):
        calls: dict[str, Callable[[], object]] = {name: call(model) for name, model in models.items()}
        calls |= {f'{name} backbone': backbone_alone(m, call is training_step) for name, m in models.items()}
        times = time_interleaved(calls, rounds)
        title = f'{phase}, Mask R-CNN {OURS}, {HEIGHT}x{WIDTH}'
        results += [compare_times(title, times[OURS], name, times[name]) for name in models if name != OURS]
        for name in models:
            title = f'{phase}, backbone of Mask R-CNN {name}'
            results.append(compare_times(title, times[f'{name} backbone'], 'the whole detector', times[name]))
    return results
