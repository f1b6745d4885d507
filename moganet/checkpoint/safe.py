"""Reads checkpoint files without running any code in them, unless the user passed ``--trust-checkpoint``."""

import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from ..io.files import atomic
from .allowed import ALLOWED, Refused, plain
from .fetch import looks_like_page, resolve

# Set by runner.use_safe_loader(), as MMEngine passes no arguments of ours to its loaders.
trusting = False

# PyTorch's errors for a pickle that it cannot parse. Its other errors are for a pickle that asks for a refused object.
_UNREADABLE = ('Unsupported operand', 'String is too long', 'invalid load key', 'truncated')


def read_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu', trust: bool = False) -> dict:
    """Read a checkpoint file in PyTorch's zip or legacy format.

    Args:
        path: The file.
        map_location: As in ``torch.load``.
        trust: Unpickle any object, which can run any code. Only the user may choose this.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is empty, damaged, a folder, a web page or no checkpoint, or holds more than data.
    """
    path = Path(path).expanduser()
    _check_file(path)
    try:
        if trust:
            print_log(f'{path} is trusted: reading it can run code', logger='current', level=logging.WARNING)
            checkpoint = torch.load(path, map_location=map_location, weights_only=False)
        else:
            with torch.serialization.safe_globals(ALLOWED):
                checkpoint = plain(torch.load(path, map_location=map_location, weights_only=True))
    except Exception as error:
        raise ValueError(_reason(path, error)) from error
    if not isinstance(checkpoint, dict) or not _holds_tensors(checkpoint):
        keys = f' with the keys {list(checkpoint)[:8]}' if isinstance(checkpoint, dict) else ''
        raise ValueError(f'{path} is no checkpoint: a {type(checkpoint).__name__}{keys}, without tensors')
    return checkpoint


def load_checkpoint(source: str | os.PathLike, map_location: Any = 'cpu') -> dict:
    """Read the checkpoint of a path, an http(s) address or ``moganet://NAME``.

    Args:
        source: As in ``resolve``.
        map_location: As in ``torch.load``.

    Raises:
        FileNotFoundError, ValueError: as in ``resolve`` and ``read_checkpoint``.
    """
    return read_checkpoint(resolve(source), map_location, trust=trusting)


def write_checkpoint(checkpoint: dict, path: str | os.PathLike) -> None:
    """Write a checkpoint file; an error leaves the old file or none."""
    with atomic(path) as partial, partial.open('wb') as file:  # by path, torch would store the partial file's name
        torch.save(checkpoint, file)


def _check_file(path: Path) -> None:
    """Raise FileNotFoundError or ValueError for a path that cannot be a checkpoint."""
    if path.is_dir():
        raise ValueError(f'{path} is a folder: expected a checkpoint file, such as one of those inside')
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such checkpoint file')
    if path.stat().st_size == 0:
        raise ValueError(f'{path} is empty: copy or download it again')
    if looks_like_page(path):
        raise ValueError(
            f'{path} looks like a web page, not weights: was a download page saved? Download the file itself'
        )


def _reason(path: Path, error: Exception) -> str:
    """Return one line that says why a file cannot be read."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):  # PyTorch adds a page of advice to its message
        text = text.split('WeightsUnpickler error:')[-1].split('Check the documentation')[0].strip()
    if not isinstance(error, Refused | pickle.UnpicklingError) or any(words in text for words in _UNREADABLE):
        # Only the first sentence, as the next one recommends to load the file unsafely.
        first = next(iter(text.splitlines()), '').split('. ')[0]
        return (
            f'{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint: '
            f'damaged, cut off or another kind of file ({type(error).__name__}: {first[:200]})'
        )
    named = re.search(r'GLOBAL (\S+) (?:was not an allowed|whose module)', text)
    refused = named[1] if named else ' '.join(text.split())
    return (
        f'{path} holds more than data and was not loaded: it asks for {refused}, and that way a file can run any code. '
        'Only if you trust whoever made it: --trust-checkpoint'
    )


def _holds_tensors(checkpoint: dict) -> bool:
    """Return whether a tensor is in the checkpoint or in a dict one level below."""
    levels = [checkpoint, *(value for value in checkpoint.values() if isinstance(value, dict))]
    return any(isinstance(value, Tensor) for level in levels for value in level.values())
