"""Checks of video data before anything is built: the files exist, and their clips fit the model."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from moganet.run.preflight import datasets_of, register_check, register_layout

from .datasets import FILES, IN_FRAMES, SOURCES, open_clips, require_file
from .motion import SIDE

LAYOUTS = dict(
    MovingImages=('moving_mnist/train-images-idx3-ubyte.gz', 'moving_fmnist/train-images-idx3-ubyte.gz'),
    StoredClips=('mnist_test_seq.npy', 'fmnist_test_seq.npy'),
)


def check_video(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Check that the files of each loader exist and that the shape of their clips is ``model.in_shape``.

    Args:
        cfg: The config of a run.
        dataloaders: Keys of the loaders to check.

    Raises:
        FileNotFoundError: a file is missing; the message gives its source.
        ValueError: a file cannot be read, or its clips do not fit the model.
    """
    for name, dataset in datasets_of(cfg, dataloaders):
        if dataset.get('type') not in FILES:
            continue
        path = Path(dataset['data_root'], dataset.get('file', FILES[dataset['type']]))
        require_file(path)
        side = (SIDE, SIDE) if dataset['type'] == 'MovingImages' else open_clips(path).shape[2:]
        found = (dataset.get('in_frames', IN_FRAMES), 1, *side)
        expected = tuple(cfg.model.get('in_shape', found))
        if found != expected:
            raise ValueError(
                f'{name}: clips of {path} that the model sees have shape {found} (frames, channels, height, width), '
                f'and model.in_shape is {expected}: set model.in_shape or {name}.dataset.in_frames'
            )


for _type, _names in LAYOUTS.items():
    register_layout(_type, '; or '.join(f'{Path(name).name} ({SOURCES[name]})' for name in _names))
register_check(check_video)
