"""Checkpoints: published weights by name, safe reading, strict loading, key maps.

published.py  the table of published weights
fetch.py      finds or downloads the file of a name or address
allowed.py    the types beside tensors that a file may hold
safe.py       reads a file without running any code in it
layouts.py    tensor names of the official release, OpenMixup, mmpretrain, mmdet, mmseg and mmpose
gate.py       the gate that weights were trained with
strict.py     loads every tensor into a backbone or a model, or raises an error with the names that do not fit
runner.py     applies both to MMEngine's Runner; importing it registers ``moganet://NAME`` with MMEngine
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
