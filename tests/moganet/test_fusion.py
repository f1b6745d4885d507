"""A fused model computes what the model does: every size, gate and map, in every kind of model, on every path."""

import copy
import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn

import moganet
from helpers.cases import for_each
from helpers.few_blocks import DEPTHS, few_blocks
from helpers.official import relative_error
from moganet import MogaNet, ops
from moganet.arch import ARCHS
from moganet.backbone import MogaBlock, PatchEmbed, StemEmbed
from moganet.fusion import FusedBlock


def assert_same(outs, expected, error=1e-5):
    for out, other in zip(outs, expected, strict=True):
        assert out.shape == other.shape
        assert out.is_contiguous() == other.is_contiguous()
        assert relative_error(out.to(other.dtype), other) < error


def reference(model, x):
    with ops.use('reference'), torch.no_grad():
        return model.eval()(x)


@pytest.fixture
def on_cpu(monkeypatch):
    """Blocks computed by the operation for CPUs, counted."""
    calls = []
    whole = ops.fused.run
    monkeypatch.setattr(ops.fused, 'run', lambda *args, **keep: calls.append(None) or whole(*args, **keep))
    return calls


@pytest.mark.parametrize('arch', ARCHS)
def test_every_size_is_the_same_function(arch, on_cpu):
    model = few_blocks(arch)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert_same(moganet.fuse(model)(x), reference(model, x))
    assert len(on_cpu) == sum(DEPTHS)


@pytest.mark.parametrize('gate', ['single', 'double'])
@pytest.mark.parametrize('final_dilation', [True, False])
@pytest.mark.parametrize('shape', [(1, 3, 64, 64), (1, 3, 33, 50), (3, 3, 95, 32)], ids=str)
def test_all_paths_compute_odd_maps(shape, final_dilation, gate, on_cpu):
    model = few_blocks(gate=gate, final_dilation=final_dilation)
    fused, x = moganet.fuse(model), torch.randn(shape)
    expected = reference(model, x)
    with torch.no_grad():
        for path in ('auto', 'pytorch', 'reference'):
            with ops.use(path):
                assert_same(fused(x), expected)
    assert len(on_cpu) == 2 * sum(DEPTHS)


def test_images_in_groups_are_the_same_as_at_once(monkeypatch):
    model, x = few_blocks(), torch.randn(3, 3, 64, 64)
    monkeypatch.setattr(ops.cpu_memory, 'CACHE_BYTES', 1)
    with torch.no_grad():
        assert_same(moganet.fuse(model)(x), reference(model, x))


def test_a_fused_model_changes_its_type_and_back():
    fused, x = moganet.fuse(few_blocks()), torch.randn(1, 3, 64, 64)
    weight = fused.blocks1[0].channel.fc1.weight
    assert weight.shape == (256, 32)
    assert weight.is_contiguous()
    assert not weight.requires_grad
    back = copy.deepcopy(fused).bfloat16().float()
    back.load_state_dict(fused.state_dict())
    with torch.no_grad():
        assert_same(back(x), fused(x), 1e-7)


@for_each([-1, -1 + 1e-7, -1 - 1e-4, -0.5, 30])
def test_the_mean_is_taken_off_whatever_its_factor(sigma):
    model, x = few_blocks().double(), torch.randn(2, 3, 64, 64).double()
    model.blocks2[0].attn.sigma.scale.data.fill_(sigma)
    with torch.no_grad():
        assert_same(moganet.fuse(model)(x), reference(model, x), 1e-6)
        assert_same(moganet.fuse(model.float())(x.float()), reference(model, x.float()), 1e-5)


def test_embeddings_leave_their_last_biases_to_the_blocks():
    model, x = few_blocks().double(), torch.randn(2, 3, 64, 64).double()
    for i in (2, 3, 4):
        model.get_submodule(f'patch_embed{i}.norm').bias.data.normal_(std=9)
    model.patch_embed1.projection[4].bias.data.normal_(std=9)
    fused = moganet.fuse(model)
    assert fused.patch_embed1.projection[0].bias is not None
    convs = [fused.patch_embed1.projection[2], *(fused.get_submodule(f'patch_embed{i}.projection') for i in (2, 3, 4))]
    assert all(isinstance(conv, nn.Conv2d) and conv.bias is None for conv in convs)
    for path in ('auto', 'reference'):
        with torch.no_grad(), ops.use(path):
            assert_same(fused(x), reference(model, x), 1e-13)


def test_embeddings_and_blocks_of_other_classes_stay_as_they_are():
    class OwnEmbed(PatchEmbed):
        pass

    class OwnStem(StemEmbed):
        pass

    class OwnBlock(MogaBlock):
        pass

    model, x = few_blocks().double(), torch.randn(2, 3, 64, 64).double()
    expected = reference(model, x)
    model.patch_embed1.__class__, model.patch_embed3.__class__ = OwnStem, OwnEmbed
    model.blocks2[0].__class__ = OwnBlock
    fused = moganet.fuse(model)
    assert fused.patch_embed3.projection.bias is not None
    assert fused.patch_embed2.projection.bias is not None
    assert fused.patch_embed4.projection.bias is None
    with torch.no_grad():
        assert_same(fused(x), expected, 1e-13)


