"""Triton kernels of the multi-order depthwise convolution: values, gradients, what they compile to."""

import pytest
import torch
from interpreted import run_cases
from official import relative_error
from torch.nn import functional as F

from moganet.ops import gpu, reference

if gpu.available():
    from moganet.ops.gpu import multi_order
    from moganet.ops.gpu import multi_order_kernels as kernels

pytestmark = pytest.mark.skipif(not gpu.available(), reason='needs Triton')

# Forward and gradients, against float64.
TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (2e-2, 2e-2), torch.float16: (2e-3, 2e-3)}


def test_kernels_by_the_interpreter():
    run_cases(__file__)


def arguments(shape, dtype=torch.float32, weight_dtype=None, device='cpu'):
    """A map and weights; biases as large as the values, so that padding them would show."""
    channels = shape[1]
    _, middle, high = reference.split_channels(channels)
    tensors = [torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)]
    for count, side in ((channels, 5), (middle, 5), (high, 7)):
        tensors += [torch.randn(count, 1, side, side, device=device) / side, torch.randn(count, device=device)]
    types = [dtype] + 6 * [weight_dtype or dtype]
    return [tensor.to(kind) for tensor, kind in zip(tensors, types, strict=True)]


def expected(tensors, dilations, grad):
    """The reference in float64: the output, and the gradients of all tensors."""
    tensors = [tensor.double().requires_grad_() for tensor in tensors]

    def conv(i):
        weight, bias = tensors[2 * i + 1 : 2 * i + 3]
        padding = weight.shape[2] // 2 * dilations[i]
        return lambda x: F.conv2d(x, weight, bias, padding=padding, dilation=dilations[i], groups=len(weight))

    out = reference.multi_order_dwconv(tensors[0], *(conv(i) for i in range(3)))
    return out.detach(), torch.autograd.grad(out, tensors, grad.double())


def rows(x):
    return x.permute(0, 2, 3, 1).contiguous()


def assert_exact(tensors, dilations):
    grad = torch.randn_like(tensors[0])
    out_expected, grads_expected = expected(tensors, dilations, grad)
    u, *weights = tensors
    table = multi_order.table_of(weights)
    out = multi_order.forward(rows(u), table, dilations)
    grad_u, grads = multi_order.backward(rows(grad), rows(u), table, weights, dilations)
    assert out.dtype == u.dtype and out.is_contiguous()
    value, gradient = TOLERANCES[out.dtype]
    assert relative_error(out.permute(0, 3, 1, 2).double(), out_expected) < value
    for tensor, found, wanted in zip(tensors, (grad_u.permute(0, 3, 1, 2), *grads), grads_expected, strict=True):
        assert found.dtype == tensor.dtype and found.shape == tensor.shape
        if wanted.norm():
            assert relative_error(found.double(), wanted) < gradient
        else:
            assert not found.norm()


@pytest.mark.parametrize(
    'shape, dilations, together',
    [
        ((1, 8, 3, 5), (1, 2, 3), False),
        ((3, 16, 3, 4), (1, 2, 1), True),
        ((1, 24, 2, 9), (1, 2, 3), False),
        ((1, 40, 8, 1), (1, 2, 1), True),
        ((3, 40, 1, 1), (1, 2, 3), False),
        ((1, 32, 6, 3), (1, 2, 1), False),
        ((1, 8, 16, 2), (1, 2, 3), True),
        ((1, 8, 4, 3), (2, 1, 4), False),
    ],
)
def case_values_and_gradients_are_the_reference_s(shape, dilations, together, monkeypatch):
    monkeypatch.setattr(multi_order, 'PROGRAMS', 1 if together else 10**6)
    assert_exact(arguments(shape), dilations)


@pytest.mark.parametrize(
    'dtype, weight_dtype',
    [(torch.bfloat16, None), (torch.float16, None), (torch.bfloat16, torch.float32)],
)
def case_half_precision_sums_in_single(dtype, weight_dtype):
    assert_exact(arguments((2, 8, 5, 3), dtype, weight_dtype), (1, 2, 3))


