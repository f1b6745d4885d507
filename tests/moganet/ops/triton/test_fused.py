"""A folded block by the Triton kernels equals the folded block by PyTorch's own operations."""

import pytest
import torch

import moganet
from helpers import interpreted
from helpers.few_blocks import filled
from helpers.interpreted import by_interpreter, parametrize, relative
from moganet import ops
from moganet.backbone import MogaBlock

on_gpu = pytest.importorskip('moganet.ops.triton.fused')


def arguments(channels, gate='single', dtype=torch.float32):
    fused = moganet.fuse(filled(MogaBlock(channels, 2, 0, (1, 2, 3), gate))).to(dtype)
    return fused.spatial.weights(), fused.channel.weights(), fused.spatial.options()


def assert_equals_parts(shape, gate, dtype, bound):
    x = torch.randn(shape)
    found = on_gpu.block(x.to(dtype), *arguments(shape[1], gate, dtype), cache=True)
    with ops.use('reference'):
        expected = ops.fused.block(x.double(), *arguments(shape[1], gate, torch.float64))
    assert found.dtype is dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert relative(found, expected) < bound


@by_interpreter
@parametrize('gate', ['single', 'double'])
@parametrize('shape', [(2, 8, 5, 7), (1, 24, 3, 3)], ids=str)
@torch.no_grad()
def test_a_block_equals_its_parts(shape, gate):
    assert_equals_parts(shape, gate, torch.float32, 1e-6)


@pytest.mark.interpreter
@by_interpreter
@pytest.mark.parametrize(('dtype', 'bound'), interpreted.BOUNDS[1:])
@torch.no_grad()
def test_half_precision_is_near(dtype, bound):
    assert_equals_parts((2, 16, 6, 5), 'single', dtype, bound)


@pytest.mark.interpreter
@by_interpreter
@torch.no_grad()
def test_what_is_prepared_follows_the_weights():
    spatial, channel, options = arguments(8)
    x = torch.randn(1, 8, 4, 4)
    before = on_gpu.block(x, spatial, channel, options, cache=True)
    known = len(on_gpu.cache_of_weights)
    assert torch.equal(on_gpu.block(x, spatial, channel, options, cache=True), before)
    assert len(on_gpu.cache_of_weights) == known
    for weights, i in ((spatial, 5), (channel, 6)):
        weights[i].mul_(2)  # changed in place
        after = on_gpu.block(x, spatial, channel, options, cache=True)
        assert not torch.equal(after, before)
        weights[i] = torch.nn.Parameter(weights[i] / 2, requires_grad=False)  # replaced
        assert torch.equal(on_gpu.block(x, spatial, channel, options, cache=True), before)
    with torch.inference_mode():
        spatial = [w.clone() for w in spatial]
        assert torch.equal(on_gpu.block(x, spatial, channel, options, cache=True), before)
        spatial[5].mul_(2)  # inference tensors count no versions
        assert not torch.equal(on_gpu.block(x, spatial, channel, options, cache=True), before)


@pytest.mark.gpu
@pytest.mark.parametrize(('channels', 'side'), [(64, 56), (128, 28), (320, 14), (512, 7)])
@torch.no_grad()
def test_a_block_on_a_gpu_equals_its_parts(channels, side):
    *weights, options = arguments(channels)
    weights = [[tensor.cuda() for tensor in half] for half in weights]
    x = torch.randn(4, channels, side, side, device='cuda')
    found = ops.fused.block(x, *weights, options)
    with ops.use('reference'):
        expected = ops.fused.block(x, *weights, options)
    assert relative(found, expected) < 1e-3  # TF32 is off by default; both sum in different orders


@pytest.mark.gpu
@torch.no_grad()
def test_a_compiled_block_on_a_gpu_is_the_same():
    block = moganet.fuse(filled(MogaBlock(64, 8, 0, (1, 2, 3), 'single'))).cuda()
    x = torch.randn(2, 64, 20, 24, device='cuda')
    assert relative(torch.compile(block, fullgraph=True)(x), block(x)) < 1e-6
