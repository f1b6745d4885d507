"""The Triton kernels beside the convolutions compile for a Hopper GPU, in all types; none of that needs a GPU."""

import itertools

import pytest
import torch

triton = pytest.importorskip('triton')
aggregate, decompose, gate, parts, residual = (
    pytest.importorskip(f'moganet.ops.gpu.{name}') for name in ('aggregate', 'decompose', 'gate', 'parts', 'residual')
)

TYPES = {torch.float32: '*fp32', torch.bfloat16: '*bf16', torch.float16: '*fp16'}
# Always float32: weights of mixed precision, buffers of sums.
WIDE = {'w_ptr', 'b_ptr', 'w_context_ptr', 'context_ptr', 's_ptr', 'mean_ptr', 'mean_dq_ptr', 'mask_ptr', 'sums_ptr',
        'ds_ptr'}  # fmt: skip
POSITIONS = dict(P=parts.POSITIONS, BC=parts.CHANNELS)
CASES = [
    (gate._forward, dict(BLOCK=gate.BLOCK)),
    (gate._backward, dict(BLOCK=gate.BLOCK)),
    (aggregate._convolve, dict(BC=aggregate.BLOCK)),
    (aggregate._convolve, dict(BC=aggregate.BLOCK, b_ptr=None, w_context_ptr=None, context_ptr=None)),
    (aggregate._backward, dict(TW=aggregate.STRIP, SUMS=aggregate.SUMS)),
    (decompose._forward, POSITIONS),
    (decompose._sums, POSITIONS),
    (decompose._backward, POSITIONS),
    (residual._forward, dict(POSITIONS, MAP=True)),
    (residual._forward, dict(POSITIONS, MAP=False, mask_ptr=None)),
    (residual._backward, dict(POSITIONS, MAP=True, mask_ptr=None, dt_ptr=None)),
    (residual._backward, dict(POSITIONS, MAP=False)),
]


def compiled(kernel, dtype, constants, config):
    while not isinstance(kernel, triton.JITFunction):
        kernel = kernel.fn  # what tunes it
    constants = {**constants, **(config.kwargs if config else {})}
    names = kernel.arg_names
    types = {name: ('*fp32' if name in WIDE else TYPES[dtype]) if name.endswith('_ptr') else 'i32' for name in names}
    types.update(dict.fromkeys(constants, 'constexpr'))
    # As Triton finds them at run time: addresses, and numbers of channels and elements, in multiples of 16.
    multiples = {(i,): [['tt.divisibility', 16]] for i, name in enumerate(names)
                 if types[name] != 'constexpr' and (name.endswith('_ptr') or name in ('C', 'size'))}  # fmt: skip
    source = triton.compiler.ASTSource(kernel, types, constants, multiples)
    target = triton.backends.compiler.GPUTarget('cuda', 90, 32)
    return triton.compile(source, target, dict(num_warps=config.num_warps if config else 4))


@pytest.mark.parametrize('dtype', TYPES)
@pytest.mark.parametrize('case', range(len(CASES)), ids=[f'{k.fn.__module__[16:]}{k.fn.__name__}' for k, _ in CASES])
def test_kernels_compile_and_read_whole_words(case, dtype, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    kernel, constants = CASES[case]
    found = compiled(kernel, dtype, constants, next(iter(getattr(kernel, 'configs', [])), None))
    assert found.asm['cubin']
    assert 'ld.global.v4.b32' in found.asm['ptx'] or 'ld.global.v2.b32' in found.asm['ptx']


@pytest.mark.slow
def test_all_configurations_compile(tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    for (kernel, constants), dtype in itertools.product(CASES, TYPES):
        for config in getattr(kernel, 'configs', []):
            assert compiled(kernel, dtype, constants, config).asm['cubin'], (kernel, dtype, config)
