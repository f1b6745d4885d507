"""MMEngine reads every checkpoint by the safe reader, which also reads the files of its Runner."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint_with_prefix
from torch import nn

from helpers import checkpoint_files
from helpers.checkpoint_files import ARCH, TENSORS
from moganet.checkpoint import read_checkpoint, safe
from moganet.checkpoint.runner import use_safe_loader

KEYPOINTS = {
    'sigmas': np.array([0.25, 0.5], np.float32),
    'flip': np.array([1, 0]),
    'colors': np.full((2, 3), 7, np.uint8),
}


@pytest.fixture
def loader(monkeypatch):
    """``use_safe_loader``, undone afterwards."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes.copy())
    monkeypatch.setattr(safe, 'trusting', False)
    return use_safe_loader


@pytest.fixture
def bomb(tmp_path):
    """(file with weights and a command, file that the command writes)."""
    path, marker = tmp_path / 'bomb.pth', tmp_path / 'ran'
    torch.save({'state_dict': {'weight': torch.rand(2, 2)}, 'x': checkpoint_files.command(marker)}, path)
    return str(path), marker


class Model(BaseModel):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.head = nn.Module()
        self.head.fc = nn.Linear(32, 2)

    def forward(self, images, labels, mode='tensor'):
        logits = self.head.fc(self.backbone(images)[-1].mean((2, 3)))
        return {'loss': nn.functional.cross_entropy(logits, labels)} if mode == 'loss' else list(logits)


class Noise:
    metainfo = dict(classes=('a', 'b'), **KEYPOINTS)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(index)), index % 2


class Score(BaseMetric):
    default_prefix = 'noise'

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'score': np.float64(len(results))}


@pytest.fixture
def registered():
    parts = ((MODELS, Model), (DATASETS, Noise), (METRICS, Score))
    for registry, part in parts:
        registry.register_module(module=part)
    yield
    for registry, part in parts:
        registry.module_dict.pop(part.__name__)


def model(**options):
    return {'type': 'Model', 'backbone': dict(type='MogaNet', arch=ARCH, **options)}


def runner(work_dir, epochs, **options):
    data = {'batch_size': 2, 'dataset': {'type': 'Noise'}, 'collate_fn': {'type': 'default_collate'}}
    cfg = {
        'model': model(),
        'work_dir': str(work_dir),
        'experiment_name': f'{work_dir.name}{epochs}{len(options)}',
        'train_dataloader': dict(data, sampler={'type': 'DefaultSampler', 'shuffle': True}),
        'val_dataloader': dict(data, sampler={'type': 'DefaultSampler', 'shuffle': False}),
        'val_evaluator': {'type': 'Score'},
        'val_cfg': {},
        'train_cfg': {'by_epoch': True, 'max_epochs': epochs},
        'optim_wrapper': {
            'optimizer': {'type': 'AdamW', 'weight_decay': 0.1},
            'paramwise_cfg': {'norm_decay_mult': 0.0},
        },
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 2},
            {'type': 'CosineAnnealingLR', 'T_max': 4, 'convert_to_iter_based': True},
            {'type': 'ReduceOnPlateauParamScheduler', 'param_name': 'lr', 'monitor': 'noise/score'},
        ],
        'default_hooks': {
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 1,
                'save_best': 'auto',
                'rule': 'greater',
                'published_keys': ['meta', 'state_dict'],
            }
        },
        'custom_hooks': [{'type': 'EMAHook', 'momentum': 0.5}, {'type': 'StrictLoad'}],
        'randomness': {'seed': 1},
        'log_level': 'WARNING',
    }
    return Runner.from_cfg(Config(cfg | options))


def test_every_scheme_of_mmengine_is_replaced(loader):
    loader()
    assert {loaded.__module__ for loaded in CheckpointLoader._schemes.values()} == {'moganet.checkpoint.runner'}


@pytest.mark.parametrize(
    'read',
    [
        lambda path: load_checkpoint(nn.Linear(2, 2), path),
        lambda path: CheckpointLoader.load_checkpoint(path),
        lambda path: _load_checkpoint_with_prefix('head', path),
    ],
)
def test_mmengine_runs_no_code(loader, bomb, read):
    loader()
    path, marker = bomb
    with pytest.raises(ValueError, match=r'bomb.pth holds more than data'):
        read(path)
    assert not marker.exists()


def test_mmengine_runs_no_code_in_named_weights(loader, bomb, monkeypatch, tmp_path):
    loader()
    _path, marker = bomb
    monkeypatch.setenv('MOGANET_WEIGHTS', str(tmp_path))
    address = 'https://example.com/bomb.pth'
    monkeypatch.setattr('moganet.checkpoint.runner.torchvision_models', lambda: {'bomb': address})
    monkeypatch.setattr('moganet.checkpoint.runner.get_external_models', lambda: {'bomb': address})
    for name in (address, 'torchvision://bomb', 'open-mmlab://bomb'):
        with pytest.raises(ValueError, match=r'bomb.pth holds more than data'):
            CheckpointLoader.load_checkpoint(name)
    assert not marker.exists()


