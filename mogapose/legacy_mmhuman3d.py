"""MogaNet in MMHuman3D, which stayed with mmcv 1. Importing this registers the backbone there:

    custom_imports = dict(imports=['mogapose.legacy_mmhuman3d'], allow_failed_imports=False)
    model = dict(
        backbone=dict(_delete_=True, type='MogaNet', arch='tiny', out_indices=(3,),
                      init_cfg=dict(type='Pretrained', checkpoint='moganet://tiny_1k')),
        head=dict(input_feat_dim=256))

``input_feat_dim`` is the width of the last stage: 192, 256, 512, 512, 640 or 960, from xtiny to xlarge. Configs of
hands and faces need no more; that of bodies wants pooled features, which MMHuman3D has no neck for.

Install with ``pip install --no-deps`` so that nothing touches mmcv 1. MMEngine is needed and gets along with it.
"""

from mmhuman3d.models.backbones.builder import BACKBONES

from moganet import MogaNet

BACKBONES.register_module(name='MogaNet', module=MogaNet)
