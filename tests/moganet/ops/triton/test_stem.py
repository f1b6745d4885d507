"""The kernel of a folded stem's first convolution: values, compiled code, and conditions of its use."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import moganet
from helpers import hopper, interpreted
from helpers.hopper import assert_keeps_all_in_registers
from helpers.interpreted import by_interpreter, parametrize, relative
from moganet import ops
from moganet.backbone import StemEmbed

stem = pytest.importorskip('moganet.ops.triton.stem')


def assert_exact(x, outputs, bound):
    w = torch.randn(outputs, x.shape[1], 3, 3, device=x.device).to(x.dtype)
    b = torch.randn(outputs, device=x.device).to(x.dtype)
    found = stem.embed(x, w, b)
    expected = F.gelu(F.conv2d(x.double(), w.double(), b.double(), stride=2, padding=1))
    assert found.dtype is x.dtype
    assert found.shape == expected.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert relative(found, expected) < bound


@by_interpreter
@parametrize(('dtype', 'bound'), interpreted.BOUNDS[1:])
@parametrize(
    'shape, outputs', [((3, 3, 4, 5), 24), ((2, 3, 9, 34), 8), ((1, 1, 17, 2), 16), ((1, 2, 1, 1), 5)], ids=str
)
def test_values_are_those_of_the_layers(shape, outputs, dtype, bound):
    assert_exact(torch.randn(shape).to(dtype), outputs, bound)
    assert_exact(torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last), outputs, bound)


@by_interpreter
@pytest.mark.interpreter
def test_a_program_has_several_tiles(monkeypatch):
    monkeypatch.setattr(stem, 'MAX_PROGRAMS', 2)
    assert_exact(torch.randn(3, 3, 18, 34).half()[:, :, 1:, ::2], 8, 1e-3)


@by_interpreter
def test_the_operator_is_what_it_is_registered_as():
    x, w, b = torch.randn(2, 3, 5, 1), torch.randn(4, 3, 3, 3), torch.randn(4)
    torch.library.opcheck(torch.ops.moganet.embed.default, (x.half(), w.half(), b.half()))


@pytest.mark.codegen
def test_the_kernel_compiles_for_hopper(tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    for config in stem._embed.configs:
        constants = dict(CHANNELS=3, DEPTH=stem.DEPTH, BN=32, **config.kwargs)
        found = hopper.compiled(
            stem._embed,
            lambda name: '*bf16' if name.endswith('_ptr') else None,
            constants,
            ('N',),
            num_warps=config.num_warps,
        )
        assert 'wgmma.mma_async' in found.asm['ptx']
        assert 'st.global.v4.b32' in found.asm['ptx']
        assert_keeps_all_in_registers(found, tmp_path)


class Cuda(torch.Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda = True


def test_only_what_the_kernel_is_made_for_goes_to_it(monkeypatch):
    monkeypatch.setattr(ops.fused, 'stem', lambda x, weight, bias: 'kernel')
    x = torch.randn(1, 3, 8, 8).bfloat16().as_subclass(Cuda)

    def found(act=None, dtype=torch.bfloat16, x=x, **options):
        conv = nn.Conv2d(**{**dict(in_channels=3, out_channels=8, kernel_size=3, stride=2, padding=1), **options})
        return ops.fused.stem_start(x.to(dtype), conv.to(dtype), act or nn.GELU())

    assert found() == found(dtype=torch.float16) == 'kernel'
    four = dict(in_channels=4, x=torch.randn(1, 4, 8, 8).as_subclass(Cuda))
    layers = (
        dict(stride=1),
        dict(padding=0),
        dict(kernel_size=5),
        dict(dilation=2),
        dict(bias=False),
        dict(out_channels=129),
        four,
    )
    more = dict(act=nn.GELU('tanh')), dict(act=nn.ReLU()), dict(dtype=torch.float32), dict(padding_mode='reflect')
    for others in layers + more:
        assert isinstance(found(**others), torch.Tensor), others
    hooked = nn.GELU()
    hooked.register_forward_hook(lambda *args: None)
    assert isinstance(found(act=hooked), torch.Tensor)


def test_a_fused_stem_on_a_cpu_is_its_layers():
    layers = StemEmbed(3, 16).eval()
    layers.projection[1].running_mean.normal_()
    fused = moganet.fusion.FusedStem(layers)
    x = torch.randn(2, 3, 17, 12)
    assert relative(fused(x), layers(x)) < 1e-6
    assert sorted(fused.state_dict()) == [f'projection.{i}.{name}' for i in (0, 2) for name in ('bias', 'weight')]


@pytest.mark.gpu
@pytest.mark.parametrize(('dtype', 'bound'), interpreted.BOUNDS[1:])
def test_real_sizes_on_a_gpu(dtype, bound):
    assert_exact(torch.randn(3, 3, 224, 224, device='cuda').to(dtype), 32, bound)
    assert_exact(torch.randn(1, 3, 101, 333, device='cuda').to(dtype), 24, bound)


@pytest.mark.gpu
@torch.no_grad()
def test_a_compiled_stem_on_a_gpu_takes_the_kernel():
    fused = moganet.fusion.FusedStem(StemEmbed(3, 64).eval()).cuda().bfloat16()
    x = torch.randn(2, 3, 96, 64, device='cuda').bfloat16()
    assert relative(torch.compile(fused, fullgraph=True)(x), fused(x)) < 1e-2
