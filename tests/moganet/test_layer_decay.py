"""Layer-wise learning rates against the table of the released Cascade detectors, and through wrappers."""

import re
import subprocess
import sys

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.testing._internal.distributed.fake_pg import FakeStore

import moganet.layer_decay  # noqa: F401  registers
from moganet import MogaNet
from moganet.arch import ARCHS
from moganet.paper.metafile import CHECKOUT
from moganet.run.config import load_config

RATE, LR, DECAY = 0.8, 1e-4, 0.05
# 2 blocks in stages 1, 2 and 4, and enough of them in stage 3 to reach its last layer.
ARCH = {'embed_dims': (8, 16, 24, 32), 'depths': (2, 2, 22, 2), 'ffn_ratios': (2, 2, 2, 2)}


class Detector(nn.Module):
    """A backbone under ``backbone`` with parts that have full rates."""

    def __init__(self, **options):
        super().__init__()
        self.backbone = MogaNet(**options)
        self.neck = nn.Conv2d(self.backbone.embed_dims[-1], 4, 1)
        self.head = nn.Sequential(nn.BatchNorm2d(4), nn.Linear(4, 3))


def released(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """(scale of the rate, weight decay) of a parameter, by the released table of layers."""
    exponents = {
        'patch_embed1': 13,
        'blocks1': 11,
        'patch_embed2': 10,
        'blocks2': 10,
        'patch_embed3': 9,
        'patch_embed4': 1,
        'blocks4': 1,
    }
    third = re.match(r'backbone\.blocks3\.(\d+)\.', name)
    if third:
        exponent = max(10 - int(third[1]) // 2, 2)
    else:
        match = re.match(r'backbone\.((?:patch_embed|blocks)\d)\.', name)
        exponent = exponents[match[1]] if match else 0
    vector = len([side for side in shape if side > 1]) == 1
    return 0.8**exponent, 0.0 if vector or name.endswith('.bias') else DECAY


def optimizer(model: nn.Module, paramwise_cfg: dict | None = None, **changes) -> torch.optim.Optimizer:
    cfg = {
        'constructor': 'LayerDepthOptimWrapperConstructor',
        'paramwise_cfg': {'layer_decay_rate': RATE} if paramwise_cfg is None else paramwise_cfg,
        'optimizer': dict({'type': 'AdamW', 'lr': LR, 'weight_decay': DECAY}, **changes),
    }
    return build_optim_wrapper(model, cfg).optimizer


def realised(model: nn.Module, built: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """(scale, weight decay) that the optimizer got for every parameter, by its name in ``model``."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[p]: (group['lr'] / LR, group['weight_decay']) for group in built.param_groups for p in group['params']
    }


@pytest.mark.parametrize('arch', ['base', 'large'])
def test_every_parameter_has_the_released_rate_and_decay(arch):
    with torch.device('meta'):
        model = Detector(arch=arch, out_indices=(0, 1, 2, 3))
    found = realised(model, optimizer(model))
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert found.keys() == shapes.keys()
    for name, shape in shapes.items():
        assert found[name] == pytest.approx(released(name, shape), rel=1e-12), name


def test_released_rates_of_single_layers():
    with torch.device('meta'):
        model = Detector(arch='large', out_indices=(0, 1, 2, 3))
    found = realised(model, optimizer(model))
    assert ARCHS['large']['depths'][2] == 44
    for name, exponent, decay in (
        ('backbone.patch_embed1.projection.0.weight', 13, DECAY),
        ('backbone.patch_embed1.projection.4.weight', 13, 0.0),  # a norm
        ('backbone.blocks1.0.attn.proj_1.bias', 11, 0.0),
        ('backbone.blocks3.0.mlp.fc1.weight', 10, DECAY),
        ('backbone.blocks3.1.mlp.fc1.weight', 10, DECAY),
        ('backbone.blocks3.15.layer_scale_1', 3, 0.0),
        ('backbone.blocks3.16.attn.sigma.scale', 2, 0.0),
        ('backbone.blocks3.43.mlp.decompose.weight', 2, 0.0),
        ('backbone.patch_embed4.norm.weight', 1, 0.0),
        ('backbone.norm1.weight', 0, 0.0),
        ('neck.weight', 0, DECAY),
        ('head.0.weight', 0, 0.0),
    ):
        assert found[name] == pytest.approx((0.8**exponent, decay), rel=1e-12), name


def test_groups_are_few_and_hold_every_parameter_once():
    model = Detector(arch=ARCH)
    groups = optimizer(model).param_groups
    assert sum(len(group['params']) for group in groups) == len(list(model.parameters()))
    assert len(groups) == 26  # 13 rates, each with and without decay


def test_frozen_parameters_are_left_out():
    model = Detector(arch=ARCH, frozen_stages=1, out_indices=(0, 1, 2, 3))
    found = realised(model, optimizer(model))
    assert not [name for name in found if name.split('.')[1] in ('patch_embed1', 'blocks1', 'norm1')]
    assert len(found) == sum(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize('wrap', [nn.DataParallel, torch.compile, lambda model: model])
def test_wrappers_change_nothing(wrap):
    model = Detector(arch=ARCH)
    expected = [(sorted(map(id, g['params'])), g['lr'], g['weight_decay']) for g in optimizer(model).param_groups]
    wrapped = [(sorted(map(id, g['params'])), g['lr'], g['weight_decay']) for g in optimizer(wrap(model)).param_groups]
    assert wrapped == expected


def test_backbone_under_any_prefix_and_alone():
    model = nn.ModuleDict({'student': Detector(arch=ARCH), 'teacher': Detector(arch=ARCH)})
    found = realised(model, optimizer(model))
    for name, parameter in model.named_parameters():
        _part, _, rest = name.partition('.')
        assert found[name] == pytest.approx(released(rest, parameter.shape), rel=1e-12), name
    bare = MogaNet(ARCH)
    found = realised(bare, optimizer(bare))
    for name, parameter in bare.named_parameters():
        assert found[name] == pytest.approx(released(f'backbone.{name}', parameter.shape), rel=1e-12), name


@pytest.fixture
def two_processes():
    """The first of two processes, the other of which is not there: enough for FSDP to cut its shards."""
    torch.distributed.init_process_group('fake', store=FakeStore(), rank=0, world_size=2)
    yield
    torch.distributed.destroy_process_group()


def shards(model: nn.Module, use_orig_params: bool) -> FullyShardedDataParallel:
    units = ModuleWrapPolicy({type(model.backbone.blocks1[0])})
    return FullyShardedDataParallel(
        model, auto_wrap_policy=units, use_orig_params=use_orig_params, device_id=torch.device('cpu')
    )


def test_shards_of_fsdp_have_the_rates_of_what_they_are_parts_of(two_processes):
    model = Detector(arch=ARCH)
    expected = {name: released(name, p.shape) for name, p in model.named_parameters()}
    sharded = shards(model, use_orig_params=True)
    assert {p.ndim for p in sharded.parameters()} == {1}
    found = realised(sharded, optimizer(sharded))
    found = {name.replace('_fsdp_wrapped_module.', ''): value for name, value in found.items()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def test_fsdp_that_makes_one_parameter_of_many_is_refused(two_processes):
    with pytest.raises(ValueError, match='layer_decay_rate needs use_orig_params=True'):
        optimizer(shards(Detector(arch=ARCH), use_orig_params=False))


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmpose', 'mmpretrain'])
def test_constructor_is_found_from_every_scope(scope):
    model = Detector(arch=ARCH)
    with DefaultScope.overwrite_default_scope(scope):
        assert len(optimizer(model).param_groups) == 26


@pytest.mark.parametrize(
    'options', [{}, {'decay_rate': 0.8}, {'layer_decay_rate': 0}, {'layer_decay_rate': 0.8, 'num_layers': 12}]
)
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(ValueError, match='expected layer_decay_rate, above 0 and up to 1, and nothing else'):
        optimizer(Detector(arch=ARCH), paramwise_cfg=options)


def test_model_without_layers_is_refused():
    with pytest.raises(ValueError, match='no module of Linear has get_layer_depth'):
        optimizer(nn.Linear(2, 2))


def test_rate_is_needed():
    with pytest.raises(ValueError, match='optimizer has no lr'):
        optimizer(Detector(arch=ARCH), lr=None)


def test_decay_stays_the_optimizers_own_where_none_is_given():
    built = build_optim_wrapper(
        Detector(arch=ARCH),
        {
            'constructor': 'LayerDepthOptimWrapperConstructor',
            'paramwise_cfg': {'layer_decay_rate': 0.5},
            'optimizer': {'type': 'SGD', 'lr': LR},
        },
    ).optimizer
    assert {group['weight_decay'] for group in built.param_groups} == {0}
    assert min(group['lr'] for group in built.param_groups) == pytest.approx(LR * 0.5**13)


def test_config_of_a_user_gets_it_by_custom_imports(tmp_path):
    path = tmp_path / 'own.py'
    path.write_text("custom_imports = dict(imports=['moganet', 'moganet.layer_decay'])")
    script = (
        'import sys, moganet\n'
        "assert 'moganet.layer_decay' not in sys.modules\n"
        'from mmengine.config import Config\n'
        f'Config.fromfile({str(path)!r})\n'
        'from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as registry\n'
        "print(registry.get('LayerDepthOptimWrapperConstructor').__module__)\n"
    )
    found = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ['moganet.layer_decay']


def test_released_detectors_use_it():
    for size in 'bl':
        cfg = load_config(CHECKOUT / f'configs/det/cascade_mask_rcnn_moganet_{size}_giou_ms3x.py')
        found = {key: value for key, value in cfg.optim_wrapper.items() if key != '_scope_'}
        assert found == {
            'type': 'OptimWrapper',
            'constructor': 'LayerDepthOptimWrapperConstructor',
            'paramwise_cfg': {'layer_decay_rate': 0.8},
            'optimizer': {'type': 'AdamW', 'lr': 1e-4, 'betas': (0.9, 0.999), 'weight_decay': 0.05},
        }


def test_lines_of_the_readme_give_it_to_a_config_of_mmdet(tmp_path):
    from mmdet.registry import MODELS

    text = (CHECKOUT / 'configs/det/README.md').read_text()
    (block,) = [block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if 'LayerDepth' in block]
    swap = "model = dict(backbone=dict(_delete_=True, type='MogaNet', arch='tiny', out_indices=(0, 1, 2, 3)),\n"
    path = tmp_path / 'own.py'
    path.write_text(
        f"_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n{block}{swap}"
        '             neck=dict(in_channels=[32, 64, 128, 256]))\n'
    )
    cfg = load_config(path)
    with torch.device('meta'), DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        found = realised(model, build_optim_wrapper(model, cfg.optim_wrapper).optimizer)
    for name, parameter in model.named_parameters():
        assert found[name] == pytest.approx(released(name, parameter.shape), rel=1e-12), name
