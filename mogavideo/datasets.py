"""Moving MNIST and Moving FMNIST from their standard files: training clips made on the fly, test clips from a file."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler

from .clips import SIDE, moving

IMAGES_FILE, CLIPS_FILE = 'train-images-idx3-ubyte.gz', 'mnist_test_seq.npy'
IN_FRAMES, OUT_FRAMES = 10, 10
IMAGE_MAGIC = 0x803  # of an idx file: unsigned bytes in three dimensions


def read_images(path: str | Path) -> np.ndarray:
    """The images of a file in MNIST's format idx3-ubyte.gz, (N, height, width) uint8.

    Raises:
        FileNotFoundError: no such file; the message says where to get it.
        ValueError: it is cut off, something else, or its images do not fit into a frame.
    """
    path = Path(path)
    require_file(path)
    try:
        with gzip.open(path) as file:
            magic, *shape = np.frombuffer(file.read(16).ljust(16, b'\0'), '>u4').tolist()
            if magic != IMAGE_MAGIC:
                raise ValueError(
                    f'{path} is no file of images in the format idx3-ubyte.gz: its magic number is '
                    f'{magic}, expected {IMAGE_MAGIC}'
                )
            count, height, width = shape
            if not (count and 0 < height < SIDE and 0 < width < SIDE):
                raise ValueError(
                    f'{path} holds {count} images of {height}x{width} pixels: expected at least one, and '
                    f'images smaller than {SIDE}x{SIDE}, such as the 60000 of 28x28 of MNIST'
                )
            pixels = file.read(count * height * width)
            rest = len(file.read(1))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f'{path} is cut off or no gzip file ({error}): remove it and get it anew') from error
    if len(pixels) != count * height * width or rest:
        raise ValueError(
            f'{path} holds {"more" if rest else "fewer"} pixels than the {count} images of '
            f'{height}x{width} that its header tells of: remove it and get it anew'
        )
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def open_clips(path: str | Path) -> np.ndarray:
    """The clips of an npy file as the test files have them, (frames, clips, height, width) uint8, mapped into memory.

    Raises:
        FileNotFoundError: no such file; the message says where to get it.
        ValueError: it is cut off, pickled, no npy file, or of another shape or type.
    """
    path = Path(path)
    require_file(path)
    try:
        clips = np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f'{path} cannot be read as an npy file, or is cut off or pickled ({error}): remove it and get it anew'
        ) from error
    if clips.ndim != 4 or clips.dtype != np.uint8:
        raise ValueError(
            f'{path} holds {clips.dtype} of shape {clips.shape}: expected uint8 of shape '
            '(frames, clips, height, width), such as (20, 10000, 64, 64)'
        )
    return clips


# Where each file is to be had; of names that two data sets share, by the name of the folder.
SOURCES = {
    'moving_mnist/train-images-idx3-ubyte.gz': (
        'MNIST has it, https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz'
    ),
    'moving_fmnist/train-images-idx3-ubyte.gz': (
        'Fashion-MNIST has it, http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz'
    ),
    'mnist_test_seq.npy': (
        'Moving MNIST has it, http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy'
    ),
    'fmnist_test_seq.npy': (
        'OpenSTL has it packed in '
        'https://github.com/chengtan9907/OpenSTL/releases/download/v0.1.0/fmnist_test_seq.npy.tar'
    ),
}


def require_file(path: Path) -> None:
    """Raise FileNotFoundError, saying where to get it, if there is no file at ``path``."""
    if path.is_file():
        return
    source = SOURCES.get(path.name) or SOURCES.get(f'{path.parent.name}/{path.name}')
    hint = f': {source}; put it there' if source else ''
    if path.parts[:2] == ('data', 'mini'):
        hint = ': python tools/make_mini_data.py --task video writes it'
    raise FileNotFoundError(f'{path} does not exist{hint}')


class _Clips(Dataset):
    """What both kinds of clips share: the split of (frames, height, width) into inputs and targets."""

    metainfo = dict()  # MMEngine hands it to the metrics, and warns where there is none

    def __init__(self, data_root: str, file: str, in_frames: int, out_frames: int):
        if in_frames < 1 or out_frames < 1:
            raise ValueError(f'in_frames={in_frames}, out_frames={out_frames}: expected at least one of each')
        self.path = Path(data_root, file)
        self.in_frames, self.out_frames = in_frames, out_frames

    def _split(self, frames: np.ndarray) -> dict[str, torch.Tensor]:
        clip = torch.from_numpy(frames)[:, None]
        return dict(inputs=clip[: self.in_frames], targets=clip[self.in_frames :])


@DATASETS.register_module()
class MovingImages(_Clips):
    """Clips of two images that move and bounce, made when they are asked for.

    A clip depends on its number alone: ``dataset[n]`` is the same in every process, and any whole number is one.
    ``FreshClips`` asks for other numbers in every epoch; MMEngine's samplers ask for the same ones again.

    Args:
        data_root: Folder of the data set.
        file: The images, in MNIST's format.
        in_frames: Frames that the model sees.
        out_frames: Frames that it has to predict.
        length: Clips of an epoch.
        indices: Use that many instead.

    Raises:
        FileNotFoundError, ValueError: as ``read_images``.
    """

    def __init__(
        self,
        data_root: str,
        file: str = IMAGES_FILE,
        in_frames: int = IN_FRAMES,
        out_frames: int = OUT_FRAMES,
        length: int = 10000,
        indices: int | None = None,
    ):
        super().__init__(data_root, file, in_frames, out_frames)
        self.length = length if indices is None else indices
        self.images = read_images(self.path)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Clip ``number``: inputs (in_frames, 1, 64, 64) and targets (out_frames, 1, 64, 64), uint8."""
        random = np.random.default_rng(number)
        return self._split(moving(self.images, self.in_frames + self.out_frames, random))


