"""The Triton kernels of the 3x3 convolution, GELU and decompose equal the reference, in values and gradients."""

import interpreted
import pytest
import torch
from interpreted import relative
from torch.nn import functional as F

aggregate = pytest.importorskip('moganet.ops.gpu.aggregate')
LAST = torch.channels_last


def test_aggregation_by_the_interpreter():
    interpreted.run_cases(__file__)


def reference(h, w, b, w_context, b_context):
    a = F.gelu(F.conv2d(h, w, b, padding=1, groups=h.shape[1]))
    return a, F.conv2d(a, w_context, b_context)


def arguments(shape, dtype=torch.float32, weights=None):
    channels = shape[1]
    shapes = (channels, 1, 3, 3), (channels,), (1, channels, 1, 1), (1,)
    h = torch.randn(shape, dtype=dtype).contiguous(memory_format=LAST)
    return [tensor.requires_grad_() for tensor in (h, *(torch.randn(s, dtype=weights or dtype) for s in shapes))]


def assert_equals_reference(tensors, bound):
    exact = [x.detach().double().requires_grad_() for x in tensors]
    found, expected = aggregate.dwconv_gelu_decompose(*tensors), reference(*exact)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype is tensors[0].dtype and ours.is_contiguous(memory_format=LAST)
        assert relative(ours, theirs) < bound
    grads = [torch.randn_like(out) for out in found]
    found = torch.autograd.grad(found, tensors, grads)
    for x, ours, theirs in zip(
        tensors, found, torch.autograd.grad(expected, exact, [g.double() for g in grads]), strict=True
    ):
        assert ours.dtype is x.dtype and relative(ours, theirs) < bound


@pytest.mark.parametrize(('dtype', 'bound'), interpreted.BOUNDS)
@pytest.mark.parametrize('shape', [(1, 8, 1, 1), (2, 24, 5, 7)])
def case_aggregation_equals_reference(shape, dtype, bound):
    assert_equals_reference(arguments(shape, dtype), bound)


@pytest.mark.parametrize('shape', [(1, 72, 2, 18), (2, 16, 18, 3), (3, 8, 1, 9)])
def case_maps_may_be_larger_than_a_program_or_smaller_than_the_kernel(shape):
    assert_equals_reference(arguments(shape), 1e-5)


def case_weights_may_be_of_another_type_than_maps():
    assert_equals_reference(arguments((1, 16, 4, 3), torch.bfloat16, weights=torch.float32), 2e-2)


def case_programs_share_rows_and_images_and_sum_alike(monkeypatch):
    monkeypatch.setattr(aggregate, 'PROGRAMS', 1)
    assert aggregate._shares(5, 8, 9, 4) == (9, 8)
    assert_equals_reference(arguments((5, 8, 9, 4)), 1e-5)
    monkeypatch.setattr(aggregate, 'PROGRAMS', 4)
    assert aggregate._shares(5, 8, 9, 4) == (9, 1)
    monkeypatch.setattr(aggregate, 'PROGRAMS', 12)
    assert aggregate._shares(5, 8, 9, 4) == (3, 1)
    assert_equals_reference(arguments((5, 8, 9, 4)), 1e-5)


def case_maps_and_gradients_may_have_other_layouts():
    tensors = [torch.randn(1, 8, 4, 10)[..., ::2].requires_grad_(), *arguments((1, 8, 4, 5))[1:]]
    grads = []
    for function in (aggregate.dwconv_gelu_decompose, reference):
        a, c = function(*tensors)
        grads.append(torch.autograd.grad(a.sum() + 2 * c.sum(), tensors))
    for ours, theirs in zip(*grads, strict=True):
        assert relative(ours, theirs) < 1e-5


def case_one_result_alone_has_gradients():
    tensors = arguments((1, 8, 3, 4))
    for i in range(2):
        found, expected = (torch.autograd.grad(f(*tensors)[i].square().sum(), tensors[:3])
                           for f in (aggregate.dwconv_gelu_decompose, reference))  # fmt: skip
        for ours, theirs in zip(found, expected, strict=True):
            assert relative(ours, theirs) < 1e-5


def case_of_the_maps_only_the_input_is_kept():
    kept = []
    h, *weights = arguments((1, 8, 3, 4))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()), lambda _: None):
        aggregate.dwconv_gelu_decompose(h, *weights)
    assert kept == [x.data_ptr() for x in (h, *weights[:3])]


def case_aggregation_is_an_operator():
    torch.library.opcheck(aggregate._aggregate, tuple(arguments((1, 8, 3, 4))))