def test_named_weights_of_mmengine_load(loader, monkeypatch, tmp_path):
    pytest.importorskip('torchvision')
    loader()
    monkeypatch.setenv('MOGANET_WEIGHTS', str(tmp_path))
    torch.save({'fc.weight': torch.ones(1)}, tmp_path / 'resnet50-0676ba61.pth')
    assert CheckpointLoader.load_checkpoint('torchvision://resnet50')['fc.weight'] == 1


@pytest.mark.parametrize('name', ['mmcls://vgg11', 'pavi://a', 's3://bucket/a.pth', 'cluster:s3://bucket/a.pth'])
def test_schemes_without_safe_reader_are_refused(loader, name):
    loader()
    with pytest.raises(ValueError, match=f'{name}: this scheme is not supported; download the file'):
        CheckpointLoader.load_checkpoint(name)


def test_unknown_name_of_mmengine_is_refused(loader):
    pytest.importorskip('torchvision')
    loader()
    with pytest.raises(ValueError, match='torchvision://resnet5: MMEngine knows no'):
        CheckpointLoader.load_checkpoint('torchvision://resnet5')


def test_trust_is_passed_on(loader, bomb):
    path, marker = bomb
    loader(trust=True)
    load_checkpoint(nn.Linear(2, 2), path)
    assert marker.exists()
    loader()
    with pytest.raises(ValueError, match='more than data'):
        load_checkpoint(nn.Linear(2, 2), path)


def test_own_checkpoints_load_and_resume(loader, registered, tmp_path):
    loader()
    runner(tmp_path / 'whole', 2).train()
    half = str(tmp_path / 'whole' / 'epoch_1.pth')
    runner(tmp_path / 'resumed', 2, load_from=half, resume=True).train()

    saved = read_checkpoint(tmp_path / 'resumed' / 'epoch_2.pth')
    assert {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers', 'ema_state_dict'} <= set(saved)
    losses = saved['message_hub']['log_scalars']['train/loss']
    assert type(losses) is HistoryBuffer
    assert len(losses.data[0]) == 4
    assert saved['message_hub']['runtime_info']['best_score'] == 2.0
    for name, value in KEYPOINTS.items():
        np.testing.assert_array_equal(saved['meta']['dataset_meta'][name], value)
    for path in tmp_path.glob('*/*.pth'):
        assert len(read_checkpoint(path)['state_dict']) == TENSORS + 2
    expected = read_checkpoint(tmp_path / 'whole' / 'epoch_2.pth')
    for part in ('state_dict', 'ema_state_dict'):
        for name, value in expected[part].items():
            torch.testing.assert_close(saved[part][name], value, rtol=0, atol=0, msg=f'{part} {name}')


def test_own_checkpoint_says_its_gate(loader, registered, tmp_path):
    loader()
    runner(tmp_path, 1, model=model(gate='double')).train()
    with pytest.raises(ValueError, match=r"epoch_1.pth was trained with gate='double', the model has gate='single'"):
        runner(tmp_path, 2, load_from=str(tmp_path / 'epoch_1.pth')).train()


def test_runner_loads_official_file_into_classifier_and_its_average(loader, registered, tmp_path):
    loader()
    state = checkpoint_files.official(classes=2)
    torch.save({'state_dict': checkpoint_files.official(classes=2), 'state_dict_ema': state}, tmp_path / 'w.pth')
    loading = runner(tmp_path, 1, load_from=str(tmp_path / 'w.pth'))
    loading.call_hook('before_run')
    loading.load_or_resume()
    average = next(hook.ema_model.module for hook in loading.hooks if hasattr(hook, 'ema_model'))
    for model in (loading.model, average):
        assert torch.equal(model.backbone.norm1.weight, state['norm1.weight'])
        assert torch.equal(model.head.fc.weight, state['head.weight'])


@pytest.mark.parametrize('allow', [[], ['head.fc.*']])
def test_load_from_is_strict_save_for_allowed_names(loader, registered, tmp_path, allow):
    loader()
    torch.save({'state_dict': checkpoint_files.mmpretrain(classes=9)}, tmp_path / 'w.pth')
    loading = runner(
        tmp_path, 1, load_from=str(tmp_path / 'w.pth'), custom_hooks=[{'type': 'StrictLoad', 'allow': allow}]
    )
    if allow:
        loading.train()
        return
    with pytest.raises(ValueError, match=r'w.pth: head.fc.weight has 9 outputs, the model 2'):
        loading.train()


def test_init_cfg_of_config_is_safe(loader, registered, tmp_path, bomb):
    loader()
    path, marker = bomb
    with pytest.raises(ValueError, match='more than data'):
        runner(tmp_path, 1, model=model(init_cfg={'type': 'Pretrained', 'checkpoint': path})).train()
    assert not marker.exists()
