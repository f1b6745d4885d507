"""Backends agree with the reference in values, gradients and statistics, for every size of block."""

import copy
import re
from itertools import product

import pytest
import torch
from torch import nn

from helpers.cases import for_each
from helpers.few_blocks import few_blocks, lively
from helpers.official import relative_error
from moganet import ops
from moganet.arch import ARCHS
from moganet.backbone import MogaBlock


@pytest.fixture(autouse=True)
def _maps_of_any_size(monkeypatch):
    monkeypatch.setattr(ops.conditions, 'MIN_ELEMENTS', 0)


def both(model, x, backward=True, path='auto'):
    """Return outputs, gradients and buffers of a mode and of the reference."""
    found = []
    for choice in (path, 'reference'):
        network, image = copy.deepcopy(model), x.clone().requires_grad_(backward)
        torch.manual_seed(3)  # the same samples are dropped
        with ops.use(choice), torch.set_grad_enabled(backward):
            outs = network(image)
            outs = outs if isinstance(outs, tuple) else (outs,)
            if backward:
                weights = [torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out) for out in outs]
                sum((out * weight).mean() for out, weight in zip(outs, weights, strict=True)).backward()
        grads = {'x': image.grad, **{name: p.grad for name, p in network.named_parameters()}} if backward else {}
        found.append((outs, grads, dict(network.named_buffers())))
    return found


def assert_same(found, value, gradient):
    (outs, grads, buffers), (expected, expected_grads, expected_buffers) = found
    for out, other in zip(outs, expected, strict=True):
        assert out.dtype == other.dtype
        assert out.shape == other.shape
        assert relative_error(out, other.detach()) < value
    # A bias that only a norm reads, in training, has no gradient but rounding, also across shortcuts: that of
    # the last norm of an embedding too. Those errors are measured by the largest gradient.
    largest = max((grad.norm() for grad in expected_grads.values()), default=0)
    for name, grad in expected_grads.items():
        floor = 1 if re.fullmatch(r'patch_embed\d\.(projection\.([034]\.)?|norm\.)bias', name) else 1e-3
        error = (grads[name] - grad).norm() / max(grad.norm(), floor * largest)
        assert error < gradient, f'{name}: {error:.1e}'
    for name, buffer in expected_buffers.items():
        assert torch.allclose(buffers[name].double(), buffer.double(), rtol=1e-4, atol=1e-6), name


def is_fast(outs):
    return any('BranchFunction' in type(node).__name__ for node in graph(outs[0].grad_fn))


def graph(node, seen=None):
    """All nodes of the autograd graph behind ``node``."""
    found, stack = set(), [node]
    while stack:
        node = stack.pop()
        if node is not None and node not in found:
            found.add(node)
            stack += [following for following, _ in node.next_functions]
    return found


@for_each(product(ARCHS, ['auto', 'pytorch']))
def test_faster_path_equals_reference_in_training(arch, path):
    found = both(few_blocks(arch, drop_path_rate=0.3).train(), torch.randn(2, 3, 64, 64), path=path)
    assert is_fast(found[0][0])
    assert not is_fast(found[1][0])
    assert_same(found, 1e-5, 1e-4)


@for_each(product(ARCHS, ['auto', 'pytorch']))
def test_faster_path_equals_reference_in_inference(arch, path):
    assert_same(both(few_blocks(arch).eval(), torch.randn(1, 3, 64, 64), False, path), 1e-5, 1e-4)


@for_each(
    product(
        [(1, 3, 75, 101), (3, 3, 33, 64), (2, 3, 160, 40)],
        [dict(), dict(gate='double'), dict(final_dilation=False)],
        [True, False],
    )
)
def test_faster_path_is_exact_to_double_precision(shape, options, train):
    found = both(few_blocks('xtiny', **options).double().train(train), torch.randn(shape, dtype=torch.float64))
    assert is_fast(found[0][0])
    assert_same(found, 1e-12, 1e-9 if train else 1e-11)


@for_each(product([(1, 1), (2, 2), (1, 5), (3, 4), (6, 6), (7, 10), (16, 16), (70, 66)], [1, 3], ['auto', 'pytorch']))
def test_a_block_on_maps_of_any_size(size, batch, path):
    block = lively(MogaBlock(16, 4, 0.2, (1, 2, 3), 'single')).eval()
    found = both(block, torch.randn(batch, 16, *size), path=path)
    assert is_fast(found[0][0])
    assert_same(found, 1e-5, 1e-4)


