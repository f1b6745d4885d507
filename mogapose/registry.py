"""The registries of the scope 'mogapose', those of ExPose, at the place where MMEngine looks for them.

2D pose registers with mmpose instead.
"""

from .expose.registry import DATASETS, METRICS, MODELS, TRANSFORMS

__all__ = ['DATASETS', 'METRICS', 'MODELS', 'TRANSFORMS']
