"""Dispatch: modes, and calls that no backend accepts because it would not compute the same as the modules."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.few_blocks import accepted
from moganet import ops
from moganet.backbone import MogaBlock
from moganet.ops import conditions

PARTS = ('attn', 'attn.proj_1', 'attn.sigma', 'attn.value', 'attn.value.DW_conv2', 'mlp', 'mlp.fc2')


def set_environment(monkeypatch, value):
    if value is None:
        monkeypatch.delenv('MOGANET_OPS', raising=False)
    else:
        monkeypatch.setenv('MOGANET_OPS', value)


@pytest.fixture
def block():
    return MogaBlock(8, 2, 0.0, (1, 2, 3), 'single').eval()


@pytest.fixture
def x(monkeypatch):
    monkeypatch.setattr(conditions, 'MIN_ELEMENTS', 1 * 8 * 6 * 6)
    return torch.randn(1, 8, 6, 6)


def test_the_faster_path_is_the_default_on_a_cpu(block, x):
    assert accepted(block, x)
    assert accepted(block.double(), x.double())


def test_small_and_empty_maps_take_the_reference(block, x, monkeypatch):
    assert not accepted(block, x[..., 1:])
    monkeypatch.setattr(conditions, 'MIN_ELEMENTS', 0)
    assert accepted(block, x[..., 1:])
    assert not accepted(block, x[:0])


def test_use_switches_it_off_and_on_again(block, x):
    with ops.use('reference'):
        assert not accepted(block, x)
        with ops.use('auto'):
            assert accepted(block, x)
        assert not accepted(block, x)
    assert accepted(block, x)


def test_other_choices_are_refused_by_name():
    with pytest.raises(ValueError, match=r"use\(\) is 'fast': expected auto, pytorch or reference"), ops.use('fast'):
        pass


@pytest.mark.parametrize(
    ('value', 'applies'), [('reference', False), ('pytorch', True), ('auto', True), ('', True), (None, True)]
)
def test_the_environment_switches_it(block, x, monkeypatch, value, applies):
    set_environment(monkeypatch, value)
    assert accepted(block, x) is applies
    with ops.use('auto'):
        assert accepted(block, x)


def test_a_misspelt_environment_is_named(block, x, monkeypatch):
    set_environment(monkeypatch, 'quick')
    with pytest.raises(ValueError, match="MOGANET_OPS is 'quick': expected auto, pytorch or reference"):
        block(x)


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('kind', ['register_forward_hook', 'register_forward_pre_hook', 'register_full_backward_hook'])
def test_hooks_on_parts_are_called(block, x, part, kind):
    calls = []
    handle = getattr(block.get_submodule(part), kind)(lambda *args: calls.append(part))
    assert not accepted(block, x)
    if part != 'attn.sigma':  # its scale is read, the module never called
        block(x.requires_grad_()).sum().backward()
        assert calls == [part]
    handle.remove()
    assert accepted(block, x)


def test_norms_with_hooks_are_called_by_the_faster_path(block, x):
    calls = []
    block.norm1.register_forward_hook(lambda *args: calls.append('norm1'))
    assert accepted(block, x)
    block(x)
    assert calls == ['norm1']


def test_replaced_and_rewritten_parts_are_called(block, x):
    block.attn.gate = nn.Sequential(block.attn.gate)  # as adapters and quantisers do
    assert not accepted(block, x)
    block.attn.gate = block.attn.gate[0]
    nn.utils.parametrizations.weight_norm(block.mlp.fc1)
    assert not accepted(block, x)


class Wrapper(nn.Module):
    """As those that shard or checkpoint a part: it shows the part's own attributes."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def __getattr__(self, name):
        return super().__getattr__(name) if name == 'part' else getattr(self.part, name)

    def forward(self, x):
        return 0 * self.part(x)


@pytest.mark.parametrize('part', ['attn', 'attn.value', 'mlp'])
def test_wrapped_parts_are_called(block, x, part):
    with ops.use('reference'):
        whole = block(x)
    block.set_submodule(part, Wrapper(block.get_submodule(part)))
    assert not accepted(block, x)
    assert not torch.equal(block(x), whole)


def test_parts_without_their_parts_are_called(block, x):
    block.attn = nn.Identity()
    block.mlp = nn.Identity()
    normed = x + block.layer_scale_1 * block.norm1(x)
    assert torch.equal(block(x), normed + block.layer_scale_2 * block.norm2(normed))


def test_a_rewritten_forward_is_called(block, x):
    block.mlp.forward = lambda y: 0 * y
    assert not accepted(block, x)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_by_the_reference(block, x, dtype):
    with torch.autocast('cpu', dtype=dtype):
        assert not accepted(block, x)
    assert not accepted(block.to(dtype), x.to(dtype))
    assert not accepted(block.float(), x.to(dtype))


def test_other_devices_and_captured_graphs_take_the_reference(block, x):
    assert not accepted(block.to('meta'), x.to('meta'))


def test_counters_see_the_reference(block, x):
    counts = []
    for name in ('auto', 'reference'):
        with ops.use(name), FlopCounterMode(display=False) as counter:
            block(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_tracing_records_the_modules(block, x):
    seen = str(torch.jit.trace(block, x).inlined_graph)
    assert 'linear_pointwise' not in seen
    assert seen.count('aten::_convolution') == 11


def test_function_transforms_take_the_reference(block, x):
    (jacobian,) = torch.func.vjp(block, x)[1](torch.ones_like(x))
    y = x.clone().requires_grad_()
    block(y).sum().backward()
    assert torch.allclose(jacobian, y.grad, rtol=1e-5, atol=1e-6)
    tangent = torch.func.jvp(block, (x,), (torch.ones_like(x),))[1]
    assert torch.isfinite(tangent).all()
    assert tangent.norm() > 0


def test_a_run_is_told_once(block, x, told):
    for _ in range(3):
        block(x)
    assert [line for line in told if 'MOGANET_OPS=reference' in line] == told
    assert len(told) == 1