@pytest.mark.parametrize('images, launches', [(3, [(True, False), (False, True)]), (4, [(True, True)])])
def case_one_launch_where_programs_suffice_else_two(images, launches, monkeypatch):
    found, programs = [], []

    def launch(kernel, grid, tensors, numbers, FIRST, SECOND, **constants):
        found.append((FIRST, SECOND))
        programs.append(grid(dict(COLS=8, BLOCK=32)))

    u, *weights = arguments((images, 64, 20, 9))
    table = multi_order.table_of(weights)
    monkeypatch.setattr(multi_order, 'launch', launch)
    monkeypatch.setattr(multi_order, 'PROGRAMS', 8)  # two blocks of 32 channels each
    multi_order.forward(rows(u), table, (1, 2, 3))
    assert found == launches
    # Of 20 rows: 3 lines of 7 rows of the 5x5; dilated, 4 (by 2) and 6 of 5 rows (by 3). Of 9 columns: 2 tiles.
    assert programs == [(images * n, 2) for n in ([1] if images == 4 else [3 * 2, 6 * 2])]


def test_images_beyond_what_kernels_can_address_are_refused():
    with torch.device('meta'), pytest.raises(ValueError, match=r'2\*\*31 elements of an image'):
        multi_order.forward(torch.empty(1, 2**14, 2**14, 8), torch.empty(76, 8), (1, 2, 3))


POINTERS = ('src', 'between', 'dst', 'grad', 'grad_between', 'table')


def compiled_for_hopper(kernel, dtype, warps, **constants):
    import triton
    from triton.backends.compiler import GPUTarget

    while not isinstance(kernel, triton.JITFunction):
        kernel = kernel.fn  # what tunes it
    kinds = {name: '*fp32' if name == 'table' else f'*{dtype}' for name in POINTERS}
    kinds.update(dict.fromkeys(constants, 'constexpr'))
    signature = {name: kinds.get(name, 'i32') for name in kernel.arg_names}
    aligned = {(i,): [['tt.divisibility', 16]] for i, name in enumerate(kernel.arg_names) if name in POINTERS}
    source = triton.compiler.ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, GPUTarget('cuda', 90, 32), dict(num_warps=warps))


# Four neighbours are read at once; K * K products of a tile's rows and one column of taps, of 4 elements per thread.
@pytest.mark.parametrize(
    'dtype, read', [('bf16', 'ld.global.v2.b32'), ('fp16', 'ld.global.v2.b32'), ('fp32', 'ld.global.v4.b32')]
)
def test_convolutions_compile_for_hopper(dtype, read, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    compiled = compiled_for_hopper(
        kernels.convolve, dtype, 4, D0=1, D1=2, D2=3, ALIGN=4, FIRST=True, SECOND=True, BACKWARD=False, COLS=8, BLOCK=64
    )
    assert compiled.metadata.shared == 0  # layouts fit each other: nothing is exchanged between threads
    assert compiled.asm['ptx'].count('fma.rn.f32') == 3 * 5 * 7 * 4
    assert compiled.asm['ptx'].count(read) >= 3 * 11
    assert len(compiled.asm['cubin'])


def test_gradients_of_weights_compile_for_hopper(tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    compiled = compiled_for_hopper(kernels.correlate, 'bf16', 8, D0=1, D1=2, D2=3, ALIGN=4, COLS=2, BLOCK=32)
    assert compiled.asm['ptx'].count('fma.rn.f32') == 3 * 5 * 7 * 4
    assert compiled.asm['ptx'].count('ld.global.v2.b32') == 2 * (7 + 11) + 5 + 11
    assert len(compiled.asm['cubin'])


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize(
    'shape', [(2, 64, 56, 56), (1, 128, 28, 28), (110, 320, 14, 14), (70, 512, 7, 7), (1, 32, 75, 101), (3, 24, 9, 11)]
)
def test_real_sizes_on_a_gpu(shape, dtype):
    assert_exact(arguments(shape, dtype, device='cuda'), (1, 2, 3))


@pytest.mark.gpu
def test_one_launch_or_two_give_the_same_bits_on_a_gpu(monkeypatch):
    u, *weights = arguments((16, 320, 14, 14), torch.bfloat16, device='cuda')
    found = []
    for programs in (1, 10**6):
        monkeypatch.setattr(multi_order, 'PROGRAMS', programs)
        found.append(multi_order.forward(rows(u), multi_order.table_of(weights), (1, 2, 3)))
    assert torch.equal(*found)
