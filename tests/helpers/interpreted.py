"""Kernels without a GPU: a test file's cases in a process of their own, computed by Triton's interpreter.

Triton asks for its interpreter when a kernel is defined, so that one process has it either for all kernels or for none.
The functions ``case_*`` of a file are not collected as usual; one test of the file runs them all by ``run_cases``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from moganet.ops import triton

ROOT = Path(__file__).parents[2]
# What a kernel may differ by from double precision.
BOUNDS = ((torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3))


def run_cases(path: str) -> None:
    """Run the functions ``case_*`` of the test file ``path``, its ``__file__``, and fail with what they print."""
    if not triton.available():
        pytest.skip('needs Triton')
    command = [sys.executable, '-m', 'pytest', '-q', '-o', 'python_functions=case_*', '-p', 'no:cacheprovider', path]
    environment = dict(os.environ, TRITON_INTERPRET='1', OMP_NUM_THREADS='1')
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def relative(found: Tensor, expected: Tensor) -> float:
    """The norm of the difference over that of ``expected``."""
    found, expected = found.detach().double(), expected.detach().double()
    return ((found - expected).norm() / expected.norm().clamp_min(1e-30)).item()
