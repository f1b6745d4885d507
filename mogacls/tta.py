"""Test-time augmentation for classifiers whose config has none: the mean score of an image and its mirror image."""

from mmengine.config import Config


def set_default(cfg: Config) -> None:
    """Add ``tta_model`` and ``tta_pipeline`` in place: the test pipeline with a flip before its last step."""
    *steps, pack = cfg.test_dataloader.dataset.pipeline
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    cfg.tta_model = dict(type='AverageClsScoreTTA')
    cfg.tta_pipeline = [*steps, dict(type='TestTimeAug', transforms=[flips, [pack]])]