def test_double_precision_is_exact():
    model, x = few_blocks().double(), torch.randn(2, 3, 64, 64).double()
    with torch.no_grad():
        assert_same(moganet.fuse(model)(x), reference(model, x), 1e-13)


@pytest.mark.parametrize('path', ['auto', 'reference'])
def test_bfloat16_is_near(path):
    model, x = few_blocks(), torch.randn(2, 3, 64, 64)
    expected = reference(model, x)
    with torch.no_grad(), ops.use(path):
        for out, other in zip(moganet.fuse(model).bfloat16()(x.bfloat16()), expected, strict=True):
            assert out.dtype is torch.bfloat16
            assert relative_error(out.float(), other) < 2e-2


def test_channels_last_stays_channels_last():
    model, x = few_blocks(), torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        outs = moganet.fuse(model)(x)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outs)
    assert_same([out.contiguous() for out in outs], reference(model, x.contiguous()))


def test_the_model_stays_as_it_is():
    model = few_blocks().train()
    before = copy.deepcopy(model.state_dict())
    fused = moganet.fuse(model)
    with torch.no_grad():
        fused(torch.randn(1, 3, 64, 64))
        for parameter in fused.parameters():
            parameter.zero_()
    assert model.training
    assert not fused.training
    assert isinstance(model.blocks1[0].norm1, nn.BatchNorm2d)
    assert isinstance(fused.blocks1[0], FusedBlock)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_saved_weights_of_a_fused_model_load_into_another(tmp_path):
    model, x = few_blocks(), torch.randn(1, 3, 64, 64)
    torch.save(moganet.fuse(model).state_dict(), tmp_path / 'fused.pth')
    other = moganet.fuse(MogaNet(dict(ARCHS['xtiny'], depths=DEPTHS), out_indices=(0, 1, 2, 3)))
    other.load_state_dict(torch.load(tmp_path / 'fused.pth', weights_only=True))
    with torch.no_grad():
        assert_same(other(x), reference(model, x))


def test_a_model_around_the_backbone_is_fused_inside():
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleDict(dict(backbone=few_blocks()))
            self.head = nn.Linear(ARCHS['xtiny']['embed_dims'][-1], 5)

        def forward(self, x):
            return self.head(self.inner['backbone'](x)[-1].mean((2, 3)))

    model, x = Classifier(), torch.randn(2, 3, 64, 64)
    fused = moganet.fuse(model)
    assert sum(isinstance(module, FusedBlock) for module in fused.modules()) == sum(DEPTHS)
    with torch.no_grad():
        assert relative_error(fused(x), reference(model, x)) < 1e-5


def test_a_block_by_itself_is_fused():
    block = few_blocks().blocks1[0].eval()
    x = torch.randn(1, 32, 20, 20)
    with torch.no_grad():
        assert relative_error(moganet.fuse(block)(x), reference(block, x)) < 1e-5


def test_synchronized_norms_are_folded_too():
    model, x = few_blocks(), torch.randn(1, 3, 64, 64)
    expected = reference(model, x)
    fused = moganet.fuse(nn.SyncBatchNorm.convert_sync_batchnorm(model))
    assert isinstance(fused.blocks1[0], FusedBlock)
    assert not any(p.requires_grad for p in fused.blocks1.parameters())
    with torch.no_grad():
        assert_same(_stages(fused, x), expected)


def _stages(fused, x):
    """The maps of a network whose last norms are synchronized ones, which compute on GPUs only."""
    outs = []
    for i in range(1, 5):
        x = getattr(fused, f'patch_embed{i}')(x)
        for block in getattr(fused, f'blocks{i}'):
            x = block(x)
        norm = getattr(fused, f'norm{i}')
        x = nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        outs.append(x.contiguous())
    return outs


def test_derivatives_by_the_image_are_those_of_the_model():
    model, x = few_blocks().eval(), torch.randn(1, 3, 64, 64)
    grads = []
    for network in (moganet.fuse(model), model):
        image = x.clone().requires_grad_()
        with ops.use('reference'):
            (network(image)[-1] * torch.linspace(-1, 1, 192)[:, None, None]).sum().backward()
        grads.append(image.grad)
    assert relative_error(*grads) < 1e-4
    image = x.clone().requires_grad_()
    (moganet.fuse(model)(image)[-1] * torch.linspace(-1, 1, 192)[:, None, None]).sum().backward()
    assert relative_error(image.grad, grads[1]) < 1e-4


def test_autocast_computes_in_its_type(on_cpu):
    model, x = few_blocks(), torch.randn(1, 3, 64, 64)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        outs = moganet.fuse(model)(x)
    assert not on_cpu
    for out, other in zip(outs, reference(model, x), strict=True):
        assert relative_error(out.float(), other) < 5e-2


