"""3D hands, faces and bodies (ExPose, ECCV 2020) on MMEngine alone. Importing it registers what its configs name."""

from . import body_models, datasets, estimator, heads, losses, metrics, preflight, transforms  # noqa: F401  registers
