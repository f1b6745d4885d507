"""Builds a swapped model and runs it once: proof that backbone, neck and heads fit."""

import traceback
from pathlib import Path

from mmengine.config import Config

from ..errors import one_line
from . import probe
from .channels import value_at
from .plan import find_backbone

STEPS = ('built', 'run up to its neck', 'run through its heads')
PROVEN = 'built, and run once from backbone to heads'
HINT = 'set the values that depend on the size of a map, such as codec.heatmap_size'


def verify(cfg: Config, original: Config, scope: str) -> tuple[bool, str]:
    """Build the swapped model and run it once on a small image.

    An error that the original model has on this machine too, such as an operator for GPUs alone, does not count
    against the swapped one.

    Args:
        cfg: The swapped config.
        original: The config before the swap.
        scope: The MM package of the model.

    Returns:
        True if the swapped config is usable; and ``PROVEN``, or the reason of a doubt or failure.
    """
    for size in probe.image_sizes(cfg, value_at(original.model, find_backbone(original.model))):
        steps, outcome = _attempt(cfg, original, scope, size)
        if steps == len(STEPS) and not outcome:
            return True, PROVEN
        original_steps, original_outcome = _attempt(original, original, scope, size)
        if steps == len(STEPS):
            good = original_steps < steps or outcome == original_outcome
            difference = f'the swapped model returns {outcome}, the original {original_outcome}: {HINT}'
            return good, PROVEN if good else difference
        if original_steps > steps:
            return False, f'the swapped model cannot be {STEPS[steps]}: {outcome}'
    doubt = f'the swapped model cannot be {STEPS[steps]} here, nor can the original ({outcome})'
    return steps > 0, f'could not decide: {doubt}'


def _attempt(cfg: Config, original: Config, scope: str, size: tuple[int, int]) -> tuple[int, str]:
    """Try the steps one after the other.

    Returns:
        The number of steps that succeeded; and the error of the next one, or after the last one the shapes that the
        heads return.
    """
    path, steps = find_backbone(original.model), 0
    try:
        model = probe.build_model(cfg, path[:-1])
        steps = 1
        probe.run_features(model, size)
        steps = 2
        shapes = probe.run_heads(model, scope, size)
    except Exception as error:
        return steps, _reason(error)
    return len(STEPS), shapes


def _reason(error: Exception) -> str:
    """Return the message of an error; without a message, its type and the line that raised it."""
    message = one_line(error)
    if message:
        return message
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {last.line}'
