"""Top-down 2D pose: what MogaNet's recipes need beside mmpose. Importing it registers that."""

import contextlib
import io
import warnings

# mmpose prints and warns about packages that it can do without.
with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    import mmpose.datasets
    import mmpose.evaluation  # noqa: F401

import moganet.run.norm_statistics  # noqa: F401  registers

from . import augmentation, preflight  # noqa: F401  registers
