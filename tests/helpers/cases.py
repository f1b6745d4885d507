"""Many cases of one check in one test, which names those that fail."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch


def failures(check: Callable[..., None], cases: Iterable[Any]) -> dict[str, str]:
    """Call a check with each case and return the failed ones, each with its error.

    Each case starts from seed 0, as a test of its own does.

    Args:
        check: Asserts something of a case.
        cases: Each a tuple of arguments, or the only argument.
    """
    found = {}
    for case in cases:
        arguments = case if isinstance(case, tuple) else (case,)
        torch.manual_seed(0)
        try:
            check(*arguments)
        except (Exception, pytest.fail.Exception) as error:
            found[', '.join(map(str, arguments))] = f'{type(error).__name__}: {error}'
    return found