@DATASETS.register_module()
class StoredClips(_Clips):
    """Clips out of an npy file of shape (frames, clips, height, width), uint8: the standard test sets.

    Args:
        data_root: Folder of the data set.
        file: The clips. Frames after the first ``in_frames`` + ``out_frames`` are not used.
        in_frames: Frames that the model sees.
        out_frames: Frames that it has to predict.
        indices: Use that many, the first ones.

    Raises:
        FileNotFoundError: as ``open_clips``.
        ValueError: as ``open_clips``, or the clips are too short.
    """

    def __init__(
        self,
        data_root: str,
        file: str = CLIPS_FILE,
        in_frames: int = IN_FRAMES,
        out_frames: int = OUT_FRAMES,
        indices: int | None = None,
    ):
        super().__init__(data_root, file, in_frames, out_frames)
        self.clips = open_clips(self.path)[: in_frames + out_frames, :indices]
        found = self.clips.shape
        if found[0] < in_frames + out_frames or not found[1]:
            raise ValueError(
                f'{self.path} holds {found[1]} clips of {found[0]} frames: expected clips of at least '
                f'{in_frames} frames that are seen and {out_frames} that are predicted'
            )

    def __len__(self) -> int:
        return self.clips.shape[1]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Clip ``index``: inputs (in_frames, 1, H, W) and targets (out_frames, 1, H, W), uint8."""
        return self._split(np.array(self.clips[:, index]))


@DATA_SAMPLERS.register_module()
class FreshClips(Sampler):
    """Numbers of clips that were never asked for before: a pure function of seed, epoch and place in the epoch.

    So an epoch has the same clips with any number of loader workers, and again after a resume. MMEngine seeds the
    workers alike in each epoch: numbers that they drew themselves would be the same ones in every epoch.

    Args:
        dataset: One that makes a clip out of any whole number, such as ``MovingImages``.
        seed: Of the run; None draws one that all processes share.
    """

    def __init__(self, dataset: Dataset, seed: int | None = None):
        self.rank, self.world_size = get_dist_info()
        self.length = -(-len(dataset) // self.world_size)  # of each process
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        numbers = np.random.SeedSequence((self.seed, self.epoch)).generate_state(
            self.length * self.world_size, np.uint64
        )
        return iter(numbers[self.rank :: self.world_size].tolist())

    def set_epoch(self, epoch: int) -> None:
        """MMEngine calls this before each epoch."""
        self.epoch = epoch


# What a data set of each type reads unless its config names another file.
FILES = {MovingImages.__name__: IMAGES_FILE, StoredClips.__name__: CLIPS_FILE}
