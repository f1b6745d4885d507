"""Checkpoints: published weights by name, safe reading, strict loading, key maps.

published.py  the table of published weights
fetch.py      from a name or address to a file on this machine
allowed.py    the types beside tensors that a file may hold
safe.py       reads a file without running anything in it
layouts.py    tensor names of the official release, OpenMixup, mmpretrain, mmdet, mmseg and mmpose
strict.py     loads into a backbone or a whole model: whole, or an error that says what does not fit
runner.py     the same for MMEngine's Runner; importing it makes ``moganet://NAME`` known to MMEngine
"""

from .layouts import detect_layout, tensors_of, to_backbone, to_mmpretrain, to_official
from .published import PublishedWeights, find_weights, list_weights
from .safe import load_checkpoint, read_checkpoint, write_checkpoint
from .strict import gate_of, load_backbone, load_for_inference, load_model, load_with_meta

__all__ = [
    'PublishedWeights',
    'detect_layout',
    'find_weights',
    'gate_of',
    'list_weights',
    'load_backbone',
    'load_checkpoint',
    'load_for_inference',
    'load_model',
    'load_with_meta',
    'read_checkpoint',
    'tensors_of',
    'to_backbone',
    'to_mmpretrain',
    'to_official',
    'write_checkpoint',
]
