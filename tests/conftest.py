"""What every test may rely on: one thread, restored random states, skips for hardware and files that are not there."""

import os
import random

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def restored_random_states():
    """Each test starts from seed 0 and leaves the random states as it found them."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


def pytest_runtest_setup(item):
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('needs a CUDA device')
    if item.get_closest_marker('weights') and 'MOGANET_WEIGHTS' not in os.environ:
        pytest.skip('needs published weights: set MOGANET_WEIGHTS to the folder that holds them')
