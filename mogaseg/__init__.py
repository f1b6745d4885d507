"""Semantic segmentation: additions of MogaNet's recipes to mmseg. Importing registers them."""

import contextlib
import io
import warnings

import moganet

# mmseg prints and warns about packages that it can do without.
with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import mmseg.datasets
    import mmseg.engine
    import mmseg.evaluation
    import mmseg.models
    import mmseg.visualization  # noqa: F401

import moganet.run.norm_statistics  # noqa: F401  registers
from moganet.run.tasks import Task

from . import preflight  # noqa: F401  registers its checks

TASK = Task('seg', __name__, has_tta=True)
