"""Runs the tests that ask for Triton's interpreter in a process of its own; each reports as usual."""

import os

import pytest

from helpers import interpreted


def is_interpreted(item):
    """Return whether a test runs in the second process."""
    return 'triton_interpreter' in item.fixturenames


@pytest.fixture
def triton_interpreter():
    """Mark a test by ``interpreted.by_interpreter``."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run the test in the second process, together with the others of its file, and report its result here."""
    if not is_interpreted(pyfuncitem) or os.environ.get('TRITON_INTERPRET') == '1':
        return None
    items = pyfuncitem.session.items
    tests = [item.nodeid for item in items if item.path == pyfuncitem.path and is_interpreted(item)]
    result = interpreted.shared().run(pyfuncitem.nodeid, tests)
    if result.outcome == 'failed':
        pytest.fail(result.text, pytrace=False)
    if result.outcome == 'skipped':
        pytest.skip(result.text)
    return True


def pytest_unconfigure():
    """End the second process."""
    interpreted.close()
