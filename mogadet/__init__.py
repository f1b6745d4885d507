"""Object detection and instance segmentation: additions of MogaNet's recipes to mmdet. Importing registers them."""

import contextlib
import io
import warnings

import moganet

# mmdet prints and warns about packages that it can do without.
with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401

import moganet.layer_decay
import moganet.run.norm_statistics  # noqa: F401  registers
from moganet.run.tasks import Task

from . import preflight  # noqa: F401  registers its checks

TASK = Task('det', __name__, has_benchmark=True)
