"""Reads checkpoint files without running anything in them, unless the user asked for it by ``--trust-checkpoint``."""

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

# What runner.use_safe_loader() was told; MMEngine's loaders take no arguments of ours.
_trusting = False

# torch's words for a pickle that it cannot parse, as opposed to one that asks for something refused.
_UNREADABLE = ('Unsupported operand', 'String is too long', 'invalid load key', 'truncated')


def read_checkpoint(path: str | os.PathLike, map_location: Any = 'cpu', trust: bool = False) -> dict:
    """Read a checkpoint file, zip or legacy format.

    Args:
        path: The file.
        map_location: As in ``torch.load``.
        trust: Read what else the pickle holds too, which can run any code. The user's own explicit choice.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, damaged, a folder, a web page, no checkpoint, or one that holds more than data.
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
    """Read the checkpoint that a path, an http(s) address or ``moganet://NAME`` means.

    Raises:
        FileNotFoundError, ValueError: as in ``resolve`` and ``read_checkpoint``.
    """
    return read_checkpoint(resolve(source), map_location, trust=_trusting)


def write_checkpoint(checkpoint: dict, path: str | os.PathLike) -> None:
    """Write a checkpoint file, whole or not at all."""
    with atomic(path) as partial, partial.open('wb') as file:  # by path, torch would store the partial file's name
        torch.save(checkpoint, file)


def _check_file(path: Path) -> None:
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
    """One line on why a file cannot be read."""
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):  # torch wraps a page of advice around its words
        text = text.split('WeightsUnpickler error:')[-1].split('Check the documentation')[0].strip()
    if not isinstance(error, Refused | pickle.UnpicklingError) or any(words in text for words in _UNREADABLE):
        # The first sentence: torch's next one advises to load the file unsafely.
        first = next(iter(text.splitlines()), '').split('. ')[0]
        return (
            f'{path} ({path.stat().st_size:,} bytes) cannot be read as a checkpoint: '
            f'damaged, cut off or another kind of file ({type(error).__name__}: {first[:200]})'
        )
    named = re.search(r'GLOBAL (\S+) (?:was not an allowed|whose module)', text)
    what = named[1] if named else ' '.join(text.split())
    return (
        f'{path} holds more than data and was not loaded: it asks for {what}, and that way a file can run any code. '
        'Only if you trust whoever made it: --trust-checkpoint'
    )


def _holds_tensors(checkpoint: dict) -> bool:
    parts = [checkpoint, *(value for value in checkpoint.values() if isinstance(value, dict))]
    return any(isinstance(value, Tensor) for part in parts for value in part.values())
