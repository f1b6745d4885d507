"""The Triton kernels of feature decomposition and its activation equal the reference, in values and gradients."""

import interpreted
import pytest
import torch
from interpreted import relative
from torch.nn import functional as F

from moganet.ops.reference import decompose_features

decompose = pytest.importorskip('moganet.ops.gpu.decompose')
parts = pytest.importorskip('moganet.ops.gpu.parts')
LAST = torch.channels_last


def test_decomposition_by_the_interpreter():
    interpreted.run_cases(__file__)


def reference(y, scale):
    return F.silu(decompose_features(y, scale))


def arguments(shape, dtype=torch.float32):
    y = (torch.randn(shape) + 1).to(dtype).contiguous(memory_format=LAST)
    return y.requires_grad_(), torch.randn(1, shape[1], 1, 1, dtype=dtype).requires_grad_()


def assert_equals_reference(y, scale, bound):
    exact = [x.detach().double().requires_grad_() for x in (y, scale)]
    found, expected = decompose.decomposed_silu(y, scale), reference(*exact)
    assert found.dtype is y.dtype and found.is_contiguous(memory_format=LAST)
    assert relative(found, expected) < bound
    grad = torch.randn_like(found)
    found = torch.autograd.grad(found, (y, scale), grad)
    for x, ours, theirs in zip((y, scale), found, torch.autograd.grad(expected, exact, grad.double()), strict=True):
        assert ours.dtype is x.dtype and relative(ours, theirs) < bound


@pytest.mark.parametrize(('dtype', 'bound'), interpreted.BOUNDS)
@pytest.mark.parametrize('shape', [(1, 8, 1, 2), (2, 24, 5, 7)])
def case_decomposition_equals_reference(shape, dtype, bound):
    assert_equals_reference(*arguments(shape, dtype), bound)


def case_the_mean_of_one_position_is_itself():
    y, scale = arguments((2, 8, 1, 1))
    assert_equals_reference(y, scale.detach().requires_grad_(False).zero_().requires_grad_(), 1e-6)


@pytest.mark.parametrize('programs', [1, 12, 1000])
def case_maps_may_be_larger_than_a_program(programs, monkeypatch):
    monkeypatch.setattr(parts, 'PROGRAMS', programs)
    assert parts.longest(torch.empty(2, 72, 9, 15)) == {1: 256, 12: 64, 1000: 32}[programs]
    assert_equals_reference(*arguments((2, 72, 9, 15)), 1e-5)


def case_weights_may_be_of_another_type_than_maps():
    y, scale = arguments((1, 16, 4, 3))
    assert_equals_reference(y.detach().bfloat16().requires_grad_(), scale, 2e-2)


def case_maps_and_gradients_may_have_other_layouts():
    tensors = torch.randn(1, 8, 4, 10)[..., ::2].requires_grad_(), arguments((1, 8, 4, 5))[1]
    found, expected = (torch.autograd.grad(f(*tensors).sum(), tensors) for f in (decompose.decomposed_silu, reference))
    for ours, theirs in zip(found, expected, strict=True):
        assert relative(ours, theirs) < 1e-5


def case_of_the_maps_only_the_input_is_kept():
    kept = []
    y, scale = arguments((2, 8, 3, 4))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(tuple(t.shape)), lambda _: None):
        decompose.decomposed_silu(y, scale)
    assert kept == [(2, 8, 3, 4), (2, 8), (1, 8, 1, 1)]


def case_decomposition_is_an_operator():
    torch.library.opcheck(decompose._decomposed_silu, arguments((1, 8, 3, 4)))
