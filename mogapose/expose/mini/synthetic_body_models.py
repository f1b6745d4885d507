"""Body models that anybody may have: made up, but with the sizes and the files of MANO, FLAME and SMPL-X.

For tests and for the mini data. What is learned on them is of no use with the licensed models.
"""

from pathlib import Path

import numpy as np

from moganet.io.files import atomic_directory

from .body import body
from .hand import hand
from .head import Head

FILES = dict(mano='mano/MANO_RIGHT.npz', flame='flame/FLAME_NEUTRAL.npz', smplx='smplx/SMPLX_NEUTRAL.npz')
# Micrometres: nobody sees less, and the files compress to half.
DIGITS = 6


def body_model_arrays(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of each file, by the names of ``FILES``; the same numbers for the same seed."""
    hand_arrays = hand(np.random.default_rng((seed, 0)))
    head_arrays = Head(np.random.default_rng((seed, 1))).arrays()
    body_arrays = body(hand_arrays, head_arrays, np.random.default_rng((seed, 2)))
    return dict(mano=hand_arrays, flame=head_arrays, smplx=body_arrays)


def write_body_models(root: str | Path, seed: int = 0) -> str:
    """Write the three files under ``root``, nothing if they are there. Returns a summary."""
    root = Path(root)
    summary = f'{root}: synthetic models with the sizes of MANO, FLAME and SMPL-X'
    if all((root / file).is_file() for file in FILES.values()):
        return summary
    with atomic_directory(root) as partial:
        for name, arrays in body_model_arrays(seed).items():
            path = partial / FILES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **{key: _compact(key, array) for key, array in arrays.items()})
    return summary


def _compact(key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != 'f':
        return array
    # Weights that are rounded no longer sum to one.
    exact = key in ('weights', 'J_regressor') or key.endswith('bary_coords')
    return (array if exact else array.round(DIGITS)).astype(np.float32)
