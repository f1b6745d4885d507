"""Synthetic body models without a licence, with the sizes and the files of MANO, FLAME and SMPL-X.

They serve tests and mini data. Weights that are trained with them are of no use with the licensed models.
"""

from pathlib import Path
from typing import Any

import numpy as np

from moganet.io.files import atomic_directory

from .body import body_arrays
from .hand import hand_arrays
from .head import Head

FILES = dict(mano='mano/MANO_RIGHT.npz', flame='flame/FLAME_NEUTRAL.npz', smplx='smplx/SMPLX_NEUTRAL.npz')
# Decimals of coordinates in metres. Micrometres suffice, and the files compress to half.
DIGITS = 6


def body_model_arrays(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of each file by the names of ``FILES``.

    Args:
        seed: The same seed gives the same numbers.
    """
    hand = hand_arrays(np.random.default_rng((seed, 0)))
    head = Head(np.random.default_rng((seed, 1))).arrays()
    body = body_arrays(hand, head, np.random.default_rng((seed, 2)))
    return dict(mano=hand, flame=head, smplx=body)


def write_body_models(root: str | Path, seed: int = 0) -> str:
    """Write the three files, unless they exist.

    Args:
        root: Folder of the files.
        seed: Seed of the numbers.

    Returns:
        A summary of one line.

    Raises:
        ValueError: The folder exists and holds other files.
    """
    root = Path(root)
    summary = f'{root}: synthetic models with the sizes of MANO, FLAME and SMPL-X'
    if all((root / file).is_file() for file in FILES.values()):
        return summary
    with atomic_directory(root) as partial:
        for name, arrays in body_model_arrays(seed).items():
            path = partial / FILES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            content: dict[str, Any] = {key: _compact(key, array) for key, array in arrays.items()}
            np.savez_compressed(path, **content)
    return summary


def _compact(key: str, array: np.ndarray) -> np.ndarray:
    """Round floating-point numbers and convert them to float32."""
    if array.dtype.kind != 'f':
        return array
    # Rounded weights would no longer sum to one.
    exact = key in ('weights', 'J_regressor') or key.endswith('bary_coords')
    return (array if exact else array.round(DIGITS)).astype(np.float32)
