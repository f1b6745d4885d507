"""The recipes against the released ones: values, heads, norms, rates, weight decay."""

import copy
import functools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmseg.registry import MODELS
from torch import nn

from helpers.cases import for_each
from moganet.run import engine
from moganet.run.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs/seg'

# Config, then: arch, drop path, channels of the four stages, from the released configs.
RECIPES = """
fpn_moganet_xt     xtiny 0.05 32,64,96,192
fpn_moganet_t      tiny  0.1  32,64,128,256
fpn_moganet_s      small 0.1  64,128,320,512
fpn_moganet_b      base  0.2  64,160,320,512
fpn_moganet_l      large 0.3  64,160,320,640
upernet_moganet_xt xtiny 0.05 32,64,96,192
upernet_moganet_t  tiny  0.1  32,64,128,256
upernet_moganet_s  small 0.1  64,128,320,512
upernet_moganet_b  base  0.2  64,160,320,512
upernet_moganet_l  large 0.3  64,160,320,640
"""
ROWS = [line.split() for line in RECIPES.split('\n') if line]
XL = 'upernet_moganet_xl_640'
NAMES = [*(row[0] for row in ROWS), XL]
FPN, UPERNET = 'fpn_moganet_xt', 'upernet_moganet_xt'


@functools.cache
def recipe(name: str) -> Config:
    """Return the config of a recipe. The tests share it and must not change it."""
    return load_config(CONFIGS / f'{name}.py')


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def build(name: str) -> nn.Module:
    with torch.device('meta'):
        return MODELS.build(copy.deepcopy(recipe(name).model))


