"""The Triton kernel of the gate equals the reference, in values and gradients."""

import interpreted
import pytest
import torch
from interpreted import relative

from moganet.ops import reference

gate = pytest.importorskip('moganet.ops.gpu.gate')
LAST = torch.channels_last


def test_gate_by_the_interpreter():
    interpreted.run_cases(__file__)


@pytest.mark.parametrize(('dtype', 'bound'), interpreted.BOUNDS)
@pytest.mark.parametrize('shape', [(1, 8, 1, 1), (2, 24, 7, 5)])
def case_gate_equals_reference(shape, dtype, bound):
    g, v = (torch.randn(shape, dtype=dtype).contiguous(memory_format=LAST).requires_grad_() for _ in range(2))
    exact = [x.detach().double().requires_grad_() for x in (g, v)]
    y, expected = gate.gated_silu(g, v), reference.gate(*exact)
    assert y.dtype is dtype and y.is_contiguous(memory_format=LAST)
    assert relative(y, expected) < bound
    grad = torch.randn_like(y)
    found = torch.autograd.grad(y, (g, v), grad)
    for ours, theirs in zip(found, torch.autograd.grad(expected, exact, grad.double()), strict=True):
        assert relative(ours, theirs) < bound


def case_maps_and_gradients_may_have_other_layouts():
    g, v = torch.randn(2, 6, 4, 10)[..., ::2].requires_grad_(), torch.randn(2, 4, 5, 6).permute(0, 3, 1, 2)
    y = gate.gated_silu(g, v)
    assert relative(y, reference.gate(g, v)) < 1e-6
    (found,) = torch.autograd.grad(y.sum(), g)  # of one number, expanded
    (expected,) = torch.autograd.grad(reference.gate(g, v).sum(), g)
    assert relative(found, expected) < 1e-6


def case_gate_keeps_its_two_inputs_alone():
    kept = []
    g, v = torch.randn(2, 1, 8, 3, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()), lambda _: None):
        gate.gated_silu(g, v)
    assert kept == [g.data_ptr(), v.data_ptr()]


def case_gate_is_an_operator():
    g, v = torch.randn(2, 1, 8, 3, 3, requires_grad=True)
    torch.library.opcheck(gate._gated_silu, (g, v))
