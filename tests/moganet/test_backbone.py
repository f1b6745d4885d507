"""Contracts of the backbone: sizes, options, layouts, memory, and that what it cannot do is refused."""

import copy
import re

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from helpers import official
from helpers.cases import for_each
from helpers.official import image, relative_error
from moganet import MogaNet, ops
from moganet.arch import ARCHS

SMALLEST = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), ffn_ratios=(2, 2, 2, 2))
# Exact counts from the layer table, (with a head of 1000 classes, tensors with buffers and head).
COUNTS = {
    'xtiny': (2_956_066, 705),
    'tiny': (5_197_332, 777),
    'small': (25_335_675, 741),
    'base': (43_720_475, 1317),
    'large': (82_480_978, 2145),
    'xlarge': (180_991_924, 2217),
}


def small_model(**options):
    """A network of a few thousand parameters whose scales are far from their start, so that every path counts."""
    model = MogaNet(**dict(dict(arch=SMALLEST, out_indices=(0, 1, 2, 3)), **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'scale' in name:
                parameter.uniform_(0.2, 0.8)
    return model


def batch_norms(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


@for_each(ARCHS)
def test_sizes_have_the_exact_number_of_parameters(arch):
    with torch.device('meta'):
        model = MogaNet(arch)
    channels = ARCHS[arch]['embed_dims'][-1]
    parameters, tensors = COUNTS[arch]
    assert sum(p.numel() for p in model.parameters()) + 1000 * channels + 1000 == parameters
    assert len(model.state_dict()) + 2 == tensors


def test_maps_have_the_strides_4_8_16_32():
    outs = small_model()(torch.randn(2, 3, 64, 96))
    assert [tuple(o.shape) for o in outs] == [(2, 8, 16, 24), (2, 16, 8, 12), (2, 24, 4, 6), (2, 32, 2, 3)]


def test_registered_once_for_every_scope():
    assert isinstance(MODELS.build(dict(type='MogaNet', arch='xtiny')), MogaNet)


def test_out_indices_select_from_the_full_list():
    full = small_model().eval()
    part = MogaNet(SMALLEST, out_indices=(0, 2)).eval()
    part.load_state_dict({k: v for k, v in full.state_dict().items() if k in part.state_dict()})
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(part(x), (full(x)[0], full(x)[2]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('out_indices', [(0,), (1,), (0, 2), (3,)])
def test_every_parameter_gets_a_gradient_whatever_out_indices(out_indices):
    model = MogaNet(SMALLEST, out_indices=out_indices)
    sum(out.square().mean() for out in model(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('shape', [(1, 3, 33, 47), (1, 3, 65, 31), (3, 3, 50, 50)])
def test_odd_sizes_and_single_images_work(shape):
    outs = small_model().train()(torch.randn(*shape)) if shape[0] > 1 else small_model().eval()(torch.randn(*shape))
    h, w = shape[2:]
    for i, out in enumerate(outs):
        stride = 2 ** (i + 2)
        assert out.shape[2:] == (-(-h // stride), -(-w // stride))
        assert out.isfinite().all()


def test_batch_of_one_trains():
    outs = small_model().train()(torch.randn(1, 3, 64, 64))
    sum(o.mean() for o in outs).backward()


def test_batch_equals_single_images_in_eval_mode():
    # In double precision: without statistics of their own the maps grow, and rounding with them.
    model, x = small_model().eval().double(), torch.randn(2, 3, 64, 64).double()
    both = model(x)
    for i in range(2):
        for whole, alone in zip(both, model(x[i : i + 1]), strict=True):
            assert relative_error(whole[i : i + 1], alone) < 1e-12


@pytest.mark.parametrize('in_channels', [1, 2, 3, 4])
def test_in_channels_set_the_stem(in_channels):
    model = small_model(in_channels=in_channels)
    assert model.patch_embed1.projection[0].weight.shape == (4, in_channels, 3, 3)
    assert len(model.eval()(torch.randn(1, in_channels, 32, 32))) == 4


def test_channels_last_computes_the_same():
    model = small_model().eval()
    x = torch.randn(2, 3, 64, 64)
    expected = model(x)
    outs = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    for a, b in zip(outs, expected, strict=True):
        assert a.is_contiguous(memory_format=torch.channels_last)
        assert relative_error(a, b) < 1e-5


def test_final_dilation_changes_only_the_last_stage():
    dilated, plain = small_model(), small_model(final_dilation=False)

    def dilation(model, stage):
        value = getattr(model, f'blocks{stage}')[0].attn.value
        return [conv.dilation[0] for conv in (value.DW_conv0, value.DW_conv1, value.DW_conv2)]

    assert [dilation(dilated, s) for s in (1, 2, 3, 4)] == [[1, 2, 3]] * 4
    assert [dilation(plain, s) for s in (1, 2, 3, 4)] == [[1, 2, 3]] * 3 + [[1, 2, 1]]
    plain.load_state_dict(dilated.state_dict())
    # 160 pixels leave the last stage 5x5 positions: enough for its dilation to matter.
    a, b = dilated.eval()(image((1, 3, 160, 160))), plain.eval()(image((1, 3, 160, 160)))
    assert all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
    assert a[3].shape == b[3].shape
    assert relative_error(a[3], b[3]) > 1e-4


def test_drop_path_rises_linearly_over_all_blocks():
    model = MogaNet(SMALLEST, drop_path_rate=0.4)
    rates = [getattr(m, 'rate', 0.0) for s in (1, 2, 3, 4) for m in (b.drop_path for b in getattr(model, f'blocks{s}'))]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_drop_path_drops_samples_and_keeps_the_mean():
    drop = MogaNet(SMALLEST, drop_path_rate=0.4).blocks4[0].drop_path
    x = torch.ones(20_000, 2, 1, 1)
    out = drop.train()(x)
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert torch.equal(out[:, 0], out[:, 1])  # whole samples, not elements
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(drop.eval()(x), x)


def test_drop_path_of_zero_is_none():
    torch.manual_seed(3)
    x = torch.randn(4, 3, 32, 32)
    model = small_model(drop_path_rate=0.0).train()
    other = copy.deepcopy(model)
    torch.manual_seed(1)
    a = model(x)
    torch.manual_seed(2)
    assert all(torch.equal(p, q) for p, q in zip(a, other(x), strict=True))


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 4])
def test_frozen_stages_freeze_parameters_and_statistics_through_train(frozen_stages):
    model = small_model(frozen_stages=frozen_stages)
    prefixes = ('patch_embed1.',) if frozen_stages >= 0 else ()
    prefixes += tuple(f'{part}{s}.' for s in range(1, frozen_stages + 1) for part in ('patch_embed', 'blocks', 'norm'))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.eval()
    model.train()
    outs = model(torch.randn(2, 3, 64, 64))
    if frozen_stages < 4:
        outs[-1].square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith(prefixes or ('none',)), name
        assert (parameter.grad is None) == (not parameter.requires_grad), name
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]) == name.startswith(prefixes or ('none',)), name


def test_norm_eval_keeps_statistics_and_trains_parameters():
    model = small_model(norm_eval=True).train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(torch.randn(2, 3, 64, 64))[-1].mean().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())
    assert model.blocks1.training
    assert not any(m.training for m in batch_norms(model).values())


def test_with_cp_gives_the_same_gradients_and_counts_each_batch_once():
    plain = small_model(drop_path_rate=0.3).train()
    recomputed = small_model(drop_path_rate=0.3, with_cp=True).train()
    recomputed.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 64, 64)
    for model in (plain, recomputed):
        torch.manual_seed(5)  # the same samples are dropped
        sum(out.square().mean() for out in model(x)).backward()
    for (name, a), b in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.named_buffers(), recomputed.buffers(), strict=True):
        assert torch.equal(a, b), name
    assert all(m.num_batches_tracked == 1 for m in batch_norms(recomputed).values())


def saved_bytes(model, x):
    """Bytes that autograd keeps for the backward pass, parameters and buffers not counted, each storage once."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = (storage.nbytes(), tensor)  # the reference keeps the address taken
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outs = model(x)
    assert outs[-1].requires_grad
    return sum(size for size, _ in storages.values())


def test_with_cp_keeps_at_most_forty_percent_of_the_bytes_for_backward():
    x = torch.randn(1, 3, 224, 224)
    sizes = [saved_bytes(MogaNet('small', with_cp=with_cp).train(), x) for with_cp in (False, True)]
    assert sizes[0] > 5e7  # the plain one keeps tens of megabytes
    assert sizes[1] < 0.4 * sizes[0]


@pytest.mark.parametrize('backend', ['aot_eager', pytest.param('inductor', marks=pytest.mark.slow)])
def test_torch_compile_takes_the_whole_graph(backend):
    model = small_model().eval()
    x = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with torch.no_grad():
        for a, b in zip(compiled(x), model(x), strict=True):
            assert relative_error(a, b) < 1e-5


@pytest.mark.parametrize('with_cp', [False, True])
def test_torch_compile_trains(with_cp):
    model = small_model(with_cp=with_cp).train()
    other = copy.deepcopy(model)
    x = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    with ops.use('reference'):  # which is what is compiled
        for network in (compiled, other):
            sum(out.square().mean() for out in network(x)).backward()
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert relative_error(a.grad, b.grad) < 1e-4, name
    for (name, a), b in zip(model.named_buffers(), other.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), name


def test_torch_export_reproduces_the_network_at_other_batch_sizes():
    model = small_model().eval()
    batch = torch.export.Dim('batch', min=1, max=16)
    program = torch.export.export(model, (torch.randn(2, 3, 64, 64),), dynamic_shapes={'x': {0: batch}})
    x = torch.randn(5, 3, 64, 64)
    for a, b in zip(program.module()(x), model(x), strict=True):
        assert relative_error(a, b) < 1e-5


def test_initial_weights_follow_the_released_classifier():
    model = MogaNet('xtiny')
    conv = model.blocks3[0].mlp.fc1  # fan out 384: enough values for the estimate
    assert conv.weight.std().item() == pytest.approx((2 / 384) ** 0.5, rel=0.02)
    depthwise = torch.cat([b.mlp.dwconv.weight.flatten() for b in model.blocks3])
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.02)
    for name, parameter in model.named_parameters():
        if name.endswith('bias'):
            assert not parameter.any(), name
        elif 'scale' in name:
            assert torch.equal(parameter, torch.full_like(parameter, 1e-5)), name


@for_each(
    [
        ('backbone.patch_embed1.projection.0.weight', 0),
        ('backbone.blocks1.0.norm1.weight', 2),
        ('backbone.patch_embed2.norm.bias', 3),
        ('backbone.blocks2.1.layer_scale_1', 3),
        ('backbone.patch_embed3.projection.bias', 4),
        ('backbone.blocks3.0.attn.gate.weight', 3),
        ('backbone.blocks3.7.attn.gate.weight', 6),
        ('backbone.blocks3.43.attn.gate.weight', 11),
        ('backbone.patch_embed4.projection.weight', 12),
        ('backbone.blocks4.1.mlp.sigma.scale', 12),
        ('backbone.norm3.weight', 13),
        ('neck.conv.weight', 13),
    ]
)
def test_layer_depth_counts_as_the_released_detectors(name, layer):
    assert MogaNet(SMALLEST).get_layer_depth(name, 'backbone.') == (layer, 14)


@for_each(
    [
        (dict(arch='huge'), ['huge', 'xtiny', 'xlarge']),
        (dict(arch=dict(embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1))), ['ffn_ratios']),
        (dict(arch=dict(SMALLEST, extra=1)), ['extra']),
        (dict(arch=dict(SMALLEST, depths=(1, 1))), ['depths', '4']),
        (dict(arch=dict(SMALLEST, depths=(1, 1, 0, 1))), ['depths', 'above zero']),
        (dict(arch=dict(SMALLEST, embed_dims=(8, 12, 16, 32))), ['embed_dims', 'multiples of 8']),
        (dict(in_channels=0), ['in_channels=0']),
        (dict(drop_path_rate=1.0), ['drop_path_rate=1.0']),
        (dict(drop_path_rate=-0.1), ['drop_path_rate=-0.1']),
        (dict(out_indices=()), ['out_indices=()']),
        (dict(out_indices=(4,)), ['out_indices=(4,)', '0 to 3']),
        (dict(out_indices=(1, 0)), ['rising']),
        (dict(out_indices=(1, 1)), ['once']),
        (dict(frozen_stages=5), ['frozen_stages=5']),
        (dict(frozen_stages=-2), ['frozen_stages=-2']),
        (dict(frozen_stages=3, out_indices=(1,)), ['frozen_stages=3', 'up to 2']),
        (dict(gate='triple'), ["gate='triple'", 'single, double']),
    ]
)
def test_options_out_of_range_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        MogaNet(**options)
    for word in words:
        assert word in str(error.value)


@for_each(['drop_path', 'attn_force_fp32', 'num_classes', 'conv_norm_cfg', 'pretrained'])
def test_unknown_arguments_are_refused(name):
    with pytest.raises(TypeError, match=name):
        MogaNet(**{name: 1})


def test_two_sizes_differ_only_in_the_table():
    assert official.keys('xtiny').keys() < official.keys('tiny').keys()
