"""The backbone on a GPU: parity, mixed precision, the path of its own, compilation, memory."""

import copy

import pytest
import torch

import moganet
from helpers import official
from helpers.few_blocks import accepted
from helpers.official import image, relative_error
from moganet import MogaNet, ops
from moganet.ops import triton

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_parity_on_a_gpu(memory_format, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    model, _, _ = official.backbone('tiny', out_indices=(0, 1, 2, 3))
    model = model.cuda().to(memory_format=memory_format)
    expected = official.expected('tiny')
    for i, feature in enumerate(model(image((1, 3, 96, 64)).cuda().to(memory_format=memory_format))):
        assert relative_error(feature.cpu(), expected[f'feat{i + 1}']) < 1e-4


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_on_a_gpu(dtype):
    model, _, _ = official.backbone('tiny')
    with torch.no_grad(), torch.autocast('cuda', dtype=dtype):
        feature = model.cuda()(image((1, 3, 96, 64)).cuda())[-1]
    assert relative_error(feature.float().cpu(), official.expected('tiny')['feat4']) < 2e-2


@pytest.fixture
def exact_products(monkeypatch):
    """Without TF32, which matmuls have off by default."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture
def small():
    """MogaNet-S with the weights of ``official``, whose scales are not those of a fresh network."""
    if not triton.available():
        pytest.skip('needs Triton')
    return official.backbone('small')[0].cuda()


def gradients(model, x, path, dtype=None):
    """The (last) map, and the gradients of all parameters, by a path; ``dtype`` is that of autocast."""
    model = copy.deepcopy(model)
    torch.manual_seed(3)  # the same samples are dropped
    with ops.use(path), torch.autocast('cuda', dtype=dtype, enabled=dtype is not None):
        out = model(x)
    out = (out[-1] if isinstance(out, tuple) else out).float()
    (out * torch.linspace(-1, 1, out.numel(), device='cuda').view_as(out)).sum().backward()
    return out.detach(), {name: p.grad for name, p in model.named_parameters()}


def assert_same(found, expected, value, gradient):
    assert (found[0] - expected[0]).norm() < value * expected[0].norm()
    # A bias before a norm in training has no gradient but rounding: such errors are measured by the largest gradient.
    floor = 1e-2 * max(grad.norm() for grad in expected[1].values())
    for name, grad in expected[1].items():
        assert (found[1][name] - grad).norm() < gradient * max(grad.norm(), floor), name


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('shape', [(4, 3, 224, 224), (1, 3, 75, 101)])
def test_the_path_for_gpus_equals_the_reference(small, exact_products, shape, train):
    small, x = small.train(train), image(shape).cuda()
    with ops.use('auto'):
        assert accepted(small.blocks1[0], x)
    assert_same(*(gradients(small, x, path) for path in ('auto', 'reference')), 1e-5, 1e-3 if train else 1e-4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_block_of_mixed_precision_differs_by_rounding(small, exact_products, dtype):
    block, x = small.blocks3[0].eval(), torch.randn(8, 320, 14, 14, device='cuda')
    assert_same(gradients(block, x, 'auto', dtype), gradients(block, x, 'reference'), 2e-2, 2e-2)


def test_the_path_compiles_without_a_break_and_is_exported(small, exact_products):
    x = image((2, 3, 224, 224)).cuda()
    model = small.train()
    compiled = torch.compile(model, fullgraph=True)
    with torch.autocast('cuda', dtype=torch.bfloat16):
        out = compiled(x)[-1]
    out.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        model.eval()
        assert relative_error(torch.compile(model, fullgraph=True)(x)[-1], model(x)[-1]) < 1e-3
        exported = torch.export.export(model, (x,))
        assert any(str(node.target).startswith('moganet.') for node in exported.graph.nodes)
        assert relative_error(exported.module()(x)[-1], model(x)[-1]) < 1e-5


def test_a_cuda_graph_records_a_fused_network(small, exact_products):
    fused, images = moganet.fuse(small), [image((2, 3, 224, 224), seed).cuda() for seed in (0, 1)]
    with torch.inference_mode():
        expected = [fused(x)[-1] for x in images]  # and kernels are tuned
        graph, x = torch.cuda.CUDAGraph(), images[0].clone()
        with torch.cuda.graph(graph):
            out = fused(x)[-1]
        for picture, wanted in zip(images, expected, strict=True):
            x.copy_(picture)
            graph.replay()
            assert relative_error(out, wanted) < 1e-6


@pytest.mark.parametrize(('with_cp', 'share'), [(False, 0.65), (True, 0.3)])
def test_a_training_step_takes_at_most_a_share_of_the_memory(with_cp, share):
    if not triton.available():
        pytest.skip('needs Triton')
    x = torch.randn(32, 3, 224, 224, device='cuda')
    peaks = {}
    for path in ('auto', 'reference'):
        model = MogaNet('small', drop_path_rate=0.1, with_cp=with_cp and path == 'auto').cuda().train()
        for _ in range(2):  # the first step tunes the kernels, with memory of its own
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            with ops.use(path), torch.autocast('cuda', dtype=torch.bfloat16):
                loss = model(x)[-1].float().square().mean()
            loss.backward()
            model.zero_grad()
        peaks[path] = torch.cuda.max_memory_allocated()
        del model, loss
    assert peaks['auto'] < share * peaks['reference']
