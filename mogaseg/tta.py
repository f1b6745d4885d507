"""Test-time augmentation of the released runs: the mean probability over six sizes of an image and their mirror images.

The ``tta_pipeline`` of mmseg scales the size of the photograph. The released runs scaled the test size: at 0.5, the
short edge of an image has 256 pixels and the long edge at most 1024.
"""

from mmengine.config import Config

from .preflight import MAP_TYPES

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def set_default(cfg: Config) -> None:
    """Add ``tta_model`` and ``tta_pipeline`` to ``cfg`` in place, derived from the test pipeline.

    The first ``Resize`` runs once per ratio in ``RATIOS``; the steps after it (rounding to 32) run on each result.
    Labels are loaded last, so no step changes them.

    Args:
        cfg: A segmentation config.

    Raises:
        ValueError: the test pipeline has no ``Resize`` with a scale.
    """
    *steps, pack = cfg.test_dataloader.dataset.pipeline
    labels = [step for step in steps if step['type'] in MAP_TYPES]
    steps = [step for step in steps if step not in labels]
    sized = [i for i, step in enumerate(steps) if step['type'] == 'Resize' and step.get('scale')]
    if not sized:
        raise ValueError('--tta: the test pipeline has no Resize with a scale, so there is no size to multiply')
    before, resize, after = steps[: sized[0]], steps[sized[0]], steps[sized[0] + 1 :]
    sizes = [dict(resize, scale=tuple(int(side * ratio) for side in resize['scale'])) for ratio in RATIOS]
    flips = [dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in (0.0, 1.0)]
    each = [[step] for step in after]
    cfg.tta_model = dict(type='SegTTAModel')
    cfg.tta_pipeline = [
        *before,
        dict(type='TestTimeAug', transforms=[sizes, *each, flips, *([step] for step in labels), [pack]]),
    ]
