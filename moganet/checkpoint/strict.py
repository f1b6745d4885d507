"""Loads weights into a backbone or a whole model: all of them, or an error that says what does not fit."""

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
SHOWN = 5  # names in a list of an error


def is_backbone(module: nn.Module) -> bool:
    """Return whether ``module`` is a MogaNet. The registry knows the class; its file imports this one."""
    return isinstance(module, MODELS.get('MogaNet'))


def load_backbone(
    model: nn.Module, checkpoint: Source, prefix: str | None = None, allow: Sequence[str] = (), ema: bool = True
) -> str:
    """Load weights into a MogaNet. A head or whatever else the file holds is left out; later stages too, if not built.

    Args:
        model: The MogaNet.
        checkpoint: A path, an http(s) address, ``moganet://NAME``, or what such a file holds.
        prefix: What stands before the backbone's names; found without, unless the file holds several MogaNets.
        allow: Patterns (fnmatch) of the backbone's own names that may be missing, left over or of another shape.
        ema: Take averaged weights where the file has both.

    Returns:
        The line that is logged: how many tensors of the model were loaded from where.

    Raises:
        FileNotFoundError, ValueError: no such file, not readable, or it does not fit.
    """
    allow = check_patterns(allow)
    source, checkpoint = _read(checkpoint)
    state_dict, which = tensors_of(checkpoint, ema)
    _refuse_fused(state_dict, source)
    try:
        prefix = find_prefix(state_dict, prefix)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from None
    layout = f'prefix {prefix!r} taken off' if prefix else 'official layout'
    tensors = to_backbone(state_dict, prefix)
    left_out = [name for name in state_dict if not (name.startswith(prefix) and name[len(prefix) :] in tensors)]
    gate = _check_backbone(model, tensors, gate_of(checkpoint, source), source, allow)
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
    return _report(len(matching), len(expected), source, (layout, gate, which), left_out)


def load_model(model: nn.Module, checkpoint: Source, allow: Sequence[str] = (), ema: bool = True) -> str:
    """Load weights into a whole model of any task, or a bare MogaNet.

    Official classification weights are renamed for mmpretrain's ImageClassifier. A model with a method
    ``from_released``, which takes a state dict and returns it under its own names with a word for the log, is asked
    first. What the model's own loading hooks rename counts as fitting.

    Args:
        model: The model; a wrapper for data-parallel training is looked through.
        checkpoint: As in ``load_backbone``.
        allow: Patterns (fnmatch) of names that may be missing, left over or of another shape, such as 'head.fc.*'.
        ema: As in ``load_backbone``.

    Returns:
        The line that is logged.

    Raises:
        FileNotFoundError, ValueError: no such file, not readable, or it does not fit.
    """
    model = model.module if is_model_wrapper(model) else model
    if is_backbone(model):
        return load_backbone(model, checkpoint, allow=allow, ema=ema)
    source, checkpoint = _read(checkpoint)
    return load_whole(model, source, checkpoint, check_patterns(allow), ema)[1]


def load_with_meta(model: nn.Module, checkpoint: str | os.PathLike) -> dict[str, Any]:
    """Load weights as ``load_model`` does and return what the file tells of its data: ``classes``, ``palette``, ..."""
    source, content = _read(checkpoint)
    load_whole(model, source, content, (), ema=True)
    meta = content.get('meta') or {}
    old = {key.lower(): meta[key] for key in ('CLASSES', 'PALETTE') if meta.get(key)}
    return {**old, **{key: value for key, value in (meta.get('dataset_meta') or {}).items() if value is not None}}


def load_for_inference(model: nn.Module, checkpoint: str | os.PathLike) -> list[str] | None:
    """Load weights as ``load_model`` does and return the class names that the file records, None if it has none."""
    classes = load_with_meta(model, checkpoint).get('classes')
    return [str(name) for name in classes] if classes else None


def load_whole(
    model: nn.Module, source: str, checkpoint: Mapping[str, Any], allow: Sequence[str], ema: bool
) -> tuple[StateDict, str]:
    """``load_model`` for what was read from ``source``. Returns the tensors under the model's names, and the line."""
    state_dict, which = tensors_of(checkpoint, ema)
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
    return tensors, _report(len(expected) - len(missing), len(expected), source, (*notes, which), left_out)


