"""Registers the parts of the 2D pose recipes that mmpose lacks: augmentation, checks, norm statistics.

It is a module of its own because ``import mogapose`` must not load mmpose, which ExPose does not need.
"""

import contextlib
import io
import warnings

# mmpose prints and warns about missing optional packages.
with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import mmpose.datasets
    import mmpose.evaluation  # noqa: F401

import moganet.run.norm_statistics  # noqa: F401  registers

from . import augmentation, preflight  # noqa: F401  registers
