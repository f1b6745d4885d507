"""The recipes of video prediction have the settings behind the published numbers."""

from itertools import product

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS

from helpers.cases import for_each
from helpers.tool_runs import ROOT
from moganet.run.config import load_config

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
SETS = ('mmnist', 'mmnist_2000e', 'mfmnist')
# The largest rate, where it is not 1e-3.
RATES = dict.fromkeys(product(('convmixer', 'convnext'), SETS), 1e-2)
RATES |= dict.fromkeys(product(('uniformer', 'vit'), SETS), 5e-4)
RATES |= {('van', 'mfmnist'): 5e-3}
every_recipe = for_each(product(TRANSLATORS, SETS))


def config(translator, data):
    return load_config(ROOT / f'configs/video/simvp_{translator}_{data}.py')


@every_recipe
def test_translator_rate_and_length_are_the_released_ones(translator, data):
    cfg = config(translator, data)
    epochs = 2000 if data == 'mmnist_2000e' else 200
    assert (cfg.model.translator, cfg.model.hid_S, cfg.model.hid_T, cfg.model.N_S, cfg.model.N_T) == (
        translator,
        64,
        512,
        4,
        8,
    )
    cycle, down, up = cfg.param_scheduler
    assert (cycle.type, cycle.eta_max) == ('OneCycleLR', RATES.get((translator, data), 1e-3))
    assert (cycle.total_steps, cfg.train_cfg.max_epochs) == (epochs, epochs)
    assert (down.end, down.T_max, up.begin, up.end, up.T_max) == tuple(
        round(share * epochs) for share in (0.3, 0.3, 0.3, 1, 0.7)
    )


@every_recipe
def test_clips_are_those_of_the_data_set(translator, data):
    cfg = config(translator, data)
    train, test = cfg.train_dataloader, cfg.test_dataloader
    folder, clips = ('fmnist', 'fmnist_test_seq.npy') if data == 'mfmnist' else ('mnist', 'mnist_test_seq.npy')
    assert (train.batch_size, train.drop_last, train.dataset.length) == (16, True, 10000)
    assert (train.dataset.data_root, train.dataset.file) == (f'data/moving_{folder}', 'train-images-idx3-ubyte.gz')
    assert cfg.val_dataloader == test
    assert (test.dataset.data_root, test.dataset.file) == (f'data/moving_{folder}', clips)


@pytest.mark.parametrize('data', SETS)
def test_rate_and_momentum_go_as_pytorchs_one_cycle(data):
    cfg = config('moganet', data)
    per_epoch = 5  # in place of 625: the schedule depends on fractions
    total = cfg.train_cfg.max_epochs * per_epoch
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    expected = torch.optim.Adam(parameters, lr=1e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(expected, 1e-3, total_steps=total)
    settings = {key: value for key, value in cfg.optim_wrapper.optimizer.items() if key != 'type'}
    ours = torch.optim.Adam(parameters, **settings)
    schedulers = []
    for entry in cfg.param_scheduler:
        entry = dict(entry)
        assert entry.pop('by_epoch')
        assert entry.pop('convert_to_iter_based')
        cls = PARAM_SCHEDULERS.get(entry.pop('type'))
        schedulers.append(cls.build_iter_from_epoch(optimizer=ours, epoch_length=per_epoch, **entry))
    for _ in range(total - 1):
        for a, b in zip(expected.param_groups, ours.param_groups, strict=True):
            assert b['lr'] == pytest.approx(a['lr'], rel=1e-6)
            # PyTorch's phases end an iteration earlier: a shift of one in `total`.
            assert b['betas'][0] == pytest.approx(a['betas'][0], abs=0.4 / total)
            assert b['betas'][1] == a['betas'][1] == 0.999
        expected.step(), ours.step()
        for scheduler in (cycle, *schedulers):
            scheduler.step()
