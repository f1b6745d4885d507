"""Loads all weights of a checkpoint into a backbone or a model, or raises an error with the names that do not fit."""

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import MODELS
from torch import nn

from ..arch import ARCHS, NUM_STAGES
from .gate import gate_of
from .layouts import (
    BACKBONE,
    BACKBONE_NAME,
    FIRST,
    FLAT_EMA,
    HEAD_FC,
    StateDict,
    find_prefix,
    select,
    strip_module,
    tensors_of,
    to_backbone,
    to_mmpretrain,
)
from .safe import load_checkpoint

Source = str | os.PathLike | Mapping[str, Any]
MAX_NAMES = 5  # in a list of an error


class Backbone(Protocol):
    """The attributes of a MogaNet that loading needs. backbone.py imports this file, so this file cannot import it."""

    gate: str
    num_stages: int

    def state_dict(self) -> dict[str, Any]:
        """Return all tensors by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Any:
        """Copy tensors into the module."""


@runtime_checkable
class LoadsReleases(Protocol):
    """A model that renames the tensors of a release by itself."""

    def from_released(self, state_dict: StateDict) -> tuple[StateDict, str]:
        """Return ``state_dict`` under the model's own names, and a note for the log."""


def is_backbone(module: nn.Module) -> TypeGuard[Backbone]:
    """Return whether ``module`` is a MogaNet, by the class that MMEngine's registry has."""
    return isinstance(module, MODELS.get('MogaNet'))


def load_backbone(
    model: Backbone, checkpoint: Source, prefix: str | None = None, allow: Sequence[str] = (), ema: bool = True
) -> str:
    """Load weights into a MogaNet. A head, other parts of the file and stages that are not built are left out.

    Args:
        model: The MogaNet.
        checkpoint: A path, an http(s) address, ``moganet://NAME``, or the content of such a file.
        prefix: Prefix of the backbone's names in the file. Only a file with several MogaNets needs it.
        allow: Patterns (fnmatch) of the backbone's own names that may be missing, left over or of another shape.
        ema: Prefer averaged weights where the file has both.

    Returns:
        The line that is logged: the number of tensors loaded and their source.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be read or does not fit.
    """
    allow = check_patterns(allow)
    source, content = _read(checkpoint)
    state_dict, choice = tensors_of(content, ema)
    _refuse_fused(state_dict, source)
    try:
        prefix = find_prefix(state_dict, prefix)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None
    layout = f'prefix {prefix!r} taken off' if prefix else 'official layout'
    tensors = to_backbone(state_dict, prefix)
    left_out = [name for name in state_dict if not (name.startswith(prefix) and name[len(prefix) :] in tensors)]
    gate = _check_backbone(model, tensors, gate_of(content, source), source, allow)
    tensors = {name: value for name, value in tensors.items() if _stage(name) <= model.num_stages}

    expected = model.state_dict()
    differing = {n for n in expected.keys() & tensors.keys() if expected[n].shape != tensors[n].shape}
    _check_whole(
        source,
        expected.keys() - tensors,
        tensors.keys() - expected,
        differing,
        allow,
        'Names that may differ go into init_cfg: allow=[...]',
    )
    matching = {name: tensors[name] for name in expected if name in tensors and name not in differing}
    model.load_state_dict(matching, strict=False)
    return _report(len(matching), len(expected), source, (layout, gate, choice), left_out)


def load_model(model: nn.Module, checkpoint: Source, allow: Sequence[str] = (), ema: bool = True) -> str:
    """Load weights into a whole model of any task, or into a bare MogaNet.

    A model with a method ``from_released`` first renames the tensors itself. Official classification weights are
    renamed for mmpretrain's ImageClassifier. Names that the model's own loading hooks change count as fitting.

    Args:
        model: The model, or a wrapper for data-parallel training around it.
        checkpoint: As in ``load_backbone``.
        allow: Patterns (fnmatch) of names that may be missing, left over or of another shape, such as 'head.fc.*'.
        ema: As in ``load_backbone``.

    Returns:
        The line that is logged.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be read or does not fit.
    """
    model = model.get_submodule('module') if is_model_wrapper(model) else model
    if is_backbone(model):
        return load_backbone(model, checkpoint, allow=allow, ema=ema)
    source, content = _read(checkpoint)
    return load_whole(model, source, content, check_patterns(allow), ema)[1]


def load_with_meta(model: nn.Module, checkpoint: str | os.PathLike) -> dict[str, Any]:
    """Load weights as ``load_model`` does and return the metadata of the data set in the file.

    Returns:
        ``classes``, ``palette`` and other keys of MMEngine's ``dataset_meta``, or of the older ``CLASSES`` and
        ``PALETTE``. Empty if the file has none.

    Raises:
        FileNotFoundError, ValueError: as in ``load_model``.
    """
    source, content = _read(checkpoint)
    load_whole(model, source, content, (), ema=True)
    meta = content.get('meta') or {}
    old = {key.lower(): meta[key] for key in ('CLASSES', 'PALETTE') if meta.get(key)}
    return {**old, **{key: value for key, value in (meta.get('dataset_meta') or {}).items() if value is not None}}


