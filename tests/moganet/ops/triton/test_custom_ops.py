"""The branches of a block as PyTorch operators: registered as PyTorch expects, for compilers and fake maps."""

import pytest
import torch

from helpers.few_blocks import lively
from helpers.interpreted import by_interpreter, parametrize
from moganet.backbone import MogaBlock
from moganet.ops import block as blocks

operators = pytest.importorskip('moganet.ops.triton.custom_ops')


def arguments(name, dtype=torch.float32, shape=(2, 3, 4, 8)):
    block = lively(MogaBlock(shape[-1], 2, 0.0, (1, 2, 3), 'single')).to(dtype)
    x, normed = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(2))
    mask = torch.rand(shape[0], 1, 1, 1)
    if name == 'spatial_branch':
        return x, normed, mask, list(blocks.spatial_weights(block)), operators.packed(blocks.options_of(block))
    return x, normed, mask, list(blocks.channel_weights(block)), operators.packed(blocks.options_of(block))


@by_interpreter
@parametrize(('name', 'dtype'), [('channel_branch', torch.bfloat16), ('spatial_branch', torch.float32)])
def test_operators_are_what_they_are_registered_as(name, dtype):
    operator = getattr(torch.ops.moganet, name).default
    torch.library.opcheck(operator, arguments(name, dtype, (2, 2, 2, 8)))


@pytest.mark.parametrize('name', ['spatial_branch', 'channel_branch'])
def test_fake_maps_go_through_without_a_kernel(name):
    operator = getattr(torch.ops.moganet, name).default
    real = arguments(name, torch.bfloat16, (2, 2, 3, 64))
    with torch._subclasses.FakeTensorMode() as mode:
        x, normed, mask, *_ = (t if t is None else mode.from_tensor(t) for t in real[:3])
        weights, options = [mode.from_tensor(w) for w in real[3]], real[4]
        out, *kept = operator(x, normed, mask, weights, options)
        assert out.shape == x.shape
        assert out.dtype is torch.bfloat16
        assert not any(t.requires_grad for t in kept)
        grads = torch.autograd.grad(out.sum(), (x, normed, *weights))
        for tensor, grad in zip((x, normed, *weights), grads, strict=True):
            assert grad.shape == tensor.shape
            assert grad.dtype is tensor.dtype
