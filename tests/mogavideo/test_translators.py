"""The twelve translators equal the released code: outputs, names and initialisation."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from helpers import simvp_formulas
from helpers.cases import for_each
from helpers.official import image, relative_error
from helpers.released_simvp import SMALL, TRANSLATORS, clip, expected, keys, small_model, state_dict
from moganet.backbone import MogaBlock
from mogavideo import SimVP, translators

# A norm with another of the usual epsilons differs by 5e-6 or more.
TOLERANCE = 4e-6
EXPECTED = expected()
FORMULAS = simvp_formulas.BLOCKS


def full(translator):
    with torch.device('meta'):
        return SimVP(translator=translator)


def shapes(tensors):
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_each_translator_is_checked_by_an_output_or_a_formula():
    assert set(translators.TRANSLATORS) == set(TRANSLATORS)
    assert set(EXPECTED) | set(FORMULAS) == set(TRANSLATORS)
    assert set(EXPECTED) & set(FORMULAS) == set()


@for_each(EXPECTED)
def test_prediction_equals_the_released_code(translator):
    with torch.no_grad():
        prediction = small_model(translator)(clip())
    assert prediction.shape == (2, 10, 1, 32, 32)
    assert relative_error(prediction[..., ::4, ::4], EXPECTED[translator]) < TOLERANCE


@for_each(FORMULAS)
def test_prediction_equals_the_formula(translator):
    with torch.no_grad():
        prediction = small_model(translator)(clip())
        formula = simvp_formulas.predict(state_dict(translator), FORMULAS[translator], clip())
    assert relative_error(prediction, formula) < TOLERANCE


@for_each([name for name in FORMULAS if name != 'mlpmixer'])
def test_prediction_of_another_size_equals_the_formula(translator):
    clips = image((1, 10, 1, 16, 48), seed=1).sigmoid()
    with torch.no_grad():
        prediction = small_model(translator)(clips)
        formula = simvp_formulas.predict(state_dict(translator), FORMULAS[translator], clips)
    assert relative_error(prediction, formula) < TOLERANCE


@for_each(TRANSLATORS)
def test_names_and_shapes_are_the_released_ones(translator):
    for size, model in (('small', SimVP(translator=translator, **SMALL)), ('full', full(translator))):
        released = {name: torch.empty(shape, device='meta') for name, shape in keys(translator, size).items()}
        assert shapes(model.from_released(released)[0]) == shapes(model.state_dict()), size


@for_each([name for name in TRANSLATORS if name != 'moganet'])
def test_released_names_are_unchanged_save_moganets(translator):
    assert set(keys(translator, 'full')) == set(full(translator).state_dict())


def test_moganets_block_is_the_cores():
    blocks = [layer.block for layer in full('moganet').hid.enc]
    assert [type(block) for block in blocks] == [MogaBlock] * 8
    assert [block.norm1.num_features for block in blocks] == [640] + [512] * 7
    scales = {'layer_scale_1', 'layer_scale_2', 'attn.sigma.scale', 'mlp.sigma.scale'}
    start = dict(SimVP(**SMALL).hid.enc[1].block.named_parameters())
    assert all(torch.equal(start[name], torch.full_like(start[name], 1e-5)) for name in scales)
    assert all(isinstance(block.norm2, nn.BatchNorm2d) and not block.attn.double_gate for block in blocks)


@for_each(product([name for name in TRANSLATORS if name not in ('incepu', 'convmixer')], [0.0, 0.2]))
def test_drop_path_goes_from_one_percent_to_its_last_rate(translator, last):
    with torch.device('meta'):
        model = SimVP(translator=translator, drop_path=last, N_T=5)
    for i, layer in enumerate(model.hid.enc):
        drops = {'drop_path', 'drop_path1', 'drop_path2'} & set(dict(layer.block.named_children()))
        assert drops
        for name in drops:
            drop = getattr(layer.block, name)
            rate = getattr(drop, 'rate', getattr(drop, 'drop_prob', 0.0))
            assert rate == pytest.approx(0.01 + i / 4 * (last - 0.01))


def test_drop_path_drops_whole_samples_while_training():
    model = small_model('moganet', drop_path=0.5).train()
    block = model.hid.enc[3].block
    for norm in (block.norm1, block.norm2):
        norm.eval()  # whose statistics would mix the samples
    x = image((64, 64, 8, 8))
    untouched = [bool(torch.equal(a, b)) for a, b in zip(block(x), x, strict=True)]
    assert 5 <= sum(untouched) <= 30  # each of two branches is dropped with 0.5: a quarter of 64


# Standard deviation of the weights at the start, by family: 'fan_out' of convolutions is sqrt(2 / fan out).
START = dict.fromkeys(('moganet', 'gsta', 'convmixer', 'convnext', 'van', 'hornet', 'uniformer'), 'fan_out')


@for_each([name for name in TRANSLATORS if name != 'incepu'])
def test_blocks_start_as_released(translator):
    model = SimVP(translator=translator, **SMALL)
    large = [
        m for m in model.hid.enc[0].block.modules() if isinstance(m, nn.Conv2d | nn.Linear) and m.weight.numel() > 4000
    ]
    assert large
    for module in large:
        deviation = 0.02
        if isinstance(module, nn.Conv2d) and translator in START:
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            deviation = math.sqrt(2 / fan_out)
        assert module.weight.std().item() == pytest.approx(deviation, rel=0.1), module
        assert not module.bias.any()


@for_each(
    [
        ('gsta', ('layer_scale_1', 'layer_scale_2'), 1e-2),
        ('van', ('layer_scale_1', 'layer_scale_2'), 1e-2),
        ('poolformer', ('layer_scale_1', 'layer_scale_2'), 1e-5),
        ('convnext', ('gamma',), 1e-6),
        ('hornet', ('gamma1', 'gamma2'), 1e-6),
        ('uniformer', ('gamma_1', 'gamma_2'), 1e-6),
    ]
)
def test_scales_of_blocks_start_as_released(translator, names, value):
    block = SimVP(translator=translator, **SMALL).hid.enc[1].block
    for name in names:
        assert torch.equal(getattr(block, name), torch.full((64,), value))


def test_encoder_and_decoder_start_truncated_normal():
    model = SimVP(hid_S=32, hid_T=16, N_T=2)
    for part in (model.enc.enc, model.dec.dec):
        for layer in part:
            conv = next(m for m in layer.modules() if isinstance(m, nn.Conv2d))
            assert not conv.bias.any()
            if conv.in_channels > 1:
                assert conv.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_uniformer_is_local_first_and_where_channels_change():
    kinds = [type(layer.block).__name__ for layer in full('uniformer').hid.enc]
    assert kinds == ['ConvBlock', *['AttentionBlock'] * 6, 'ConvBlock']


@for_each([((16, 16), 4), ((14, 28), 7), ((32, 40), 4), ((96, 96), 6), ((256, 256), 8), ((4, 4), 4)])
def test_side_of_swins_windows(size, side):
    assert translators.window_side(size) == side


@for_each(
    [
        (dict(translator='moga'), "translator='moga': expected one of moganet, gsta, vit"),
        (dict(N_T=1), 'N_T=1: expected 2 or more'),
        (dict(drop_path=1.0), 'drop_path=1.0: expected a rate from 0 up to, not including, 1'),
        (dict(hid_T=60), 'hid_T=60 and frames x hid_S=640: expected multiples of 8'),
        (dict(translator='incepu', hid_T=24), 'of hid_T 16 for incepu'),
        (dict(translator='swin', in_shape=(10, 1, 72, 72)), 'windows of 4x4, which do not divide maps of 18x18'),
    ]
)
def test_options_that_no_translator_can_have(options, message):
    with pytest.raises(ValueError, match=message), torch.device('meta'):
        SimVP(**options)
