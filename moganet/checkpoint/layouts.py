"""Layouts of tensor names: functions on state dicts that detect a layout and convert one into another.

    official    patch_embed1...., head.weight                 the official release (timm style)
    mmpretrain  backbone.patch_embed1...., head.fc.weight     mmpretrain, OpenMixup and classifiers trained here
    openmmlab   backbone.patch_embed1...., neck...., ...      detectors, segmentors and pose models of any MM package

A prefix ``module.`` (DistributedDataParallel) is removed from each of them.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..compat import module_versions, set_module_versions

StateDict = Mapping[str, Tensor]

BACKBONE = 'backbone.'
HEAD, HEAD_FC = 'head.', 'head.fc.'
# Every MogaNet has this tensor. In a whole model, the prefix of the backbone stands before it.
FIRST = 'patch_embed1.projection.0.weight'
BACKBONE_NAME = re.compile(r'(patch_embed|blocks|norm)([1-4])\.')
# Buffers of OpenMixup's EMA hook. The other tensors of such a file are the averaged weights already.
FLAT_EMA = re.compile(r'ema_\w+')


def tensors_of(checkpoint: Mapping[str, Any], ema: bool = True) -> tuple[StateDict, str]:
    """Return the state dict inside a checkpoint, and a note for the log that says which one of two was taken.

    Published numbers of sizes S and larger come from averaged weights (EMA), so these are preferred. timm writes them
    as ``state_dict_ema`` beside ``state_dict``. MMEngine writes them as ``state_dict`` beside ``ema_state_dict``, which
    holds the weights that are not averaged.

    Args:
        checkpoint: Content of a checkpoint file, or a state dict.
        ema: Prefer the averaged weights where a file has both; False prefers the others.

    Returns:
        The state dict, and the note, which is empty if there was no choice.

    Raises:
        ValueError: the checkpoint holds no state dict.
    """
    state_dicts: dict[str, StateDict] = {}
    for key in ('state_dict', 'model', 'state_dict_ema', 'ema_state_dict'):
        value = checkpoint.get(key)
        if isinstance(value, Mapping):
            state_dicts[key] = value
    weights = state_dicts.get('state_dict', state_dicts.get('model'))
    if 'state_dict_ema' in state_dicts and (ema or weights is None):
        return state_dicts['state_dict_ema'], 'EMA weights (state_dict_ema)'
    if weights is not None and 'ema_state_dict' in state_dicts:
        if ema:
            return weights, 'EMA weights (state_dict)'
        raw = select(state_dicts['ema_state_dict'], lambda name: name.startswith('module.'))
        return strip_module(raw), 'not the EMA weights (ema_state_dict)'
    if weights is not None:
        return weights, 'not the EMA weights (state_dict)' if 'state_dict_ema' in state_dicts else ''
    if not any(isinstance(value, Tensor) for value in checkpoint.values()):
        raise ValueError(f'expected a state dict, or a checkpoint with one, got the keys {list(checkpoint)[:8]}')
    return checkpoint, ''


def strip_module(state_dict: StateDict) -> StateDict:
    """Return ``state_dict`` without the prefix 'module.', unless a name lacks it."""
    prefix = 'module.'
    if not all(name.startswith(prefix) for name in state_dict):
        return state_dict
    stripped = OrderedDict((name[len(prefix) :], value) for name, value in state_dict.items())
    # The loading hooks of modules ask for these versions.
    versions = module_versions(state_dict) or {}
    set_module_versions(stripped, {f'{name}.'[len(prefix) : -1]: value for name, value in versions.items()})
    return stripped


def select(state_dict: StateDict, wanted: Callable[[str], bool]) -> StateDict:
    """Return the tensors whose names are ``wanted``, with the module versions of ``state_dict``."""
    selected = OrderedDict((name, value) for name, value in state_dict.items() if wanted(name))
    versions = module_versions(state_dict)
    if versions is not None:
        set_module_versions(selected, versions)
    return selected


def detect_layout(state_dict: StateDict) -> str:
    """Return the layout of a state dict, 'official', 'mmpretrain' or 'openmmlab': see the top of this file.

    Raises:
        ValueError: the state dict holds no MogaNet in any of these layouts.
    """
    state_dict = strip_module(state_dict)
    if FIRST in state_dict:
        return 'official'
    if BACKBONE + FIRST not in state_dict:
        raise ValueError(_no_moganet(state_dict))
    known = all(name.startswith((BACKBONE, HEAD_FC)) or FLAT_EMA.fullmatch(name) for name in state_dict)
    return 'mmpretrain' if known else 'openmmlab'


def to_backbone(state_dict: StateDict, prefix: str | None = None) -> dict[str, Tensor]:
    """Return the backbone's tensors under the names that ``MogaNet`` has for them.

    Args:
        state_dict: A state dict with a MogaNet under any prefix.
        prefix: Prefix of the backbone's names. Only a file with several MogaNets needs it.

    Raises:
        ValueError: there is no MogaNet, none under ``prefix``, or several and no ``prefix``.
    """
    prefix = find_prefix(state_dict, prefix)
    inner = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
    return {name: value for name, value in inner.items() if not _is_head(name)}


def find_prefix(state_dict: StateDict, prefix: str | None = None) -> str:
    """Return the prefix of the backbone's names, with a dot at the end if it is not empty.

    Args:
        state_dict: As in ``to_backbone``.
        prefix: The prefix to check, with or without the dot; None looks for it.

    Raises:
        ValueError: there is no MogaNet, none under ``prefix``, or several and no ``prefix``.
    """
    found = [name[: -len(FIRST)] for name in state_dict if name == FIRST or name.endswith(f'.{FIRST}')]
    if prefix is not None:
        prefix = f'{prefix.rstrip(".")}.' if prefix else ''
        if prefix not in found:
            raise ValueError(
                f'no MogaNet under prefix={prefix!r}, but under {found}' if found else _no_moganet(state_dict)
            )
        return prefix
    if not found:
        raise ValueError(_no_moganet(state_dict))
    if len(found) > 1:
        raise ValueError(f'MogaNets under the prefixes {found}: choose one with prefix=')
    return found[0]


def to_official(state_dict: StateDict) -> dict[str, Tensor]:
    """Return the tensors of a classifier or a bare backbone under the names of the official release.

    Raises:
        ValueError: there is no MogaNet, or the state dict is of a model of another task.
    """
    if _classifier_layout(state_dict) == 'official':
        return dict(strip_module(state_dict))
    renamed = {}
    for name, value in strip_module(state_dict).items():
        if name.startswith(BACKBONE):
            renamed[name[len(BACKBONE) :]] = value
        elif name.startswith(HEAD_FC):
            renamed[HEAD + name[len(HEAD_FC) :]] = value
    return renamed


def to_mmpretrain(state_dict: StateDict) -> dict[str, Tensor]:
    """Return the tensors of a classifier or a bare backbone under the names of mmpretrain's ImageClassifier.

    Raises:
        ValueError: there is no MogaNet, or the state dict is of a model of another task.
    """
    if _classifier_layout(state_dict) == 'mmpretrain':
        return {name: value for name, value in strip_module(state_dict).items() if not FLAT_EMA.fullmatch(name)}
    return {
        HEAD_FC + name[len(HEAD) :] if _is_head(name) else BACKBONE + name: value
        for name, value in strip_module(state_dict).items()
    }


def _classifier_layout(state_dict: StateDict) -> str:
    """Return the layout of a classifier or a bare backbone; raise ValueError for any other model."""
    layout = detect_layout(state_dict)
    if layout == 'openmmlab':
        others = {n.split('.')[0] for n in strip_module(state_dict) if not n.startswith(BACKBONE)}
        raise ValueError(f'expected a classifier or a backbone, found a model with {", ".join(sorted(others))} too')
    return layout


def _is_head(name: str) -> bool:
    return name in (f'{HEAD}weight', f'{HEAD}bias')


def _no_moganet(state_dict: StateDict) -> str:
    return f'no MogaNet inside: no tensor is named {FIRST}; the first names are {", ".join(list(state_dict)[:4])}'
