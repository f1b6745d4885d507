"""The Triton kernels beside the convolutions compile for a Hopper GPU, in all types; none of that needs a GPU."""

import itertools

import pytest
import torch

from helpers import hopper

pytest.importorskip('triton')
context, dwconv_gelu, tiling, elementwise = (
    pytest.importorskip(f'moganet.ops.triton.{name}') for name in ('context', 'dwconv_gelu', 'tiling', 'elementwise')
)

TYPES = {torch.float32: '*fp32', torch.bfloat16: '*bf16', torch.float16: '*fp16'}
# Always float32: weights of mixed precision, buffers of sums.
WIDE = {'w_ptr', 'b_ptr', 'bias_ptr', 's_ptr', 'factor_ptr', 'mask_ptr', 'context_ptr', 'sums_ptr'}
POSITIONS = dict(P=tiling.POSITIONS, BC=tiling.CHANNELS)
CASES = [
    (elementwise._activated, POSITIONS),
    (elementwise._decomposed, dict(P=512, BC=32, SINGLE_PASS=False)),
    (elementwise._decomposed, dict(P=256, BC=64, SINGLE_PASS=True)),
    (elementwise._activated_backward, POSITIONS),
    (elementwise._gated, dict(BLOCK=elementwise.BLOCK, DOUBLE=False)),
    (elementwise._gated_backward, dict(POSITIONS, DOUBLE=True)),
    (elementwise._add_spatial, POSITIONS),
    (elementwise._add_spatial, dict(POSITIONS, factor_ptr=None, mask_ptr=None)),
    (elementwise._shortcut_backward, POSITIONS),
    (elementwise._shortcut_backward, dict(POSITIONS, mask_ptr=None, dt_ptr=None)),
    (elementwise._add_scaled, POSITIONS),
    (context._add_channel, dict(POSITIONS, PAD=context.PAD)),
    (context._add_channel, dict(POSITIONS, PAD=context.PAD, factor_ptr=None, mask_ptr=None, context_ptr=None)),
    (context._context_backward, dict(P=8, BC=512, PAD=context.PAD)),
]
CONVOLUTIONS = [
    (dwconv_gelu._convolve, dict(C=512, FULL=True, FORWARD=True, sums_ptr=None)),
    (dwconv_gelu._convolve, dict(C=512, FULL=False, FORWARD=False, b_ptr=None)),
    (dwconv_gelu._backward, dict(C=512, FULL=True)),
]


def compiled(kernel, dtype, constants, config):
    options = dict(num_warps=config.num_warps, maxnreg=config.maxnreg) if config else dict(num_warps=4)
    constants = {**constants, **(config.kwargs if config else {})}

    def pointer(name):
        return ('*fp32' if name in WIDE else TYPES[dtype]) if name.endswith('_ptr') else None

    return hopper.compiled(kernel, pointer, constants, ('C', 'size'), **options)


kernels = pytest.mark.parametrize(
    'case', range(len(CASES)), ids=[f'{k.fn.__module__[16:]}{k.fn.__name__}' for k, _ in CASES]
)


def compiled_case(case, dtype):
    kernel, constants = CASES[case]
    return compiled(kernel, dtype, constants, next(iter(getattr(kernel, 'configs', [])), None))


@kernels
def test_kernels_compile(case, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    assert compiled_case(case, torch.bfloat16).asm['cubin']


@pytest.mark.codegen
@pytest.mark.parametrize('dtype', TYPES)
@kernels
def test_kernels_read_whole_words(case, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    found = compiled_case(case, dtype)
    assert found.asm['cubin']
    assert 'ld.global.v4.b32' in found.asm['ptx'] or 'ld.global.v2.b32' in found.asm['ptx']


# In 16 bits, neighbours come in pairs: a warp has 64 channels, and loads of many columns in flight.
@pytest.mark.codegen
@pytest.mark.parametrize(('dtype', 'read'), zip(TYPES, ('v2.b32', 'b32', 'b32'), strict=True))
@pytest.mark.parametrize('case', range(len(CONVOLUTIONS)))
def test_convolutions_compile_and_read_neighbours(case, dtype, read, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    kernel, constants = CONVOLUTIONS[case]
    found = compiled(kernel, dtype, constants, kernel.configs[0])
    assert found.asm['cubin']
    assert f'ld.global.{read}' in found.asm['ptx']


@pytest.mark.slow
def test_all_configurations_compile(tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    for (kernel, constants), dtype in itertools.product(CASES + CONVOLUTIONS, TYPES):
        for config in getattr(kernel, 'configs', []):
            assert compiled(kernel, dtype, constants, config).asm['cubin'], (kernel, dtype, config)