def test_a_compiled_model_keeps_the_operation_for_cpus(on_cpu):
    model, x = few_blocks(), torch.randn(2, 3, 64, 64)
    compiled = torch.compile(moganet.fuse(model), fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        assert_same(compiled(x), reference(model, x))
    assert len(on_cpu) == sum(DEPTHS)


@pytest.mark.parametrize('strict', [True, False])
def test_an_exported_model_has_pytorch_operations_only(strict):
    model, x = few_blocks(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        program = torch.export.export(moganet.fuse(model), (x,), strict=strict)
        assert_same(program.module()(x), reference(model, x))
    called = {str(node.target) for node in program.graph.nodes if node.op == 'call_function'}
    assert called
    assert not any('moganet' in name for name in called)


def test_the_operation_is_well_formed():
    block = moganet.fuse(few_blocks()).blocks1[0]
    weights = [*block.spatial.weights(), *block.channel.weights()]
    x = torch.randn(1, 32, 9, 9)
    torch.library.opcheck(ops.fused.block_operator, (x, weights, block.spatial.dilations, False))


def test_the_operation_follows_a_mode_that_is_set_after_compiling():
    block, x = moganet.fuse(few_blocks()).blocks1[0], torch.randn(1, 32, 9, 9)
    weights = [*block.spatial.weights(), *block.channel.weights()]
    found = []
    for mode in ('auto', 'reference'):
        with ops.use(mode), torch.no_grad():
            found.append(ops.fused.block_operator(x, weights, block.spatial.dilations, False))
        assert found[-1].is_contiguous(memory_format=torch.channels_last)
    assert relative_error(*found) < 1e-5


def test_without_blocks_there_is_nothing_to_fuse():
    with pytest.raises(ValueError, match='Linear has no MogaNet blocks to fuse'):
        moganet.fuse(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ('path', 'part', 'words'),
    [
        ('blocks2.0.norm1', nn.GroupNorm(1, 64), 'blocks2.0.norm1 is a GroupNorm.*BatchNorm'),
        ('patch_embed3.norm', nn.BatchNorm2d(96, track_running_stats=False), 'patch_embed3.norm.*running statistics'),
        ('blocks1.0.mlp.fc1', nn.ConvTranspose2d(32, 256, 1), 'blocks1.0.mlp.fc1 is a ConvTranspose2d.*convolution'),
        (
            'blocks1.0.mlp.fc2',
            nn.ModuleList([nn.Conv2d(256, 32, 1)]),
            'blocks1.0.mlp.fc2 is a ModuleList.*a convolution',
        ),
        ('blocks1.0.attn', nn.Identity(), 'blocks1.0.attn is a Identity.*expected a MultiOrderGatedAggregation'),
    ],
)
def test_what_cannot_be_folded_is_named(path, part, words):
    model = few_blocks()
    model.set_submodule(path, part)
    with pytest.raises(ValueError, match=words):
        moganet.fuse(model)


def test_freed_memory_is_kept_for_the_next_maps():
    script = '; '.join(
        [
            'import resource, torch',
            'from moganet.ops import cpu_memory',
            'torch.set_num_threads(1)',
            'faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt',
            'fill = lambda: [torch.empty(1 << 20).fill_(1) for _ in range(8)] and None',
            'fill(); fill(); a = faults(); fill(); b = faults(); cpu_memory.raise_malloc_thresholds(); fill(); fill()',
            'c = faults(); fill(); print(b - a, faults() - c)',
        ]
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    if before < 1000:
        pytest.skip('this system keeps freed memory by itself')
    assert after < before / 100


def test_names_of_the_fused_weights_do_not_change():
    """They are in files that users saved."""
    names = [name for name in moganet.fuse(few_blocks()).state_dict() if name.startswith('blocks1.0.')]
    assert names == [
        f'blocks1.0.spatial.{name}'
        for name in (
            'mean',
            'shortcut',
            'proj_1.weight',
            'proj_1.bias',
            'gate.weight',
            'gate.bias',
            *(f'DW_conv{i}.{part}' for i, part in itertools.product(range(3), ('weight', 'bias'))),
            'PW_conv.weight',
            'PW_conv.bias',
            'proj_2.weight',
            'proj_2.bias',
        )
    ] + [
        f'blocks1.0.channel.{name}'
        for name in (
            'subtracted',
            'fc1.weight',
            'fc1.bias',
            'dwconv.weight',
            'dwconv.bias',
            'decompose.weight',
            'decompose.bias',
            'fc2.weight',
            'fc2.bias',
        )
    ]


def test_no_images_give_no_maps():
    fused = moganet.fuse(few_blocks())
    with torch.no_grad():
        assert ops.dispatch.backend_for_folded(torch.zeros(0, 32, 16, 16), fused.blocks1[0].spatial.weights()) is None
        assert [len(feature) for feature in fused(torch.zeros(0, 3, 64, 64))] == [0] * 4
