"""Names of tensors: which layout a checkpoint has, and the way from one to another. Plain functions on state dicts.

    official    patch_embed1...., head.weight                 the official release (timm style)
    mmpretrain  backbone.patch_embed1...., head.fc.weight     mmpretrain, OpenMixup and classifiers trained here
    openmmlab   backbone.patch_embed1...., neck...., ...      detectors, segmentors and pose models of any MM package

A prefix ``module.`` (DistributedDataParallel) is taken off from each of them.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

StateDict = Mapping[str, Tensor]

BACKBONE = 'backbone.'
HEAD, HEAD_FC = 'head.', 'head.fc.'
# The one tensor that every MogaNet has; what stands before it is the prefix of the backbone.
FIRST = 'patch_embed1.projection.0.weight'
BACKBONE_NAME = re.compile(r'(patch_embed|blocks|norm)([1-4])\.')
# OpenMixup's EMA hook leaves buffers with these names. The weights themselves already are the averaged ones.
FLAT_EMA = re.compile(r'ema_\w+')


def tensors_of(checkpoint: Mapping[str, Any], ema: bool = True) -> tuple[StateDict, str]:
    """The state dict inside a checkpoint, and in words which one it is where there is a choice.

    Published numbers of sizes S and larger come from averaged weights, so these are taken where a file has both.
    timm writes them as ``state_dict_ema``; MMEngine as ``state_dict``, and the others as ``ema_state_dict``.

    Args:
        checkpoint: A checkpoint as it was read, or a state dict.
        ema: Averaged weights where there is a choice; False takes the others.

    Raises:
        ValueError: there is no state dict inside.
    """
    parts = {key: checkpoint.get(key) for key in ('state_dict', 'model', 'state_dict_ema', 'ema_state_dict')}
    parts = {key: value for key, value in parts.items() if isinstance(value, Mapping)}
    weights = parts.get('state_dict', parts.get('model'))
    if 'state_dict_ema' in parts and (ema or weights is None):
        return parts['state_dict_ema'], 'EMA weights (state_dict_ema)'
    if weights is not None and 'ema_state_dict' in parts:
        if ema:
            return weights, 'EMA weights (state_dict)'
        raw = select(parts['ema_state_dict'], lambda name: name.startswith('module.'))
        return strip_module(raw), 'not the EMA weights (ema_state_dict)'
    if weights is not None:
        return weights, 'not the EMA weights (state_dict)' if 'state_dict_ema' in parts else ''
    if not any(isinstance(value, Tensor) for value in checkpoint.values()):
        raise ValueError(f'expected a state dict, or a checkpoint with one, got the keys {list(checkpoint)[:8]}')
    return checkpoint, ''


def strip_module(state_dict: StateDict) -> StateDict:
    """``state_dict`` without the prefix 'module.', if every name has it."""
    prefix = 'module.'
    if not all(name.startswith(prefix) for name in state_dict):
        return state_dict
    stripped = OrderedDict((name[len(prefix) :], value) for name, value in state_dict.items())
    # Versions of modules, which their loading hooks ask for.
    metadata = getattr(state_dict, '_metadata', {})
    stripped._metadata = OrderedDict((f'{name}.'[len(prefix) : -1], value) for name, value in metadata.items())
    return stripped


def select(state_dict: StateDict, wanted: Callable[[str], bool]) -> StateDict:
    """The tensors whose names are ``wanted``, with the versions that ``state_dict`` carries."""
    selected = OrderedDict((name, value) for name, value in state_dict.items() if wanted(name))
    if hasattr(state_dict, '_metadata'):
        selected._metadata = state_dict._metadata
    return selected


def detect_layout(state_dict: StateDict) -> str:
    """'official', 'mmpretrain' or 'openmmlab': see the top of this file.

    Raises:
        ValueError: no MogaNet under any of these names.
    """
    state_dict = strip_module(state_dict)
    if FIRST in state_dict:
        return 'official'
    if BACKBONE + FIRST not in state_dict:
        raise ValueError(_no_moganet(state_dict))
    known = all(name.startswith((BACKBONE, HEAD_FC)) or FLAT_EMA.fullmatch(name) for name in state_dict)
    return 'mmpretrain' if known else 'openmmlab'


def to_backbone(state_dict: StateDict, prefix: str | None = None) -> dict[str, Tensor]:
    """The backbone's tensors under its own names.

    Args:
        state_dict: Any that holds one MogaNet, under whatever prefix.
        prefix: What stands before the backbone's names; needed only where a file holds several.

    Raises:
        ValueError: no MogaNet, none under ``prefix``, or several and no ``prefix``.
    """
    prefix = find_prefix(state_dict, prefix)
    inner = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
    return {name: value for name, value in inner.items() if not _is_head(name)}


def find_prefix(state_dict: StateDict, prefix: str | None = None) -> str:
    """What stands before the backbone's names: see ``to_backbone``."""
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
    """A classifier's or bare backbone's tensors under the names of the official release.

    Raises:
        ValueError: no MogaNet, or a whole model of another task.
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
    """A classifier's or bare backbone's tensors under the names of mmpretrain's ImageClassifier.

    Raises:
        ValueError: no MogaNet, or a whole model of another task.
    """
    if _classifier_layout(state_dict) == 'mmpretrain':
        return {name: value for name, value in strip_module(state_dict).items() if not FLAT_EMA.fullmatch(name)}
    return {
        HEAD_FC + name[len(HEAD) :] if _is_head(name) else BACKBONE + name: value
        for name, value in strip_module(state_dict).items()
    }


def _classifier_layout(state_dict: StateDict) -> str:
    layout = detect_layout(state_dict)
    if layout == 'openmmlab':
        others = {n.split('.')[0] for n in strip_module(state_dict) if not n.startswith(BACKBONE)}
        raise ValueError(f'expected a classifier or a backbone, found a model with {", ".join(sorted(others))} too')
    return layout


def _is_head(name: str) -> bool:
    return name in (f'{HEAD}weight', f'{HEAD}bias')


def _no_moganet(state_dict: StateDict) -> str:
    return f'no MogaNet inside: no tensor is named {FIRST}; the first names are {", ".join(list(state_dict)[:4])}'
