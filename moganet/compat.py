"""Private names of PyTorch and MMEngine, all in one file: an upgrade that renames one of them is mended here."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

# Wrappers for sharding, checkpointing and compiling put these between the name of a module and that of its child.
WRAPPER_NAMES = {'_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod'}


def module_versions(state_dict: Mapping[str, Tensor]) -> Mapping[str, Any] | None:
    """Return the versions of modules that a module's state dict carries, or None for a dict without them."""
    return getattr(state_dict, '_metadata', None)


def set_module_versions(state_dict: OrderedDict[str, Tensor], versions: Mapping[str, Any]) -> None:
    """Let a state dict carry the versions of modules."""
    vars(state_dict)['_metadata'] = OrderedDict(versions)


def sharded_shapes(module: nn.Module) -> dict[nn.Parameter, torch.Size] | None:
    """Return the shapes of the parameters that FSDP has put into shards of ``module``, before they were cut.

    Empty for a module without shards. None if FSDP made one parameter of many (``use_orig_params=False``).
    """
    flat = getattr(module.__dict__.get('_handle'), 'flat_param', None)
    if flat is None:
        return {}
    return None if flat._params is None else dict(zip(flat._params, flat._shapes, strict=True))


def loaded_path(runner: Any) -> str | None:
    """Return the checkpoint that an MMEngine Runner was told to load."""
    return runner._load_from


def restore_history(buffer: HistoryBuffer, log_history: Any, count_history: Any, *, max_length: int) -> None:
    """Make a subclass of HistoryBuffer a HistoryBuffer with these values.

    Args:
        buffer: Changed in place.
        log_history: Values, an array (N,).
        count_history: Counts of the values, an array (N,).
        max_length: The number of values that the buffer holds at most.
    """
    buffer._log_history, buffer._count_history, buffer.max_length = log_history, count_history, max_length
    buffer.__class__ = HistoryBuffer
    buffer._set_default_statistics()
