"""Where MMEngine looks for the registries of the scope 'mogapose': those of ExPose. 2D pose registers with mmpose."""

from .expose.registry import DATASETS, METRICS, MODELS, TRANSFORMS

__all__ = ['DATASETS', 'METRICS', 'MODELS', 'TRANSFORMS']
