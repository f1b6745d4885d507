"""Runs a function of the benchmark in a new interpreter: for memory of its own, and for registries of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar('T')


def in_fresh_process(function: Callable[..., T], **arguments: Any) -> T:
    """Return ``function(**arguments)``, computed in a new interpreter with as many threads as this one.

    Args:
        function: A function at the top of an importable module.
        **arguments: Values that json can write.

    Returns:
        The result as json reads it: a tuple becomes a list.

    Raises:
        RuntimeError: the process failed; the message ends with its errors.
    """
    script = (
        f'import json, sys, torch; torch.set_num_threads({torch.get_num_threads()}); '
        f'from {function.__module__} import {function.__name__} as function; '
        f'print(json.dumps(function(**json.loads(sys.argv[1]))))'
    )
    done = subprocess.run([sys.executable, '-c', script, json.dumps(arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{function.__name__} with {arguments} ended with {done.returncode}: {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])
