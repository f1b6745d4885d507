"""Runs MMHuman3D's ExPose on fixed inputs and writes inputs and outputs to FOLDER/out.npz for the comparison.

    PYTHONPATH=.mmhuman3d python tests/legacy_mmhuman3d/dump.py BODY_MODELS FOLDER

It reads our HumanData files in FOLDER/preprocessed_datasets and writes them again to FOLDER/rewritten.
"""

import sys
import tempfile
from pathlib import Path

import legacy  # noqa: F401  first: what MMHuman3D needs to run here
import networks
import numpy as np
import parts


def main(body_models: str, folder: str) -> None:
    with tempfile.TemporaryDirectory() as models:
        networks.lay_out_body_models(Path(body_models), Path(models))
        arrays = networks.heads() | networks.estimators(Path(models)) | networks.pretrained(Path(models))
    np.savez(Path(folder, 'out.npz'), **arrays, **parts.everything(Path(folder)))


if __name__ == '__main__':
    main(*sys.argv[1:])
