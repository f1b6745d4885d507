"""The recipes against the released ones: values, learning rates, weight decay, losses."""

import functools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from torch import nn
from torch.nn import functional as F

from helpers.cases import for_each
from moganet.checkpoint import read_checkpoint
from moganet.run import engine, smoke
from moganet.run.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs/cls'

# Name, then: drop path, weight decay, rate, batch of a GPU, epochs, RandAugment, Mixup, smoothing, train and test size,
# short edge before the test crop. From TRAINING.md and train.py of the official release (first block), OpenMixup's
# configs (refined, rsb_a3) and the paper's Table A3 (in21k). None: not used.
RECIPES = """
xt              0.05 0.03 1e-3  128 310 7    0.1  0.1  224 224 248
t               0.1  0.04 1e-3  128 310 7    0.1  0.1  224 224 248
s               0.1  0.05 1e-3  128 310 9    0.8  0.1  224 224 248
b               0.2  0.05 1e-3  128 310 9    0.8  0.1  224 224 248
l               0.3  0.05 1e-3  64  310 9    0.8  0.1  224 224 248
xl              0.4  0.05 1e-3  64  310 9    0.8  0.1  224 224 248
xt_256          0.05 0.03 1e-3  128 310 7    0.1  0.1  256 256 284
t_256           0.1  0.04 1e-3  128 310 7    0.1  0.1  256 256 284
xt_refined      0.05 0.03 2e-3  128 300 None 0.1  0.1  224 224 248
t_refined       0.1  0.04 2e-3  128 300 None 0.1  0.1  224 224 248
xt_256_refined  0.05 0.03 2e-3  128 300 None 0.1  0.1  256 256 284
t_256_refined   0.1  0.04 2e-3  128 300 None 0.1  0.1  256 256 284
xt_rsb_a3       0.05 0.02 6e-3  256 100 6    0.1  None 160 224 236
t_rsb_a3        0.1  0.02 6e-3  256 100 6    0.1  None 160 224 236
s_rsb_a3        0.1  0.02 6e-3  256 100 6    0.1  None 160 224 236
b_rsb_a3        0.2  0.02 6e-3  128 100 6    0.1  None 160 224 236
l_rsb_a3        0.4  0.02 6e-3  128 100 6    0.1  None 160 224 236
s_in21k         0.0  0.05 1e-3  128 90  9    0.8  0.2  224 None None
b_in21k         0.1  0.05 1e-3  128 90  9    0.8  0.2  224 None None
l_in21k         0.1  0.05 1e-3  128 90  9    0.8  0.2  224 None None
xl_in21k        0.1  0.05 1e-3  128 90  9    0.8  0.2  224 None None
s_384_in21k_ft  0.4  0.05 5e-5  64  30  9    None 0.1  384 384 384
b_384_in21k_ft  0.6  0.05 5e-5  64  30  9    None 0.1  384 384 384
l_384_in21k_ft  0.7  0.05 5e-5  64  30  9    None 0.2  384 384 384
xl_384_in21k_ft 0.8  0.05 5e-5  64  30  9    None 0.2  384 384 384
"""
ROWS = [line.split() for line in RECIPES.split('\n') if line]
NAMES = [row[0] for row in ROWS]
OPENMIXUP = [name for name in NAMES if 'refined' in name or 'rsb' in name]
OFFICIAL = [name for name in NAMES if name not in OPENMIXUP]


@functools.cache
def recipe(name: str) -> Config:
    """Return the config of a recipe. The tests share it and must not change it."""
    return load_config(CONFIGS / f'moganet_{name}.py')


def steps(pipeline: list, kind: str) -> list[dict]:
    """Return all steps of a type in a pipeline, also inside choices."""
    found = []
    for step in pipeline:
        if step['type'] == 'RandomChoice':
            found += [inner for branch in step['transforms'] for inner in steps(branch, kind)]
        elif step['type'] == kind:
            found.append(step)
    return found


def the_only(values: list) -> object:
    """Return the one value of all ``values``, None for an empty list."""
    assert len(set(values)) <= 1, values
    return values[0] if values else None


@for_each(ROWS)
def test_recipe_has_the_released_values(row):
    cfg = recipe(row[0])
    expected = [None if value == 'None' else float(value) for value in row[1:]]
    train = cfg.train_dataloader.dataset.pipeline
    test = cfg.test_dataloader.dataset.pipeline if cfg.test_dataloader else []
    augments = (cfg.model.get('train_cfg') or {}).get('augments', [])
    assert [
        cfg.model.backbone.drop_path_rate,
        cfg.optim_wrapper.optimizer.weight_decay,
        cfg.optim_wrapper.optimizer.lr,
        cfg.train_dataloader.batch_size,
        cfg.train_cfg.max_epochs,
        the_only([step['magnitude_level'] for step in steps(train, 'RandAugment')]),
        the_only([augment['alpha'] for augment in augments if augment['type'] == 'Mixup']),
        cfg.model.head.loss.get('label_smooth_val'),
        the_only([step['scale'] for step in steps(train, 'RandomResizedCrop')]),
        the_only([step['crop_size'] for step in steps(test, 'CenterCrop')]),
        the_only([step['scale'] for step in steps(test, 'ResizeEdge')]),
    ] == expected


