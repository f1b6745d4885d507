"""3D hands, faces and bodies (ExPose, ECCV 2020) on MMEngine alone. Importing it registers what its configs name."""

from . import body_models  # noqa: F401  registers MANO, FLAME, SMPLX