def load_for_inference(model: nn.Module, checkpoint: str | os.PathLike) -> list[str] | None:
    """Load weights as ``load_model`` does and return the class names in the file, or None if it has none.

    Raises:
        FileNotFoundError, ValueError: as in ``load_model``.
    """
    classes = load_with_meta(model, checkpoint).get('classes')
    return [str(name) for name in classes] if classes else None


def load_whole(
    model: nn.Module, source: str, checkpoint: Mapping[str, Any], allow: Sequence[str], ema: bool
) -> tuple[StateDict, str]:
    """Load the content of a checkpoint file into a model as ``load_model`` does.

    Args:
        model: The model, without a wrapper.
        source: Path, address or name of the checkpoint, for messages.
        checkpoint: Content of the file.
        allow: As in ``load_model``.
        ema: As in ``load_backbone``.

    Returns:
        The loaded tensors under the model's names, and the line that is logged.

    Raises:
        ValueError: the checkpoint does not fit.
    """
    state_dict, choice = tensors_of(checkpoint, ema)
    expected = model.state_dict()
    _refuse_fused(state_dict, source)
    tensors, notes = _renamed(model, strip_module(state_dict), gate_of(checkpoint, source), source, allow)
    left_out = sorted(name for name in tensors if FLAT_EMA.fullmatch(name) and name not in expected)
    tensors = select(tensors, lambda name: name not in left_out)

    differing = {n for n in expected.keys() & tensors.keys() if expected[n].shape != tensors[n].shape}
    _check_classes(source, {n: (tensors[n].shape, expected[n].shape) for n in differing if not _allowed(n, allow)})
    hint = 'The config and the checkpoint are of different models'
    _check_whole(source, (), (), differing, allow, hint)
    tensors = select(tensors, lambda name: name not in differing)
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{source} does not fit: {" ".join(str(error).split())}') from None
    _check_whole(source, missing, unexpected, (), allow, hint)
    return tensors, _report(len(expected) - len(missing), len(expected), source, (*notes, choice), left_out)


def _renamed(
    model: nn.Module, tensors: StateDict, gate: str | None, source: str, allow: Sequence[str]
) -> tuple[StateDict, tuple[str, ...]]:
    """Return ``tensors`` under the names of ``model``, and notes for the log. Check size and gate of its MogaNets."""
    backbones = {f'{name}.': module for name, module in model.named_modules() if is_backbone(module)}
    notes: tuple[str, ...] = ()
    if isinstance(model, LoadsReleases):
        tensors, note = model.from_released(tensors)
        notes = (note,)
    if backbones and FIRST in tensors:
        if set(backbones) != {BACKBONE} or f'{HEAD_FC}weight' not in model.state_dict():
            raise ValueError(
                f'{source} holds a classifier or a bare backbone (official layout), the model is another: start from '
                "it with model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)"
            )
        tensors, notes = to_mmpretrain(tensors), ('official layout',)
    for prefix, backbone in backbones.items():
        inner = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        notes += (_check_backbone(backbone, inner, gate, source, [a.removeprefix(prefix) for a in allow]),)
    return tensors, notes


def _check_backbone(model: Backbone, tensors: StateDict, gate: str | None, source: str, allow: Sequence[str]) -> str:
    """Compare size, input channels and gate of a backbone's tensors with the model; return a note on the gate."""
    built, stored = _stages(model.state_dict()), _stages(tensors)
    if any(ours != theirs for ours, theirs in zip(built, stored, strict=False)):
        raise ValueError(
            f'{source} holds MogaNet {_size(stored)}, the model is {_size(built)}: set arch to that of the file'
        )
    if FIRST in tensors and not _allowed(FIRST, allow):
        channels, expected = tensors[FIRST].shape[1], model.state_dict()[FIRST].shape[1]
        if channels != expected:
            raise ValueError(
                f'{source} takes {channels} input channels, the model {expected}: set in_channels={channels}, or let '
                f'the first convolution start anew with allow=[{FIRST!r}]'
            )
    if gate is None:
        return f'gate not recorded, taken as {model.gate}'
    if gate != model.gate:
        raise ValueError(
            f"{source} was trained with gate='{gate}', the model has gate='{model.gate}': set gate='{gate}' in the "
            'backbone, else it computes something else'
        )
    return f'gate {gate}'


