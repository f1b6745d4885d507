"""Test-time augmentation of the released runs: the mean probability over six sizes of an image and their mirror images.

mmseg's own ``tta_pipeline`` scales the photograph itself. The released runs scaled the size they test at: at 0.5, an
image has 256 pixels on its short edge and 1024 at most on the long one.
"""

from mmengine.config import Config

from .preflight import MAP_TYPES

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def set_default(cfg: Config) -> None:
    """Make ``tta_model`` and ``tta_pipeline`` of the test pipeline, in place.

    Its first ``Resize`` is done once for each of ``RATIOS``, the steps after it (rounding to 32) for each result.
    Labels are loaded last, so that they stay as they are.

    Raises:
        ValueError: no step of the test pipeline resizes to a size.
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
