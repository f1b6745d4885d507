"""A block by the triton backend equals the reference, and dispatch chooses the backend where it applies."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.few_blocks import accepted, lively
from helpers.interpreted import by_interpreter, parametrize, relative
from moganet import MogaNet, ops
from moganet.backbone import MogaBlock
from moganet.ops import triton
from moganet.ops.triton import backend as on_gpu

ARCH = dict(embed_dims=(8, 16, 8, 8), depths=(1, 1, 1, 1), ffn_ratios=(4, 2, 2, 2))
OPERATORS = {'spatial_branch', 'channel_branch'}


@pytest.fixture(autouse=True)
def _cpus_as_gpus(monkeypatch):
    pytest.importorskip('triton')
    monkeypatch.setattr(on_gpu, 'DEVICE', 'cpu')


@pytest.fixture
def block():
    return lively(MogaBlock(8, 2, 0.3, (1, 2, 3), 'single')).eval()


@pytest.fixture
def x():
    return torch.randn(2, 8, 2, 3)


def computed(model, x, path, dtype=None):
    """Return outputs, gradients and buffers of ``model(x)`` in a mode; ``dtype``: type of autocast."""
    model, x = copy.deepcopy(model), x.clone().requires_grad_()
    torch.manual_seed(3)  # the same samples are dropped
    with ops.use(path), torch.autocast('cpu', dtype=dtype, enabled=dtype is not None):
        outs = model(x)
    outs = outs if isinstance(outs, tuple) else (outs,)
    weights = [torch.linspace(-1, 1, out.numel()).view_as(out) for out in outs]
    sum((out.float() * weight).sum() for out, weight in zip(outs, weights, strict=True)).backward()
    return outs, {'x': x.grad, **{name: p.grad for name, p in model.named_parameters()}}, dict(model.named_buffers())


def assert_same(found, expected, value, gradient):
    (outs, grads, buffers), (expected, expected_grads, expected_buffers) = found, expected
    for out, other in zip(outs, expected, strict=True):
        assert out.shape == other.shape
        assert relative(out, other) < value
    # A bias before a norm in training has no gradient but rounding: such errors are measured by the largest gradient.
    largest = max(grad.norm() for grad in expected_grads.values())
    for name, grad in expected_grads.items():
        error = (grads[name] - grad).double().norm() / max(grad.norm(), 1e-2 * largest)
        assert error < gradient, f'{name}: {error:.1e}'
    for name, buffer in expected_buffers.items():
        assert torch.allclose(buffers[name].double(), buffer.double(), rtol=value, atol=value / 10)


@pytest.mark.interpreter
@by_interpreter
def test_network_equals_reference():
    model = lively(MogaNet(ARCH, drop_path_rate=0.3, out_indices=(0, 1))).train()
    image = torch.randn(2, 3, 13, 10)
    found, expected = (computed(model, image, path) for path in ('auto', 'reference'))
    assert_same(found, expected, 1e-5, 1e-4)
    assert not torch.equal(found[0][0], expected[0][0])  # another path did compute


@by_interpreter
@parametrize(
    ('shape', 'options'),
    [((1, 8, 1, 1), dict()), ((2, 8, 3, 5), dict(gate='double')), ((1, 8, 2, 7), dict(dilations=(1, 2, 1)))],
)
def test_block_equals_reference(options, shape):
    block = lively(MogaBlock(8, 2, 0.0, **dict(dict(dilations=(1, 2, 3), gate='single'), **options))).eval()
    image = torch.randn(shape)
    assert_same(*(computed(block, image, path) for path in ('auto', 'reference')), 1e-5, 1e-4)


@by_interpreter
@pytest.mark.interpreter
@pytest.mark.parametrize(('dtype', 'bound', 'scale'), [(torch.bfloat16, 2e-2, None), (torch.float16, 3e-3, 1e-5)])
def test_autocast_differs_by_rounding_and_gives_the_types_of_the_reference(dtype, bound, scale):
    block = lively(MogaBlock(8, 2, 0.3, (1, 2, 3), 'single')).train()
    if scale is not None:  # as at the start of training
        nn.init.constant_(block.layer_scale_1, scale)
        nn.init.constant_(block.layer_scale_2, scale)
    image = torch.randn(2, 8, 4, 3)
    exact, found, expected = (
        computed(block, image, *args) for args in (('reference',), ('auto', dtype), ('reference', dtype))
    )
    assert found[0][0].dtype is expected[0][0].dtype
    # The gradient of a bias before a norm in training is rounding noise, for the reference as well.
    for grads in (found[1], exact[1]):
        for name in ('attn.proj_2.bias', 'mlp.fc2.bias'):
            grads.pop(name)
    assert_same(found, exact, bound, bound)


@pytest.mark.interpreter
@by_interpreter
def test_networks_of_lower_precision_keep_their_type():
    block, image = lively(MogaBlock(8, 2, 0.0, (1, 2, 3), 'single')).eval(), torch.randn(1, 8, 4, 3)
    (out,), _, _ = computed(block.bfloat16(), image.bfloat16(), 'auto')
    assert out.dtype is torch.bfloat16
    assert relative(out, block.float()(image)) < 2e-2


@pytest.mark.interpreter
@by_interpreter
def test_recomputed_blocks_have_the_same_gradients():
    image = torch.randn(2, 3, 5, 12)
    plain = lively(MogaNet(ARCH, drop_path_rate=0.3, out_indices=(0,))).train()
    recomputed = copy.deepcopy(plain)
    recomputed.with_cp = True
    (_, expected, _), (_, found, buffers) = (computed(model, image, 'auto') for model in (plain, recomputed))
    for name, grad in expected.items():
        assert torch.equal(found[name], grad), name
    assert {int(b) for name, b in buffers.items() if name.endswith('num_batches_tracked')} == {1}


@pytest.mark.interpreter
@by_interpreter
def test_compilers_see_through_the_path_without_a_break(block, x):
    compiled = torch.compile(block.train(), fullgraph=True, backend='aot_eager')
    results = []
    for model in (compiled, block):
        torch.manual_seed(3)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            out = model(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), block.parameters())))
    for found, expected in zip(*results, strict=True):
        assert relative(found, expected) < 1e-6 or (found - expected).abs().max() < 1e-5


@pytest.mark.interpreter
@by_interpreter
@pytest.mark.parametrize('strict', [True, False])
def test_exported_graphs_hold_the_operators_for_any_size(block, x, strict):
    auto = torch.export.Dim.AUTO
    exported = torch.export.export(block, (x,), strict=strict, dynamic_shapes=({0: auto, 2: auto, 3: auto},))
    targets = [str(node.target).split('.') for node in exported.graph.nodes]
    assert {target[1] for target in targets if target[0] == 'moganet'} == OPERATORS
    other = torch.randn(1, 8, 3, 7)
    assert relative(exported.module()(other), block(other)) < 1e-6


@pytest.mark.interpreter
@by_interpreter
def test_maps_kept_for_backward_are_little_more_than_half_of_the_references():
    block, image = lively(MogaBlock(16, 4, 0.0, (1, 2, 3), 'single')).train(), torch.randn(2, 16, 6, 5)
    own = {p.untyped_storage().data_ptr() for p in (*block.parameters(), *block.buffers())}
    sizes = []
    for path in ('auto', 'reference'):
        kept = {}

        def pack(tensor, kept=kept):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # the reference keeps the address taken
            return tensor

        with ops.use(path), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = block(image)
        assert out.requires_grad
        sizes.append(
            sum(
                size
                for address, (size, tensor) in kept.items()
                if address not in own and tensor.numel() >= image.numel()
            )
        )
    assert sizes[0] < 0.55 * sizes[1]


def test_the_path_is_the_default_in_all_types_it_is_for(block, x):
    assert accepted(block, x)
    assert ops.preferred_layout(block, x) is torch.channels_last
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert accepted(block, x)
        assert accepted(block, x.bfloat16())
    for dtype in on_gpu.DTYPES:
        assert accepted(block.to(dtype), x.to(dtype))


def test_it_is_switched_off(block, x):
    with ops.use('reference'):
        assert not accepted(block, x)


def test_other_types_and_empty_maps_take_the_reference(block, x):
    assert not accepted(block, x.bfloat16())
    assert not accepted(block, x[:0])
    assert not accepted(block.double(), x.double())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert not accepted(block, x.double())
        assert not accepted(block, x)


def test_without_triton_the_reference_computes(block, x, monkeypatch):
    monkeypatch.setattr(on_gpu, 'available', lambda: False)
    assert not accepted(block, x)


@pytest.mark.parametrize(
    ('version', 'hip', 'found'),
    [
        ('2.6.0+cu124', None, False),
        ('2.7.1', None, False),
        ('2.8.0', None, True),
        ('2.11.0+cu130', None, True),
        ('3.0', None, True),
        ('2.11.0+rocm6.4', '6.4', False),
    ],
)
def test_tritons_that_lack_what_kernels_use_are_not_taken(version, hip, found):
    assert triton.is_supported(version, hip) is found


@pytest.mark.parametrize(('capability', 'applies'), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_older_gpus_take_the_reference(block, x, capability, applies, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    capable = on_gpu.capable.__wrapped__
    monkeypatch.setattr(on_gpu, 'capable', lambda device: capable(torch.device('cuda')))
    assert accepted(block, x) is applies


def test_other_devices_have_their_own_path(block, x, monkeypatch):
    assert not accepted(block.to('meta'), x.to('meta'))
    monkeypatch.setattr(on_gpu, 'DEVICE', 'cuda')
    assert not on_gpu.accepts(x, ())


@pytest.mark.parametrize('part', ['attn', 'attn.gate', 'attn.value', 'mlp.fc2'])
@pytest.mark.parametrize('kind', ['register_forward_hook', 'register_forward_pre_hook', 'register_full_backward_hook'])
def test_parts_with_hooks_take_the_reference(block, x, part, kind):
    handle = getattr(block.get_submodule(part), kind)(lambda *args: None)
    assert not accepted(block, x)
    handle.remove()
    assert accepted(block, x)


def test_replaced_and_rewritten_parts_are_called(block, x):
    block.mlp.forward = lambda y: 0 * y
    assert not accepted(block, x)
    del block.mlp.forward
    block.attn.gate = nn.Sequential(block.attn.gate)
    assert not accepted(block, x)


def test_counters_and_transforms_see_the_reference(block, x):
    with ops.use('reference'):
        expected = block(x)
    with FlopCounterMode(display=False) as counter:
        block(x)
    assert counter.get_total_flops() > 0
    assert torch.equal(torch.func.vjp(block, x)[0], expected)
    assert torch.isfinite(torch.func.jvp(block, (x,), (torch.ones_like(x),))[1]).all()


def test_tracing_records_the_modules(block, x):
    assert str(torch.jit.trace(block, x, check_trace=False).inlined_graph).count('aten::_convolution') == 11


def test_a_run_is_told(block, x, told):
    for _ in range(2):
        accepted(block, x)
    assert told == ['MogaNet computes with its triton backend on GPUs; MOGANET_OPS=reference switches it off']
