"""Tensor names of released SimVP checkpoints, and their translation to the names of ``SimVP``.

    OpenSTL     enc.enc...., hid.enc.0.block.attn.sigma, dec.readout.weight    SimVP's and OpenSTL's own training
    Lightning   model.enc.enc....                                              OpenSTL from its version 1.0 on

Both may hold ``relative_position_index`` and ``attn_mask``, buffers of timm's older Swin blocks. The index follows from
the window's size; the mask was never used.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor

LIGHTNING = 'model.'
# The scale of MogaNet's feature decomposition, in both branches: a bare parameter in the release.
BARE_SCALE = re.compile(r'(hid\.enc\.\d+\.block\.(?:attn|mlp)\.sigma)')
SWIN_BUFFER = re.compile(r'hid\.enc\.\d+\.block\.(attn\.relative_position_index|attn_mask)')


def from_released(state_dict: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str]:
    """Rename the tensors of a released checkpoint to the names of ``SimVP``.

    Returns:
        The renamed tensors and a description of the changes, empty if the names were those of ``SimVP`` already.
    """
    notes = []
    if state_dict and all(name.startswith(LIGHTNING) for name in state_dict):
        state_dict = OrderedDict((name[len(LIGHTNING) :], value) for name, value in state_dict.items())
        notes.append(f'prefix {LIGHTNING!r} taken off')
    scales = sum(bool(BARE_SCALE.fullmatch(name)) for name in state_dict)
    if scales:
        state_dict = OrderedDict((BARE_SCALE.sub(_scale, name), value) for name, value in state_dict.items())
        notes.append(f'{scales} sigma named sigma.scale')
    buffers = [name for name in state_dict if SWIN_BUFFER.fullmatch(name)]
    if buffers:
        state_dict = OrderedDict((name, value) for name, value in state_dict.items() if name not in buffers)
        notes.append(f'left out {len(buffers)} buffers of windows')
    return state_dict, ', '.join(notes)


def _scale(match: re.Match) -> str:
    """Append '.scale' to a name that ends in 'sigma'; 'sigma.scale' stays."""
    is_bare = match.end() == len(match.string)
    return f'{match[1]}.scale' if is_bare else match[1]