def _check_classes(source: str, shapes: dict[str, tuple[torch.Size, torch.Size]]) -> None:
    """Raise ValueError if the number of outputs is the only difference; ``shapes`` are the file's and the model's."""
    if not shapes or any(not built or stored[1:] != built[1:] for stored, built in shapes.values()):
        return
    name = min(shapes, key=lambda name: (-len(shapes[name][0]), name))  # a weight rather than its bias
    stored, built = shapes[name]
    raise ValueError(
        f'{source}: {name} has {stored[0]} outputs, the model {built[0]}: another number of classes? Set num_classes '
        "to that of the file, or start from the backbone alone: model.backbone.init_cfg=dict(type='Pretrained', "
        'checkpoint=...)'
    )


def _check_whole(
    source: str,
    missing: Iterable[str],
    unexpected: Iterable[str],
    differing: Iterable[str],
    allow: Sequence[str],
    hint: str,
) -> None:
    """Raise ValueError with all lists, unless ``allow`` matches every name."""
    faults = {'missing': missing, 'left over': unexpected, 'of another shape': differing}
    refused = {fault: sorted(n for n in names if not _allowed(n, allow)) for fault, names in faults.items()}
    if any(refused.values()):
        shown = '; '.join(f'{len(names)} {fault}: {_shortened(names)}' for fault, names in refused.items() if names)
        raise ValueError(f'{source} does not fit the model whole. Tensors {shown}. {hint}')


def _refuse_fused(tensors: StateDict, source: str) -> None:
    """Raise ValueError for weights that ``moganet.fuse`` folded, as folding cannot be undone."""
    if any(name.endswith('.spatial.shortcut') for name in tensors):
        raise ValueError(
            f'{source} holds the weights of a fused model: expected those from before. '
            'These load by moganet.fuse(model).load_state_dict(...)'
        )


def _stages(tensors: StateDict) -> list[tuple[int, int, int]]:
    """Return (width, number of blocks, hidden width) of each stage in ``tensors``, by their shapes."""
    stages = []
    for i in range(1, NUM_STAGES + 1):
        norm, hidden = tensors.get(f'norm{i}.weight'), tensors.get(f'blocks{i}.0.mlp.fc1.weight')
        if norm is None or hidden is None:
            break
        blocks = {name.split('.')[1] for name in tensors if name.startswith(f'blocks{i}.')}
        stages.append((norm.shape[0], len(blocks), hidden.shape[0]))
    return stages


def _size(stages: list[tuple[int, int, int]]) -> str:
    """Return the name of the size that has these stages, with their widths and depths."""
    names = [
        name
        for name, arch in ARCHS.items()
        if all(
            stage == (dim, depth, dim * ratio)
            for stage, dim, depth, ratio in zip(
                stages, arch['embed_dims'], arch['depths'], arch['ffn_ratios'], strict=False
            )
        )
    ]
    widths, depths = (', '.join(str(stage[i]) for stage in stages) for i in (0, 1))
    return f'{" or ".join(names) or "of no named size"} (widths {widths}; blocks {depths})'


def _stage(name: str) -> int:
    """Return the stage of a tensor, 1 to 4, or 0 for a tensor outside the stages."""
    match = BACKBONE_NAME.match(name)
    return int(match[2]) if match else 0


def _allowed(name: str, allow: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in allow)


def check_patterns(allow: Sequence[str]) -> Sequence[str]:
    """Return ``allow`` unchanged.

    Raises:
        ValueError: ``allow`` is a string. Each of its letters would be a pattern, '*' among them.
    """
    if isinstance(allow, str):
        raise ValueError(f'allow={allow!r}: expected a list of patterns')
    return allow


def _shortened(names: Sequence[str]) -> str:
    more = f' and {len(names) - MAX_NAMES} more' if len(names) > MAX_NAMES else ''
    return ', '.join(names[:MAX_NAMES]) + more


def _read(checkpoint: Source) -> tuple[str, Mapping[str, Any]]:
    """Return the name of a checkpoint for messages, and its content."""
    if isinstance(checkpoint, Mapping):
        return 'the checkpoint', checkpoint
    return os.fspath(checkpoint), load_checkpoint(checkpoint)


def _report(loaded: int, expected: int, source: str, notes: Iterable[str], left_out: Sequence[str]) -> str:
    """Log and return a line with the number of tensors loaded and their source."""
    notes = [note for note in notes if note]
    if left_out:
        groups = sorted(
            {FLAT_EMA.sub('ema_*', name) if '.' not in name else f'{name.split(".")[0]}.*' for name in left_out}
        )
        notes.append(f'left out {", ".join(groups)} ({len(left_out)} tensors)')
    line = f'loaded {loaded} of {expected} tensors from {source}' + (f' ({"; ".join(notes)})' if notes else '')
    print_log(line, logger='current')
    return line
