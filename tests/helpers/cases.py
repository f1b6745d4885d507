"""Many cases of one check in one test, which names those that fail."""

import functools
import inspect
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
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
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        try:
            check(*arguments)
        except (Exception, pytest.fail.Exception) as error:
            found[', '.join(map(str, arguments))] = f'{type(error).__name__}: {error}'
    return found


def for_each(cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make one test of a check and its cases, where ``pytest.mark.parametrize`` makes one of each case.

    The first parameters of the check are those of a case. The others are fixtures, which all cases share.
    """
    cases = list(cases)
    width = len(cases[0]) if isinstance(cases[0], tuple) else 1

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def test(**fixtures: Any) -> None:
            failed = failures(functools.partial(check, **fixtures), cases)
            if failed:
                pytest.fail('\n'.join(f'{case}: {error}' for case, error in failed.items()), pytrace=False)

        test.__signature__ = inspect.Signature(list(inspect.signature(check).parameters.values())[width:])
        return test

    return decorate