@for_each(NAMES)
def test_recipe_sees_its_total_batch(name):
    cfg = recipe(name)
    total = 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.get('accumulative_counts', 1)
    small = name in ('l', 'xl') or name.endswith('_ft')
    assert total == (2048 if 'rsb' in name else 512 if small else 1024)
    # On the 8 GPUs of the recipe, automatic scaling must leave the rate alone; MMEngine does not count accumulation.
    assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size


@for_each(NAMES)
def test_recipe_uses_the_released_precision_gate_and_averages(name):
    cfg = recipe(name)
    hooks = {hook['type'] for hook in cfg.custom_hooks}
    averaged = name in ('s', 'b', 'l', 'xl') or name.endswith('_ft')
    half = name.split('_')[0] in ('xt', 't') and 'rsb' not in name
    assert (cfg.optim_wrapper.type == 'AmpOptimWrapper') == half
    assert cfg.model.backbone.get('gate', 'single') == ('double' if name in OPENMIXUP else 'single')
    norms = 'PreciseBNHook' if name in OPENMIXUP else 'SyncBuffersHook'
    assert hooks == ({norms, 'EMAHook'} if averaged else {norms})
    assert cfg.train_dataloader.get('drop_last', False) == (name in OFFICIAL)


@for_each(NAMES)
def test_recipe_erases_a_quarter_of_the_images_if_official(name):
    erasing = steps(recipe(name).train_dataloader.dataset.pipeline, 'RandomErasing')
    assert [step['erase_prob'] for step in erasing] == ([0.25] if name in OFFICIAL else [])


def test_only_rsb_of_l_clips_gradients():
    clipping = {name: recipe(name).optim_wrapper.get('clip_grad') for name in NAMES}
    assert {name: clip for name, clip in clipping.items() if clip} == {'l_rsb_a3': dict(max_norm=10.0)}


def test_finetuning_starts_from_the_pretraining_of_the_same_size():
    for size in ('s', 'b', 'l', 'xl'):
        cfg = recipe(f'{size}_384_in21k_ft')
        assert cfg.model.backbone.init_cfg == dict(
            type='Pretrained', checkpoint=f'work_dirs/moganet_{size}_in21k/epoch_90.pth', prefix='backbone.'
        )
        assert recipe(f'{size}_in21k').train_cfg.max_epochs == 90


