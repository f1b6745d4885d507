"""The backbone on a GPU: parity, mixed precision, compilation."""

import official
import pytest
import torch
from official import image, relative_error

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
