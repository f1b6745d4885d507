"""Map MMHuman3D's names to ours: tensors of released checkpoints and keys of configs.

A checkpoint of MMHuman3D's hand or face model has backbone.* and head.* under our names. It also has

    head.regressor.module.layer_000.*       the same tensors as blocks.0.*, registered twice
    head.*_idxs                             the indices of each part of the parameter vector
    body_model_train.*, body_model_test.*   the licensed body models with all arrays of their files
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

ALIAS = re.compile(r'(.*regressor\.module\.)layer_(\d{3})(\..+)')
INDEX = re.compile(r'(?:.*\.)?(\w+)_idxs')
BODY_MODEL = re.compile(r'(body_model_(?:train|test))\..+')
# Parts of the parameter vector that MMHuman3D names differently: its name, ours.
RENAMED_PARTS = dict(shape='betas')
# MMHuman3D's layers of body models: our type, and the stem of the file in the folder that model_path names.
BODY_MODEL_LAYERS = dict(
    MANOLayer=('MANO', 'MANO_RIGHT'), FLAMELayer=('FLAME', 'FLAME_NEUTRAL'), SMPLXLayer=('SMPLX', 'SMPLX_NEUTRAL')
)


def from_released(state_dict: Mapping[str, Tensor], slices: Mapping[str, slice]) -> tuple[dict[str, Tensor], str]:
    """Rename the tensors of a released checkpoint and drop those that our models do not have.

    Tensors that have our names already are returned unchanged.

    Args:
        state_dict: The checkpoint's tensors by name.
        slices: The range of each part in the model's parameter vector, to compare with the checkpoint's index tables.

    Returns:
        The tensors under our names, and a sentence that says how many were dropped, empty if none.

    Raises:
        ValueError: The checkpoint's parameter vector has another order, or the two names of one tensor hold different
            values.
    """
    renamed: dict[str, Tensor] = {}
    aliases, indices = 0, 0
    bodies: Counter[str] = Counter()
    for name, value in state_dict.items():
        if match := ALIAS.fullmatch(name):
            _check_alias(state_dict, name, f'{match[1]}blocks.{int(match[2])}{match[3]}')
            aliases += 1
        # Checked before the index tables: body models have buffers with such names too.
        elif match := BODY_MODEL.fullmatch(name):
            bodies[match[1]] += 1
        elif match := INDEX.fullmatch(name):
            _check_index(name, value, slices.get(RENAMED_PARTS.get(match[1], match[1])))
            indices += 1
        else:
            renamed[name] = value
    notes = [f'{aliases} second names of layers'] if aliases else []
    notes += [f'{indices} index tables'] if indices else []
    notes += [f'{count} tensors of {body}' for body, count in bodies.items()]
    return renamed, f'left out {", ".join(notes)}' if notes else ''


def _check_alias(state_dict: Mapping[str, Tensor], alias: str, name: str) -> None:
    if name not in state_dict or not torch.equal(state_dict[alias], state_dict[name]):
        raise ValueError(f'{alias} is not the same as {name}: expected two names of one tensor, as in MMHuman3D')


def _check_index(name: str, index: Tensor, part: slice | None) -> None:
    expected = None if part is None else torch.arange(part.start, part.stop)
    if expected is None or not torch.equal(index.cpu().flatten().long(), expected):
        place = 'has no such part' if part is None else f'has that part at {part.start} to {part.stop - 1}'
        raise ValueError(f"{name}: the checkpoint's parameter vector is of another layout; the model's {place}")


def ported_head(head: Mapping) -> dict:
    """Return a head's config under our names: ``input_feat_dim`` becomes ``in_channels``.

    Args:
        head: The config of the head, ours or MMHuman3D's. It is not changed.
    """
    head = dict(head)
    if 'input_feat_dim' in head:
        head['in_channels'] = head.pop('input_feat_dim')
    return head


def ported_body_model(body_model: Mapping) -> dict:
    """Return a body model's config under our names: ``MANOLayer`` with a folder becomes ``MANO`` with a file.

    Options of MMHuman3D that have one value in our code are dropped: poses are absolute rotations without PCA, FLAME
    always has its contour, and each model has one order of joints.

    Args:
        body_model: The config of the body model, ours or MMHuman3D's. It is not changed.
    """
    body_model = dict(body_model)
    if body_model.get('type') not in BODY_MODEL_LAYERS:
        return body_model
    layer, stem = BODY_MODEL_LAYERS[body_model['type']]
    folder = Path(body_model['model_path'])
    files = [folder / f'{stem}{suffix}' for suffix in ('.npz', '.pkl')]
    ported = dict(type=layer, path=str(next((file for file in files if file.is_file()), files[1])))
    if 'num_betas' in body_model:
        ported['num_betas'] = body_model['num_betas']
    if 'num_expression_coeffs' in body_model and layer != 'MANO':
        ported['num_expression'] = body_model['num_expression_coeffs']
    return ported