def realised_rates(cfg: Config, epoch_length: int) -> list[float]:
    """Return the rate of every iteration, stepped as by MMEngine's ParamSchedulerHook."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    epochs = cfg.train_cfg.max_epochs
    schedulers = [
        PARAM_SCHEDULERS.build(
            {'end': epochs, **settings}, default_args=dict(optimizer=optimizer, epoch_length=epoch_length)
        )
        for settings in cfg.param_scheduler
    ]
    rates = []
    for _ in range(epochs):
        for _ in range(epoch_length):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return rates


def cosine(step: float, total: float, top: float, floor: float) -> float:
    return floor + (top - floor) * (1 + math.cos(math.pi * step / total)) / 2


@for_each([('xt', 300, 1e-6), ('t_256', 300, 1e-6), ('s', 300, 1e-5), ('xl', 300, 1e-5), ('l_in21k', 90, 1e-5)])
def test_rate_follows_the_official_schedule_in_every_epoch(name, cycle, floor):
    rates = realised_rates(recipe(name), epoch_length=1)
    expected = [
        1e-5 + epoch * (1e-3 - 1e-5) / 5 if epoch < 5 else cosine(min(epoch, cycle), cycle, 1e-3, floor)
        for epoch in range(len(rates))
    ]
    # MMEngine multiplies the warm-up with the cosine, which has fallen by this much when the warm-up ends.
    assert rates[:5] == pytest.approx(expected[:5], rel=1.01 - 1.01 * cosine(4, cycle, 1, 0))
    assert rates[5:] == pytest.approx(expected[5:], rel=1e-4)


def test_rate_of_the_official_schedule_is_set_once_an_epoch():
    rates = np.reshape(realised_rates(recipe('xt'), epoch_length=3), (310, 3))
    assert (rates == rates[:, :1]).all()
    assert rates[300:] == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize(
    ('name', 'top', 'warmup', 'ratio'), [('t_refined', 2e-3, 20, 1e-6), ('s_rsb_a3', 6e-3, 5, 1e-5)]
)
def test_rate_follows_openmixup_in_every_iteration(name, top, warmup, ratio):
    cfg, length = recipe(name), 100
    rates = realised_rates(cfg, length)
    total, rise = cfg.train_cfg.max_epochs * length, warmup * length
    expected = [cosine(i, total, top, 1e-6) for i in range(total)]
    # mmcv reaches the full factor one iteration later than MMEngine.
    expected[:rise] = [rate * (ratio + (1 - ratio) * i / (rise - 1)) for i, rate in enumerate(expected[:rise])]
    assert rates == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_rate_of_finetuning_falls_from_the_first_epoch():
    rates = realised_rates(recipe('b_384_in21k_ft'), epoch_length=1)
    assert rates == pytest.approx([cosine(epoch, 30, 5e-5, 1e-6) for epoch in range(30)], rel=1e-6)


@pytest.fixture
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def decays(cfg: Config) -> dict[str, float]:
    """Return the weight decay of every parameter in the optimizer."""
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, dict(cfg.optim_wrapper, type='OptimWrapper'))
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[p]: group['weight_decay'] for group in wrapper.optimizer.param_groups for p in group['params']}


def test_official_recipe_decays_all_but_vectors_and_biases(mmpretrain_scope):
    cfg = recipe('xt')
    shapes = {name: p.ndim for name, p in MODELS.build(cfg.model).named_parameters()}
    expected = {name: 0.0 if ndim <= 1 or name.endswith('.bias') else 0.03 for name, ndim in shapes.items()}
    assert decays(cfg) == expected
    assert expected['backbone.blocks1.0.layer_scale_1'] == expected['backbone.blocks4.1.mlp.sigma.scale'] == 0.03
    assert expected['backbone.patch_embed1.projection.1.weight'] == expected['head.fc.bias'] == 0.0


@pytest.mark.parametrize(('name', 'decay'), [('xt_refined', 0.03), ('xt_rsb_a3', 0.02)])
def test_openmixup_recipe_decays_what_its_patterns_leave(mmpretrain_scope, name, decay):
    patterns = (r'(bn|ln|gn)(\d+)?.(weight|bias)', 'norm', 'bias', 'layer_scale', 'scale')
    realised = decays(recipe(name))
    expected = {key: 0.0 if any(re.search(p, key) for p in patterns) else decay for key in realised}
    assert realised == expected
    # The names of the stem's norms lack 'norm'.
    stem = [key for key in realised if 'patch_embed1' in key and realised[key]]
    assert sorted(stem) == [f'backbone.patch_embed1.projection.{i}.weight' for i in (0, 1, 3, 4)]
    assert realised['backbone.blocks2.0.layer_scale_2'] == realised['backbone.norm4.weight'] == 0.0


def test_official_loss_is_soft_cross_entropy_with_smoothing_folded_in(mmpretrain_scope):
    head = MODELS.build(recipe('xt').model.head)
    logits, mixed = torch.randn(4, 1000), torch.zeros(4, 1000)
    mixed[torch.arange(4), torch.arange(4)] = 0.7
    mixed[torch.arange(4), torch.arange(4) + 10] += 0.3
    off, on = 0.1 / 1000, 0.9 + 0.1 / 1000
    target = torch.full((4, 1000), off)
    target[torch.arange(4), torch.arange(4)] = 0.7 * on + 0.3 * off
    target[torch.arange(4), torch.arange(4) + 10] = 0.3 * on + 0.7 * off
    expected = -(target * F.log_softmax(logits, -1)).sum(-1).mean()
    assert head.loss_module(logits, mixed, avg_factor=4).item() == pytest.approx(expected.item(), rel=1e-6)


def test_rsb_loss_is_binary_cross_entropy_on_the_mixed_labels(mmpretrain_scope):
    head = MODELS.build(recipe('xt_rsb_a3').model.head)
    logits, mixed = torch.randn(4, 1000), torch.rand(4, 1000)
    expected = (F.softplus(logits) - mixed * logits).sum() / 4
    assert head.loss_module(logits, mixed, avg_factor=4).item() == pytest.approx(expected.item(), rel=1e-5)


def test_head_starts_as_released(mmpretrain_scope):
    head = MODELS.build(recipe('t').model.head)
    head.init_weights()
    assert head.fc.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert head.fc.bias.abs().max().item() == 0.0


def tiny(cfg: Config) -> Config:
    """Change ``cfg`` to a network of four narrow blocks, on mini data."""
    smoke.prepare(cfg)
    cfg.model.backbone.arch = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))
    cfg.model.head.in_channels = 32
    return cfg


def test_finetuning_takes_the_backbone_of_the_pretraining_and_not_its_head(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretraining = tiny(load_config(CONFIGS / 'moganet_s_in21k.py'))
    pretraining.work_dir = 'work_dirs/moganet_s_in21k'
    engine.build_runner(pretraining, ('train_dataloader',)).train()
    saved = read_checkpoint('work_dirs/moganet_s_in21k/epoch_1.pth')['state_dict']

    finetuning = load_config(CONFIGS / 'moganet_s_384_in21k_ft.py')
    start = dict(finetuning.model.backbone.init_cfg, checkpoint='work_dirs/moganet_s_in21k/epoch_1.pth')
    tiny(finetuning).model.backbone.init_cfg = start
    finetuning.work_dir = 'work_dirs/ft'
    runner = engine.build_runner(finetuning, ('train_dataloader', 'val_dataloader'))
    runner.model.init_weights()
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, saved[name]) == name.startswith('backbone.') or name == 'head.fc.bias', name
