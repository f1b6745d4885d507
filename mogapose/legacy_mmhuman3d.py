"""Registers MogaNet with MMHuman3D, which still uses mmcv 1.

A config of MMHuman3D uses the backbone like this:

    custom_imports = dict(imports=['mogapose.legacy_mmhuman3d'], allow_failed_imports=False)
    model = dict(
        backbone=dict(_delete_=True, type='MogaNet', arch='tiny', out_indices=(3,),
                      init_cfg=dict(type='Pretrained', checkpoint='moganet://tiny_1k')),
        head=dict(input_feat_dim=256))

``input_feat_dim`` is the width of the last stage: 192, 256, 512, 512, 640 or 960, from xtiny to xlarge. Configs of
hands and faces need no other change. The config of bodies needs pooled features, for which MMHuman3D has no neck.

Install with ``pip install --no-deps``, so that mmcv 1 stays installed. MMEngine is needed and works beside mmcv 1.
"""

from mmhuman3d.models.backbones.builder import BACKBONES

from moganet import MogaNet

BACKBONES.register_module(name='MogaNet', module=MogaNet)
