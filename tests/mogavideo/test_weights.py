"""Released checkpoints of all twelve translators load by name, safely and whole, in each of their layouts."""

from types import SimpleNamespace

import pytest
import torch

from helpers.checkpoint_files import command
from helpers.official import fill
from helpers.released_simvp import SMALL, TRANSLATORS, clip, keys, small_model, state_dict
from moganet.checkpoint import find_weights, list_weights, load_model
from moganet.checkpoint.runner import StrictLoad
from mogavideo import SimVP
from mogavideo.layouts import from_released

ROWS = [row for row in list_weights() if row.name.startswith('video/')]
OPENSTL = 'https://github.com/chengtan9907/OpenSTL/releases/download/'


def with_buffers(tensors, translator):
    """Add the buffers of timm 0.6's Swin blocks."""
    if translator == 'swin':
        for i in range(SMALL['N_T']):
            tensors[f'hid.enc.{i}.block.attn.relative_position_index'] = torch.zeros(16, 16, dtype=torch.int64)
            if i % 2:
                tensors[f'hid.enc.{i}.block.attn_mask'] = torch.zeros(4, 16, 16)
    return tensors


def training_file(tensors):
    """Return a checkpoint as SimVP's training writes after each epoch."""
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=10)
    parameters[0].grad = torch.ones(2)
    optimizer.step()
    return dict(epoch=200, state_dict=tensors, optimizer=optimizer.state_dict(), scheduler=scheduler.state_dict())


def lightning_file(tensors):
    prefixed = {f'model.{name}': value for name, value in tensors.items()}
    return {
        **training_file(prefixed),
        'global_step': 125000,
        'pytorch-lightning_version': '1.9.0',
        'loops': {},
        'callbacks': {"ModelCheckpoint{'monitor': 'val_loss'}": dict(best_model_score=torch.tensor(25.57))},
        'hyper_parameters': dict(dataname='mmnist', in_shape=[10, 1, 64, 64], model_type='moga'),
    }


LAYOUTS = {
    'raw': lambda tensors: tensors,
    'training': training_file,
    'lightning': lightning_file,
    'ddp': lambda tensors: {f'module.{name}': value for name, value in tensors.items()},
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('translator', TRANSLATORS)
def test_released_checkpoint_loads_whole(translator, layout, tmp_path):
    file = tmp_path / 'checkpoint.pth'
    torch.save(LAYOUTS[layout](with_buffers(state_dict(translator), translator)), file)
    model = SimVP(translator=translator, **SMALL)
    line = load_model(model, file)
    number = len(keys(translator))
    assert line.startswith(f'loaded {number} of {number} tensors from {file}')
    assert ("prefix 'model.' taken off" in line) == (layout == 'lightning')
    assert ('8 sigma named sigma.scale' in line) == (translator == 'moganet')
    assert ('left out 6 buffers of windows' in line) == (translator == 'swin')
    own = model.state_dict()
    for name, shape in keys(translator).items():
        assert torch.equal(own[f'{name}.scale' if name.endswith('.sigma') else name], fill(name, shape)), name


@pytest.mark.parametrize('translator', ['moganet', 'swin'])
def test_own_checkpoint_keeps_its_names(translator, tmp_path):
    trained, model = small_model(translator), SimVP(translator=translator, **SMALL)
    torch.save(dict(state_dict=trained.state_dict(), meta=dict(epoch=3)), tmp_path / 'epoch_3.pth')
    line = load_model(model, tmp_path / 'epoch_3.pth')
    assert line.endswith('epoch_3.pth')
    with torch.no_grad():
        assert torch.equal(model.eval()(clip()), trained(clip()))


def test_names_of_others_are_left_alone():
    tensors = {'model.enc.weight': torch.zeros(1), 'head.attn.sigma': torch.zeros(1), 'attn_mask': torch.zeros(1)}
    found, note = from_released(tensors)
    assert dict(found) == tensors
    assert note == ''


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda t: t.pop('hid.enc.2.block.attn.sigma'), '1 missing: hid.enc.2.block.attn.sigma.scale'),
        (lambda t: t.update({'hid.enc.4.norm.weight': torch.zeros(1)}), '1 left over: hid.enc.4.norm.weight'),
        (
            lambda t: t.update({'hid.enc.1.block.attn.sigma': torch.zeros(1, 8, 1, 1)}),
            '1 of another shape: hid.enc.1.block.attn.sigma.scale',
        ),
        (lambda t: t.update({'hid.enc.1.block.attn.relative_position_bias': torch.zeros(1)}), '1 left over'),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(change, message):
    tensors = state_dict('moganet')
    change(tensors)
    with pytest.raises(ValueError, match=message):
        load_model(SimVP(**SMALL), tensors)


@pytest.mark.parametrize(('other', 'message'), [('gsta', '8 of another shape'), ('incepu', 'missing: .*left over: ')])
def test_checkpoint_of_another_translator_is_refused(other, message):
    with pytest.raises(ValueError, match=f'does not fit the model whole.*{message}'):
        load_model(SimVP(**SMALL), state_dict(other))


def test_checkpoint_that_runs_code_is_refused(tmp_path):
    torch.save(dict(state_dict=state_dict('convmixer'), scheduler=command(tmp_path / 'ran')), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'evil\.pth'):
        load_model(SimVP(translator='convmixer', **SMALL), tmp_path / 'evil.pth')
    assert not (tmp_path / 'ran').exists()


def test_runner_loads_released_names():
    """MMEngine's Runner loads the checkpoint after its hooks, which have renamed the tensors to the model's names."""
    model = SimVP(**SMALL)
    checkpoint = dict(state_dict={f'model.{name}': value for name, value in state_dict('moganet').items()})
    StrictLoad().after_load_checkpoint(SimpleNamespace(model=model, _load_from='released.pth'), checkpoint)
    assert set(checkpoint['state_dict']) == set(model.state_dict())


def test_every_recipe_has_a_released_file():
    names = {f'video/simvp_{t}_{recipe}' for t in TRANSLATORS for recipe in ('mmnist', 'mmnist_2000e', 'mfmnist')}
    assert {row.name for row in ROWS} == names
    assert len(ROWS) == len({row.url for row in ROWS}) == 36
    assert {(row.gate, row.layout, row.sha256) for row in ROWS} == {(None, 'openstl', None)}
    assert all(row.arch in row.file for row in ROWS)


@pytest.mark.parametrize(
    ('name', 'address'),
    [
        ('simvp_moganet_mmnist', 'mmnist-weights/mmnist_simvp_s_moganet_one_ep200.pth'),
        ('simvp_incepu_mmnist_2000e', 'mmnist-weights/mmnist_simvp_s_incepu_one_ep2000.pth'),
        ('simvp_mlpmixer_mfmnist', 'mfmnist-weights/fmnist_simvp_mlpmixer_one_ep200.pth'),
    ],
)
def test_names_mean_the_released_files(name, address):
    assert find_weights(f'moganet://video/{name}').url == OPENSTL + address


def test_released_file_loads_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv('MOGANET_WEIGHTS', str(tmp_path))
    torch.save(state_dict('van'), tmp_path / 'fmnist_simvp_van_one_ep200.pth')
    line = load_model(SimVP(translator='van', **SMALL), 'moganet://video/simvp_van_mfmnist')
    assert line == f'loaded {len(keys("van"))} of {len(keys("van"))} tensors from moganet://video/simvp_van_mfmnist'
