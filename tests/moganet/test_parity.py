"""The backbone computes what the official code computes, in every mode, size by size."""

from itertools import product

import pytest
import torch

from helpers import official
from helpers.cases import for_each
from helpers.official import SIZES, image, relative_error

TOLERANCE = 1e-5


@pytest.mark.parametrize('arch', SIZES)
def test_logits_equal_official_in_eval_mode(arch):
    model, head, _ = official.backbone(arch)
    logits = head(model(image((2, 3, 64, 64)))[-1])
    assert relative_error(logits, official.expected(arch)['logits']) < TOLERANCE


@pytest.mark.parametrize('arch', SIZES)
def test_maps_of_all_stages_equal_official(arch):
    model, _, _ = official.backbone(arch, out_indices=(0, 1, 2, 3))
    expected = official.expected(arch)
    for i, feature in enumerate(model(image((1, 3, 96, 64)))):
        assert relative_error(feature, expected[f'feat{i + 1}']) < TOLERANCE, f'stage {i}'


@pytest.mark.parametrize('arch', SIZES)
def test_logits_and_gradients_equal_official_in_train_mode(arch):
    model, head, (weight, bias) = official.backbone(arch)
    expected = official.expected(arch)
    logits = head(model.train()(image((2, 3, 64, 64)))[-1])
    logits.square().mean().backward()
    assert relative_error(logits, expected['train_logits']) < TOLERANCE
    parameters = {**dict(model.named_parameters()), 'head.weight': weight, 'head.bias': bias}
    gradients = [name for name in expected if name.startswith('grad:')]
    assert len(gradients) == 9
    for name in gradients:
        assert relative_error(parameters[name[5:]].grad, expected[name]) < TOLERANCE, name


@pytest.mark.parametrize('arch', SIZES)
def test_double_gate_equals_official_attn_force_fp32(arch):
    expected = official.expected(arch)
    x = image((2, 3, 64, 64))
    model, head, _ = official.backbone(arch, gate='double')
    logits = head(model(x)[-1])
    assert relative_error(logits, expected['logits_force_fp32']) < TOLERANCE
    assert relative_error(logits, expected['logits']) > 1e-3  # two functions: a hundred tolerances apart


@pytest.mark.parametrize('arch', SIZES)
def test_parameter_names_are_the_official_ones(arch):
    names = {name: shape for name, shape in official.keys(arch).items() if not name.startswith('head.')}
    model, _, _ = official.backbone(arch)
    assert {name: list(tensor.shape) for name, tensor in model.state_dict().items()} == names


@for_each(product(SIZES, [torch.float16, torch.bfloat16]))
def test_autocast_stays_near_float32(arch, dtype):
    model, _, _ = official.backbone(arch, out_indices=(0, 1, 2, 3))
    x = image((2, 3, 64, 64))
    with torch.no_grad():
        exact = model(x)
        with torch.autocast('cpu', dtype=dtype):
            rounded = model(x)
    for a, b in zip(rounded, exact, strict=True):
        assert 0 < relative_error(a.float(), b) < 2e-2


def test_double_precision_agrees_with_float32():
    model, _, _ = official.backbone('xtiny', out_indices=(0, 1, 2, 3))
    x = image((2, 3, 64, 64))
    with torch.no_grad():
        single = model(x)
        double = model.double()(x.double())
    for a, b in zip(single, double, strict=True):
        assert b.dtype == torch.float64
        assert relative_error(a, b) < 1e-5
