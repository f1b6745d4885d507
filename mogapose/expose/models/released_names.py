"""What MMHuman3D calls things, and the way to ours: tensors of released checkpoints, keys of configs.

A checkpoint of its hand or face model has backbone.* and head.* as ours has, and beside them

    head.regressor.module.layer_000.*   the same tensors as blocks.0.*, registered twice
    head.*_idxs                         where each part of the parameter vector lies
    body_model_train.*, body_model_test.*   the licensed body models, with all that is in their files
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

ALIAS = re.compile(r'(.*regressor\.module\.)layer_(\d{3})(\..+)')
INDEX = re.compile(r'(?:.*\.)?(\w+)_idxs')
BODY_MODEL = re.compile(r'(body_model_(?:train|test))\..+')
# Parts of the vector, where the index has another name than ours.
RENAMED_PARTS = dict(shape='betas')
# Its layers of body models, by ours and the names of the files in the folder that model_path names.
BODY_MODEL_LAYERS = dict(
    MANOLayer=('MANO', 'MANO_RIGHT'), FLAMELayer=('FLAME', 'FLAME_NEUTRAL'), SMPLXLayer=('SMPLX', 'SMPLX_NEUTRAL')
)


def from_released(state_dict: Mapping[str, Tensor], slices: Mapping[str, slice]) -> tuple[dict[str, Tensor], str]:
    """The tensors under our names, and in words what was left out; as they came if they have these already.

    Args:
        slices: Where each part of the model's parameter vector lies, to compare with the file's.

    Raises:
        ValueError: The file's vector has another order, or its two names of one tensor hold different ones.
    """
    kept, aliases, indices, bodies = {}, 0, 0, {}
    for name, value in state_dict.items():
        if match := ALIAS.fullmatch(name):
            _check_alias(state_dict, name, f'{match[1]}blocks.{int(match[2])}{match[3]}')
            aliases += 1
        # Before the indices: body models have buffers with such names too.
        elif match := BODY_MODEL.fullmatch(name):
            bodies[match[1]] = bodies.get(match[1], 0) + 1
        elif match := INDEX.fullmatch(name):
            _check_index(name, value, slices.get(RENAMED_PARTS.get(match[1], match[1])))
            indices += 1
        else:
            kept[name] = value
    notes = [f'{aliases} second names of layers'] if aliases else []
    notes += [f'{indices} index tables'] if indices else []
    notes += [f'{count} tensors of {body}' for body, count in bodies.items()]
    return kept, f'left out {", ".join(notes)}' if notes else ''


def _check_alias(state_dict: Mapping[str, Tensor], alias: str, name: str) -> None:
    if name not in state_dict or not torch.equal(state_dict[alias], state_dict[name]):
        raise ValueError(f'{alias} is not the same as {name}: expected two names of one tensor, as in MMHuman3D')


def _check_index(name: str, index: Tensor, where: slice | None) -> None:
    expected = None if where is None else torch.arange(where.start, where.stop)
    if expected is None or not torch.equal(index.cpu().flatten().long(), expected):
        lies = 'has no such part' if where is None else f'has that part at {where.start} to {where.stop - 1}'
        raise ValueError(f"{name}: the checkpoint's parameter vector is of another layout; the model's {lies}")


def ported_head(head: Mapping) -> dict:
    """A head's config under our names: ``input_feat_dim`` is ``in_channels``."""
    head = dict(head)
    if 'input_feat_dim' in head:
        head['in_channels'] = head.pop('input_feat_dim')
    return head


def ported_body_model(body_model: Mapping) -> dict:
    """A body model's config under our names: ``MANOLayer`` with a folder is ``MANO`` with a file.

    What is fixed here is dropped: poses are absolute rotations without PCA, FLAME's contour is there, and there is one
    order of joints.
    """
    body_model = dict(body_model)
    if body_model.get('type') not in BODY_MODEL_LAYERS:
        return body_model
    kind, stem = BODY_MODEL_LAYERS[body_model['type']]
    folder = Path(body_model['model_path'])
    files = [folder / f'{stem}{suffix}' for suffix in ('.npz', '.pkl')]
    ported = dict(type=kind, path=str(next((file for file in files if file.is_file()), files[1])))
    if 'num_betas' in body_model:
        ported['num_betas'] = body_model['num_betas']
    if 'num_expression_coeffs' in body_model and kind != 'MANO':
        ported['num_expression'] = body_model['num_expression_coeffs']
    return ported