def test_weights_lie_in_memory_as_they_like():
    block = lively(MogaBlock(16, 4, 0.2, (1, 2, 3), 'single')).train()
    for conv in (block.mlp.fc2, block.mlp.dwconv, block.attn.value.DW_conv2):
        conv.weight.data = conv.weight.data.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        assert not conv.weight.is_contiguous()
    found = both(block, torch.randn(2, 16, 8, 7))
    assert is_fast(found[0][0])
    assert_same(found, 1e-5, 1e-4)


def test_few_images_at_once_sum_to_the_gradients_of_all(monkeypatch):
    monkeypatch.setattr(ops.cpu_memory, 'CACHE_BYTES', 2 * 4 * 16 * 16 * 8 * 7)  # one or two of the five
    found = both(lively(MogaBlock(16, 8, 0.5, (1, 2, 3), 'single')).double(), torch.randn(5, 16, 8, 7).double())
    assert is_fast(found[0][0])
    assert_same(found, 1e-12, 1e-9)


def test_frozen_parts_and_norms_stay_as_they_are():
    model = few_blocks('xtiny', frozen_stages=2, norm_eval=True).train()
    before = copy.deepcopy(model.state_dict())
    out = model(torch.randn(2, 3, 64, 64))[-1]
    out.mean().backward()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {name for name, p in model.named_parameters() if p.grad is None} == {
        name
        for name, p in model.named_parameters()
        if name.split('.')[0] in ('patch_embed1', 'patch_embed2', 'blocks1', 'blocks2', 'norm1', 'norm2')
    }


def test_recomputed_blocks_have_the_same_gradients():
    x = torch.randn(3, 3, 64, 64)
    plain = few_blocks('xtiny', drop_path_rate=0.3).train()
    recomputed = copy.deepcopy(plain)
    recomputed.with_cp = True
    (_, expected, _), _ = both(plain, x)
    (_, grads, buffers), _ = both(recomputed, x)
    for name, grad in expected.items():
        assert torch.equal(grads[name], grad), name
    assert {int(b) for name, b in buffers.items() if name.endswith('num_batches_tracked')} == {1}


def test_maps_keep_the_layout_of_the_image():
    model = few_blocks('xtiny').eval()
    x = torch.randn(2, 3, 64, 64)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert all(out.is_contiguous() for out in model(x))
            last = model(x.contiguous(memory_format=torch.channels_last))
            assert all(out.is_contiguous(memory_format=torch.channels_last) for out in last)


def test_a_training_step_keeps_at_most_sixty_five_percent_of_the_bytes():
    sizes = {}
    for choice in ('auto', 'reference'):
        kept = {}

        def pack(tensor, kept=kept):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # the reference keeps the address taken
            return tensor

        model = few_blocks('small').train()
        with ops.use(choice), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outs = model(torch.randn(1, 3, 224, 224))
        own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
        sizes[choice] = sum(size for address, (size, _) in kept.items() if address not in own)
        assert outs[0].requires_grad
    assert sizes['auto'] < 0.65 * sizes['reference']


def test_second_derivatives_are_refused_not_wrong():
    block = lively(MogaBlock(8, 2, 0.0, (1, 2, 3), 'single')).eval()
    x = torch.randn(1, 8, 4, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.square().sum().backward()
    with ops.use('reference'):
        (grad,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
        grad.square().sum().backward()
    assert x.grad.norm() > 0


def test_data_parallel_training_synchronises_the_gradients(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        model = few_blocks('xtiny').train()
        alone = copy.deepcopy(model)
        parallel = nn.parallel.DistributedDataParallel(model)
        x = torch.randn(2, 3, 64, 64)
        for network in (parallel, alone):
            outs = network(x)
            assert is_fast(outs)
            sum(out.square().mean() for out in outs).backward()
        for (name, p), other in zip(model.named_parameters(), alone.parameters(), strict=True):
            assert torch.equal(p.grad, other.grad), name
    finally:
        torch.distributed.destroy_process_group()
