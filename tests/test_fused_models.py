"""``moganet.fuse`` in whole models, one of each task: the same outputs, by folded blocks."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

import moganet
from helpers.few_blocks import filled
from helpers.official import relative_error
from helpers.tool_runs import ROOT
from moganet import ops
from moganet.backbone import MogaBlock, PatchEmbed, StemEmbed
from moganet.fusion import FusedBlock
from moganet.run.config import load_config

# What goes in, and what is asked for.
CALLS = {
    'cls/moganet_xt_mini': ((2, 3, 32, 32), lambda model, x: model(x)),
    'det/mask_rcnn_moganet_xt_mini': ((1, 3, 64, 64), lambda model, x: model.rpn_head(model.extract_feat(x))),
    'seg/fpn_moganet_xt_mini': ((1, 3, 64, 64), lambda model, x: model(x)),
    'pose/moganet_xt_mini': ((1, 3, 64, 48), lambda model, x: model(x, None)),
    'video/simvp_moganet_mini': ((1, 10, 1, 32, 32), lambda model, x: model(x)),
}


def tensors(outs):
    if isinstance(outs, torch.Tensor):
        return [outs]
    return [tensor for out in outs for tensor in tensors(out)]


@pytest.mark.parametrize('name', CALLS)
def test_a_model_of_each_task_computes_the_same(name):
    cfg = load_config(ROOT / f'configs/{name}.py')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        model = MODELS.build(cfg.model).eval()
    for part in model.modules():
        if isinstance(part, MogaBlock | StemEmbed | PatchEmbed):
            filled(part)
    shape, call = CALLS[name]
    x = torch.randn(shape)
    fused = moganet.fuse(model)
    with torch.no_grad():
        with ops.use('reference'):
            expected = tensors(call(model, x))
        outs = tensors(call(fused, x))
    assert any(isinstance(module, FusedBlock) for module in fused.modules())
    assert len(outs) == len(expected) > 0
    for out, other in zip(outs, expected, strict=True):
        assert relative_error(out, other) < 1e-5
