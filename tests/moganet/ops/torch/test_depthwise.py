"""Depthwise convolutions by phases, cropped kernels and kernels' gradients as convolutions equal PyTorch's own."""

import pytest
import torch
from torch.nn import functional as F

from helpers.cases import failures
from moganet import compat
from moganet.ops.torch import depthwise, matmul

SIZES = ((1, 1), (1, 4), (2, 2), (3, 3), (4, 7), (9, 6), (14, 14))


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(('kernel', 'dilation'), [(3, 1), (5, 1), (5, 2), (7, 1), (7, 3)])
def test_depthwise_convolution_and_gradients_equal_autograds(kernel, dilation, dtype, tolerance):
    # Of many positions, float32 alone has code of its own.
    sizes = SIZES if dtype == torch.float64 else (*SIZES, (70, 60))
    assert failures(lambda *size: check_depthwise(size, kernel, dilation, dtype, tolerance), sizes) == {}


def check_depthwise(size, kernel, dilation, dtype, tolerance):
    x = torch.randn(2, *size, 24, dtype=dtype)[..., 8:]  # a slice of the channels
    weight, bias = torch.randn(16, 1, kernel, kernel, dtype=dtype), torch.randn(16, dtype=dtype)
    grad = torch.randn(2, *size, 16, dtype=dtype)
    image, taps = x.permute(0, 3, 1, 2).contiguous().requires_grad_(), weight.clone().requires_grad_()
    expected = F.conv2d(image, taps, bias, padding=kernel // 2 * dilation, dilation=dilation, groups=16)
    expected.backward(grad.permute(0, 3, 1, 2))
    y = depthwise.forward(x, weight, bias, dilation)
    dx, dw = depthwise.backward(grad, x, weight, dilation)
    for ours, theirs in ((y, expected.permute(0, 2, 3, 1)), (dx, image.grad.permute(0, 2, 3, 1)), (dw, taps.grad)):
        assert ours.shape == theirs.shape
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


@pytest.mark.parametrize('shapes', [(5, 3, 4), (1, 1, 1), (200, 16, 48), (48, 40, 8)])
@pytest.mark.parametrize('onednn', [True, False])
def test_products_equal_their_definition(shapes, onednn, monkeypatch):
    if not onednn:
        monkeypatch.setattr(matmul, 'onednn_works', lambda dtype: False)
    n, k, m = shapes
    x, weight, bias, y = (torch.randn(shape) for shape in ((n, k), (m, k), (m,), (n, m)))
    close = dict(rtol=1e-4, atol=1e-4)
    assert torch.allclose(matmul.matmul(x, weight, bias), torch.einsum('nk,mk->nm', x, weight) + bias, **close)
    assert torch.allclose(matmul.matmul(y, weight.t()), torch.einsum('nm,mk->nk', y, weight), **close)
    assert torch.allclose(matmul.transposed_matmul(x, y), torch.einsum('nk,nm->km', x, y), **close)


def test_products_do_without_onednn(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    matmul.onednn_works.cache_clear()
    try:
        assert not matmul.onednn_works(torch.float32)
        assert torch.equal(matmul.matmul(torch.eye(2), torch.ones(3, 2), torch.ones(3)), torch.full((2, 3), 2.0))
    finally:
        matmul.onednn_works.cache_clear()


def test_types_that_onednn_refuses_are_multiplied_by_pytorch(monkeypatch):
    """As it does bfloat16 on processors without instructions for it."""

    def refuse(*args):
        raise RuntimeError('could not create a primitive descriptor')

    monkeypatch.setattr(compat, 'onednn_linear', refuse)
    matmul.onednn_works.cache_clear()
    try:
        x, weight = torch.eye(2, dtype=torch.bfloat16), torch.ones(3, 2, dtype=torch.bfloat16)
        assert torch.equal(matmul.matmul(x, weight), torch.ones(2, 3, dtype=torch.bfloat16))
    finally:
        matmul.onednn_works.cache_clear()
