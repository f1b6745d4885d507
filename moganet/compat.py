"""Private names of PyTorch and MMEngine, all in one file: an upgrade that renames one of them is mended here."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import torch
from mmengine.logging import HistoryBuffer, MMLogger
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.nn.modules.batchnorm import _BatchNorm

BatchNorm = _BatchNorm
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


def has_dispatch_modes() -> bool:
    """Return whether a dispatch mode, such as a counter of FLOPs, is active."""
    return bool(torch._C._len_torch_dispatch_stack())


def has_transforms() -> bool:
    """Return whether a transform of torch.func or forward-mode differentiation is active."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def has_global_hooks() -> bool:
    """Return whether hooks are registered for all modules."""
    return bool(
        module_hooks._global_forward_hooks
        or module_hooks._global_forward_pre_hooks
        or module_hooks._global_backward_hooks
        or module_hooks._global_backward_pre_hooks
    )


def has_hooks(module: nn.Module) -> bool:
    """Return whether ``module`` has forward or backward hooks. Compilers trace this."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


class HasChildren(Protocol):
    """A module as a protocol, which other protocols can extend."""

    _modules: dict[str, nn.Module | None]


def child(module: HasChildren, name: str) -> nn.Module | None:
    """Return a child by its name, or None. ``get_submodule`` takes many times as long."""
    return module._modules.get(name)


def own_parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Return the parameters of ``modules`` themselves. ``parameters(recurse=False)`` takes many times as long."""
    return [p for module in modules for p in module._parameters.values() if p is not None]


def child_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the children of ``module``, without those of grandchildren."""
    return own_parameters(child for child in module._modules.values() if child is not None)


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the table of buffers of a module. A change of the table changes the module."""
    return module._buffers


def tensor_version(tensor: Tensor) -> int:
    """Return the number of changes of a tensor in place."""
    return tensor._version


def has_cpu_bfloat16() -> bool:
    """Return whether this CPU has instructions for matmuls in bfloat16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def is_exporting() -> bool:
    """Return whether torch.export traces. Inside Dynamo the public function is true for torch.compile as well."""
    return getattr(torch.compiler, '_is_exporting_flag', False)


def has_run_logger() -> bool:
    """Return whether MMEngine has set up a logger, as a run does."""
    return bool(MMLogger._instance_dict)


def has_onednn_linear() -> bool:
    """Return whether this PyTorch has oneDNN's linear layer as an operator."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x @ weight.T + bias`` computed by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, 'none', [], '')
