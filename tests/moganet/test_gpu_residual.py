"""The Triton kernels that end a half of a block equal their definition, in values and gradients."""

import interpreted
import pytest
import torch
from interpreted import relative

residual = pytest.importorskip('moganet.ops.gpu.residual')
parts = pytest.importorskip('moganet.ops.gpu.parts')
LAST = torch.channels_last


def test_residuals_by_the_interpreter():
    interpreted.run_cases(__file__)


def reference(x, t, e, s, mask):
    return x + (1 if mask is None else mask) * (t + e * s)


def arguments(shape, is_map, masked=True, dtype=torch.float32, wide=None):
    """``wide``: the type of the shortcut and of the weights."""
    batch, channels, *sides = shape
    shapes = shape, shape, shape if is_map else (batch, 1, *sides)
    x, t, e = (torch.randn(s, dtype=d).contiguous(memory_format=LAST).requires_grad_()
               for s, d in zip(shapes, (wide or dtype, dtype, dtype), strict=True))  # fmt: skip
    s = torch.randn(1, channels, 1, 1, dtype=wide or dtype, requires_grad=True)
    return x, t, e, s, torch.arange(batch).view(-1, 1, 1, 1) / 2 if masked else None


def assert_equals_reference(tensors, bound):
    *tensors, mask = tensors
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    found, expected = residual.residual(*tensors, mask), reference(*exact, mask)
    assert found.dtype is tensors[0].dtype and found.is_contiguous(memory_format=LAST)
    assert relative(found, expected) < bound
    grad = torch.randn_like(found)
    found = torch.autograd.grad(found, tensors, grad)
    for x, ours, theirs in zip(tensors, found, torch.autograd.grad(expected, exact, grad.double()), strict=True):
        assert ours.dtype is x.dtype and ours.shape == x.shape and relative(ours, theirs) < bound


@pytest.mark.parametrize(('dtype', 'bound'), interpreted.BOUNDS)
@pytest.mark.parametrize(('is_map', 'masked'), [(True, True), (True, False), (False, True), (False, False)])
def case_residual_equals_its_definition(is_map, masked, dtype, bound):
    assert_equals_reference(arguments((3, 24, 5, 7), is_map, masked, dtype), bound)


@pytest.mark.parametrize('is_map', [True, False])
@pytest.mark.parametrize('masked', [True, False])
def case_the_shortcut_may_be_of_a_wider_type(is_map, masked):
    assert_equals_reference(arguments((2, 8, 3, 4), is_map, masked, torch.bfloat16, torch.float32), 1e-2)


def case_the_result_is_of_the_type_of_the_sum():
    x, t, e, s, mask = arguments((2, 8, 3, 4), False, True, torch.bfloat16)
    found = residual.residual(x, t, e, s.detach().float().requires_grad_(), mask)
    assert found.dtype is torch.float32
    assert torch.autograd.grad(found.sum(), x)[0].dtype is torch.bfloat16


@pytest.mark.parametrize('programs', [1, 1000])
@pytest.mark.parametrize('is_map', [True, False])
def case_maps_may_be_larger_than_a_program(is_map, programs, monkeypatch):
    monkeypatch.setattr(parts, 'PROGRAMS', programs)
    assert_equals_reference(arguments((2, 72, 5, 15), is_map), 1e-6)


def case_kept_are_neither_the_shortcut_nor_the_branch():
    kept = []
    tensors = arguments((2, 8, 3, 4), True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()), lambda _: None):
        residual.residual(*tensors)
    assert kept == [tensor.data_ptr() for tensor in tensors[2:]]


@pytest.mark.parametrize('is_map', [True, False])
def case_residual_is_an_operator(is_map):
    torch.library.opcheck(residual._residual, arguments((2, 8, 3, 4), is_map))
    torch.library.opcheck(residual._residual, arguments((2, 8, 3, 4), is_map, masked=False))