def _renamed(
    model: nn.Module, tensors: StateDict, gate: str | None, source: str, allow: Sequence[str]
) -> tuple[StateDict, tuple[str, ...]]:
    """``tensors`` under the names of ``model``, and words for the log. Checks size and gate of its MogaNets."""
    backbones = {f'{name}.': part for name, part in model.named_modules() if is_backbone(part)}
    notes = ()
    if hasattr(model, 'from_released'):
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


def _check_backbone(model: nn.Module, tensors: StateDict, gate: str | None, source: str, allow: Sequence[str]) -> str:
    """Compare size, input channels and gate of a backbone's tensors with the model; return words on the gate."""
    ours, theirs = (_stages(state) for state in (model.state_dict(), tensors))
    if any(mine != other for mine, other in zip(ours, theirs, strict=False)):
        raise ValueError(
            f'{source} holds MogaNet {_size(theirs)}, the model is {_size(ours)}: set arch to that of the file'
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
    """Raise ValueError where all that differs is the number of outputs; ``shapes`` are (file's, model's)."""
    if not shapes or any(not ours or theirs[1:] != ours[1:] for theirs, ours in shapes.values()):
        return
    name = min(shapes, key=lambda name: (-len(shapes[name][0]), name))  # a weight rather than its bias
    theirs, ours = shapes[name]
    raise ValueError(
        f'{source}: {name} has {theirs[0]} outputs, the model {ours[0]}: another number of classes? Set num_classes to '
        "that of the file, or start from the backbone alone: model.backbone.init_cfg=dict(type='Pretrained', "
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
    """Raise ValueError with all lists, unless each name is allowed."""
    lists = {'missing': missing, 'left over': unexpected, 'of another shape': differing}
    lists = {what: sorted(n for n in names if not _allowed(n, allow)) for what, names in lists.items()}
    if any(lists.values()):
        shown = '; '.join(f'{len(names)} {what}: {_shortened(names)}' for what, names in lists.items() if names)
        raise ValueError(f'{source} does not fit the model whole. Tensors {shown}. {hint}')


def _refuse_fused(tensors: StateDict, source: str) -> None:
    """Raise ValueError for weights that ``moganet.fuse`` folded: those before cannot be had of them."""
    if any(name.endswith('.spatial.shortcut') for name in tensors):
        raise ValueError(
            f'{source} holds the weights of a fused model: expected those from before. '
            'These load by moganet.fuse(model).load_state_dict(...)'
        )


def _stages(tensors: StateDict) -> list[tuple[int, int, int]]:
    """(width, blocks, hidden width) of each stage that ``tensors`` holds, by their shapes."""
    stages = []
    for i in range(1, NUM_STAGES + 1):
        norm, hidden = tensors.get(f'norm{i}.weight'), tensors.get(f'blocks{i}.0.mlp.fc1.weight')
        if norm is None or hidden is None:
            break
        blocks = {name.split('.')[1] for name in tensors if name.startswith(f'blocks{i}.')}
        stages.append((norm.shape[0], len(blocks), hidden.shape[0]))
    return stages


def _size(stages: list[tuple[int, int, int]]) -> str:
    """What a list of stages is called, with its numbers."""
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
    match = BACKBONE_NAME.match(name)
    return int(match[2]) if match else 0


def _allowed(name: str, allow: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in allow)


def check_patterns(allow: Sequence[str]) -> Sequence[str]:
    if isinstance(allow, str):  # its letters would be patterns, '*' among them
        raise ValueError(f'allow={allow!r}: expected a list of patterns')
    return allow


def _shortened(names: Sequence[str]) -> str:
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def _read(checkpoint: Source) -> tuple[str, Mapping[str, Any]]:
    """(what to call it, what it holds)."""
    if isinstance(checkpoint, Mapping):
        return 'the checkpoint', checkpoint
    return os.fspath(checkpoint), load_checkpoint(checkpoint)


def _report(loaded: int, expected: int, source: str, notes: Iterable[str], left_out: Sequence[str]) -> str:
    """Log, and return, how many tensors were loaded from where."""
    notes = [note for note in notes if note]
    if left_out:
        parts = sorted(
            {FLAT_EMA.sub('ema_*', name) if '.' not in name else f'{name.split(".")[0]}.*' for name in left_out}
        )
        notes.append(f'left out {", ".join(parts)} ({len(left_out)} tensors)')
    line = f'loaded {loaded} of {expected} tensors from {source}' + (f' ({"; ".join(notes)})' if notes else '')
    print_log(line, logger='current')
    return line