def plain(node: object) -> object:
    """Return a part of a config without keys of origin."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != '_scope_'}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


@for_each(map(tuple, ROWS))
def test_recipe_has_the_released_sizes(name, arch, drop_path, widths):
    model, widths = recipe(name).model, list(map(int, widths.split(',')))
    assert plain(model.backbone) == dict(
        type='MogaNet',
        arch=arch,
        drop_path_rate=float(drop_path),
        out_indices=[0, 1, 2, 3],
        init_cfg=dict(type='Pretrained', checkpoint=f'moganet://{arch}_1k'),
    )
    assert model.pretrained is None
    if name.startswith('fpn'):
        assert plain(model.neck) == dict(type='FPN', in_channels=widths, out_channels=256, num_outs=4)
    else:
        assert model.decode_head.in_channels == widths
        assert model.auxiliary_head.in_channels == widths[2]


@for_each(NAMES)
def test_recipe_trains_with_the_released_values(name):
    cfg, fpn = recipe(name), name.startswith('fpn')
    adamw = dict(lr=2e-4, weight_decay=1e-4) if fpn else dict(lr=1e-4, betas=[0.9, 0.999], weight_decay=0.01)
    assert plain(cfg.optim_wrapper.optimizer) == dict(type='AdamW', **adamw)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.clip_grad) == ('OptimWrapper', None)  # float32
    iterations, interval, images = (80000, 4000, 4) if fpn else (160000, 16000, 2)
    assert plain(cfg.train_cfg) == dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=interval)
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.interval, checkpoint.by_epoch, checkpoint.save_best) == (interval, False, 'mIoU')
    assert (cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers) == (images, 4)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=8 * images)
    assert cfg.custom_hooks == [dict(type='ShareFirstNorms')]
    assert cfg.env_cfg.cudnn_benchmark
    assert not cfg.get('model_wrapper_cfg')


@for_each(NAMES)
def test_recipe_reads_ade20k_as_released(name):
    cfg, crop = recipe(name), 640 if name == XL else 512
    folders = dict(train='training', val='validation', test='validation')
    for split, folder in folders.items():
        data = cfg[f'{split}_dataloader'].dataset
        assert (data.type, data.data_root) == ('ADE20KDataset', 'data/ade/ADEChallengeData2016')
        assert plain(data.data_prefix) == dict(img_path=f'images/{folder}', seg_map_path=f'annotations/{folder}')
    data = cfg.model.data_preprocessor
    assert (data.mean, data.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert (data.bgr_to_rgb, data.pad_val, data.seg_pad_val, data.size) == (True, 0, 255, (crop, crop))
    assert plain(cfg.train_dataloader.dataset.pipeline) == [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=[4 * crop, crop], ratio_range=[0.5, 2.0], keep_ratio=True),
        dict(type='RandomCrop', crop_size=[crop, crop], cat_max_ratio=0.75),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs'),
    ]
    assert plain(cfg.test_dataloader.dataset.pipeline) == [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=[4 * crop, crop], keep_ratio=True),
        dict(type='ResizeToMultiple', size_divisor=32),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs'),
    ]
    assert cfg.val_dataloader == cfg.test_dataloader
    assert cfg.test_dataloader.batch_size == 1
    assert plain(cfg.test_evaluator) == dict(type='IoUMetric', iou_metrics=['mIoU'])


@for_each(NAMES)
def test_heads_are_as_released(name):
    model = plain(recipe(name).model)
    assert (model['type'], model['test_cfg']) == ('EncoderDecoder', dict(mode='whole'))
    shared = dict(
        dropout_ratio=0.1, num_classes=150, norm_cfg=dict(type='SyncBN', requires_grad=True), align_corners=False
    )
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
    if name.startswith('fpn'):
        assert model['decode_head'] == dict(
            type='FPNHead',
            in_channels=[256] * 4,
            in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32],
            channels=128,
            loss_decode=loss,
            **shared,
        )
        assert 'auxiliary_head' not in model
        return
    widths = model['decode_head']['in_channels']
    assert model['decode_head'] == dict(
        type='UPerHead',
        in_channels=widths,
        in_index=[0, 1, 2, 3],
        pool_scales=[1, 2, 3, 6],
        channels=512,
        loss_decode=loss,
        **shared,
    )
    assert model['auxiliary_head'] == dict(
        type='FCNHead',
        in_channels=widths[2],
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(loss, loss_weight=0.4),
        **shared,
    )


@for_each(NAMES)
def test_norms_are_synchronised_in_the_heads_only_and_all_is_trained(name):
    model = build(name).train()
    found = {
        (type(module).__name__, key.split('.')[0])
        for key, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training and module.eps == 1e-5
    }
    heads = ('decode_head',) if name.startswith('fpn') else ('decode_head', 'auxiliary_head')
    assert found == {('BatchNorm2d', 'backbone'), *(('SyncBatchNorm', head) for head in heads)}
    assert all(parameter.requires_grad for parameter in model.parameters())


def decays(name: str) -> dict[str, float]:
    """Return the weight decay of every parameter in the optimizer."""
    model = build(name)
    optimizer = build_optim_wrapper(model, recipe(name).optim_wrapper).optimizer
    names = {parameter: key for key, parameter in model.named_parameters()}
    assert {group['lr'] for group in optimizer.param_groups} == {recipe(name).optim_wrapper.optimizer.lr}
    return {names[p]: group['weight_decay'] for group in optimizer.param_groups for p in group['params']}


def test_semantic_fpn_decays_everything():
    assert set(decays(FPN).values()) == {1e-4}


def test_upernet_spares_what_has_the_released_words_in_its_name():
    found = decays(UPERNET)
    assert found == {
        key: 0.0 if any(word in key for word in ('layer_scale', 'scale', 'norm')) else 0.01 for key in found
    }
    # Norms whose names lack 'norm', and biases.
    stem = [f'backbone.patch_embed1.projection.{i}.{what}' for i in (1, 4) for what in ('weight', 'bias')]
    heads = ['decode_head.bottleneck.bn.weight', 'auxiliary_head.convs.0.bn.bias', 'decode_head.conv_seg.bias']
    assert [found[key] for key in (*stem, *heads)] == [0.01] * 7
    assert found['backbone.norm4.weight'] == found['backbone.blocks2.0.mlp.sigma.scale'] == 0.0


def rates(name: str, steps: set[int]) -> dict[int, float]:
    """Return the rate of the iterations ``steps``, counted from 0."""
    cfg = recipe(name)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(s), default_args=dict(optimizer=optimizer)) for s in cfg.param_scheduler]
    found = {}
    optimizer.step()
    for step in range(max(steps) + 1):
        if step in steps:
            found[step] = optimizer.param_groups[0]['lr']
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize(
    ('name', 'top', 'total', 'power', 'warmup'), [(FPN, 2e-4, 80000, 0.9, 0), (UPERNET, 1e-4, 160000, 1.0, 1500)]
)
def test_rate_follows_mmcvs_law(name, top, total, power, warmup):
    """mmcv 1: top (1 - i/total)^power, times 1 - (1 - i/warmup) (1 - ratio) in the first ``warmup`` iterations."""
    steps = {0, 1, 10, 750, 1499, 1500, 1501, total // 4, total // 2, total * 9 // 10}
    for step, rate in rates(name, steps).items():
        rise = 1 - (1 - step / warmup) * (1 - 1e-6) if step < warmup else 1
        law = top * (1 - step / total) ** power * rise
        # MMEngine divides by one iteration less: by 1499 in the warm-up, by total - 1 after it.
        near = dict(rel=1 / 1498) if step < warmup else dict(rel=0, abs=1.5 * top / total)
        assert rate == pytest.approx(law, **near), step
    last = rates(name, {total - 1})[total - 1]
    assert 0 <= last < 1e-4 * top


def test_rate_of_mmsegs_own_recipes_is_one_percent_higher():
    """Falling after the warm-up only, as in mmseg 1, differs from the released schedule."""
    theirs = 1e-4 * (160000 - 80000) / (160000 - 1500)
    assert theirs / rates(UPERNET, {80000})[80000] == pytest.approx(160000 / 158500, rel=1e-4)


def test_xl_is_l_from_a_run_on_imagenet_21k_at_640_pixels():
    ours, large = recipe(XL), recipe('upernet_moganet_l')
    pretraining = load_config(CONFIGS.parent / 'cls/moganet_xl_in21k.py')
    start = f'work_dirs/moganet_xl_in21k/epoch_{pretraining.train_cfg.max_epochs}.pth'
    assert ours.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=start)
    assert ours.model.backbone.arch == pretraining.model.backbone.arch == 'xlarge'
    assert ours.model.backbone.drop_path_rate == 0.4
    assert (ours.model.decode_head.in_channels, ours.model.auxiliary_head.in_channels) == ([96, 192, 480, 960], 480)
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks'):
        assert ours[key] == large[key]


def test_without_cuda_heads_get_plain_batch_norm(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = copy.deepcopy(recipe(UPERNET))
    assert engine.adapt_to_hardware(cfg) == ['BN for SyncBN']
    with torch.device('meta'):
        replaced, model = MODELS.build(cfg.model), build(UPERNET)
    assert not [m for m in replaced.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert replaced.state_dict().keys() == model.state_dict().keys()


def test_synchronised_norms_predict_without_cuda_what_plain_ones_do(monkeypatch):
    """A model for inference needs no replaced norms."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = copy.deepcopy(recipe(UPERNET))
    cfg.model.backbone.arch = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))
    cfg.model.decode_head.update(in_channels=[8, 16, 24, 32], channels=16)
    cfg.model.auxiliary_head.update(in_channels=24, channels=16)
    model = MODELS.build(copy.deepcopy(cfg.model)).eval()
    assert [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    engine.adapt_to_hardware(cfg)
    plain_model = MODELS.build(cfg.model).eval()
    for norm in (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    plain_model.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(image), plain_model(image))
