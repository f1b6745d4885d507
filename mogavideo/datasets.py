"""Moving MNIST and Moving FMNIST from their standard files: training clips generated on the fly, stored test clips."""

import gzip
import zlib
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler

from .motion import SIDE, moving_clip

IMAGES_FILE, CLIPS_FILE = 'train-images-idx3-ubyte.gz', 'mnist_test_seq.npy'
IN_FRAMES, OUT_FRAMES = 10, 10
IMAGE_MAGIC = 0x803  # of an idx file: unsigned bytes in three dimensions


def read_images(path: str | Path) -> np.ndarray:
    """Return the images of a file in MNIST's format idx3-ubyte.gz, (N, height, width) uint8.

    Raises:
        FileNotFoundError: the file does not exist; the message gives its source.
        ValueError: the file is cut off, has another format, or its images do not fit into a frame.
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
    """Return the clips of a test file in npy format, memory-mapped, (frames, clips, height, width) uint8.

    Raises:
        FileNotFoundError: the file does not exist; the message gives its source.
        ValueError: the file is cut off, pickled, no npy file, or has another shape or data type.
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


# Source of each file, by file name, or by folder and file name where two data sets use the same file name.
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
    """Check that a file of a data set exists.

    Raises:
        FileNotFoundError: there is no file at ``path``; the message gives its source if it is a known one.
    """
    if path.is_file():
        return
    source = SOURCES.get(path.name) or SOURCES.get(f'{path.parent.name}/{path.name}')
    hint = f': {source}; put it there' if source else ''
    if path.parts[:2] == ('data', 'mini'):
        hint = ': python tools/make_mini_data.py --task video writes it'
    raise FileNotFoundError(f'{path} does not exist{hint}')


class _Clips(Dataset):
    """Base of the data sets of clips: splits (frames, height, width) into inputs and targets."""

    metainfo: ClassVar[dict[str, Any]] = {}  # MMEngine passes it to the metrics and warns if it is missing

    def __init__(self, data_root: str, file: str, in_frames: int, out_frames: int) -> None:
        if in_frames < 1 or out_frames < 1:
            raise ValueError(f'in_frames={in_frames}, out_frames={out_frames}: expected at least one of each')
        self.path = Path(data_root, file)
        self.in_frames, self.out_frames = in_frames, out_frames

    def _split(self, frames: np.ndarray) -> dict[str, torch.Tensor]:
        clip = torch.from_numpy(frames)[:, None]
        return dict(inputs=clip[: self.in_frames], targets=clip[self.in_frames :])


@DATASETS.register_module()
class MovingImages(_Clips):
    """Clips of two images that move and bounce, generated when they are read.

    A clip depends on its number alone, and any natural number is valid: ``dataset[n]`` is the same in every process.
    ``FreshClips`` draws new numbers in every epoch; MMEngine's samplers repeat the same numbers.

    Args:
        data_root: Folder of the data set.
        file: File of the images, in MNIST's format.
        in_frames: Number of input frames.
        out_frames: Number of frames to predict.
        length: Clips of an epoch.
        indices: Number of clips that replaces ``length``.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be used, see ``read_images``, or a number of frames is below 1.
    """

    def __init__(
        self,
        data_root: str,
        file: str = IMAGES_FILE,
        in_frames: int = IN_FRAMES,
        out_frames: int = OUT_FRAMES,
        length: int = 10000,
        indices: int | None = None,
    ) -> None:
        super().__init__(data_root, file, in_frames, out_frames)
        self.length = length if indices is None else indices
        self.images = read_images(self.path)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Return clip ``number``: ``inputs`` (in_frames, 1, 64, 64) and ``targets`` (out_frames, 1, 64, 64), uint8."""
        random = np.random.default_rng(number)
        return self._split(moving_clip(self.images, self.in_frames + self.out_frames, random))


@DATASETS.register_module()
class StoredClips(_Clips):
    """Clips of an npy file of shape (frames, clips, height, width), uint8, as the standard test sets are stored.

    Args:
        data_root: Folder of the data set.
        file: File of the clips. Frames after the first ``in_frames`` + ``out_frames`` are not used.
        in_frames: Number of input frames.
        out_frames: Number of frames to predict.
        indices: Use the first ``indices`` clips only.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be used, see ``open_clips``, or the clips are too short.
    """

    def __init__(
        self,
        data_root: str,
        file: str = CLIPS_FILE,
        in_frames: int = IN_FRAMES,
        out_frames: int = OUT_FRAMES,
        indices: int | None = None,
    ) -> None:
        super().__init__(data_root, file, in_frames, out_frames)
        self.clips = open_clips(self.path)[: in_frames + out_frames, :indices]
        num_frames, num_clips = self.clips.shape[:2]
        if num_frames < in_frames + out_frames or not num_clips:
            raise ValueError(
                f'{self.path} holds {num_clips} clips of {num_frames} frames: expected clips of at least '
                f'{in_frames} frames that are seen and {out_frames} that are predicted'
            )

    def __len__(self) -> int:
        return self.clips.shape[1]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return clip ``index``: ``inputs`` (in_frames, 1, H, W) and ``targets`` (out_frames, 1, H, W), uint8."""
        return self._split(np.array(self.clips[:, index]))


@DATA_SAMPLERS.register_module()
class FreshClips(Sampler):
    """Sampler of new clip numbers in every epoch: a pure function of seed, epoch and position in the epoch.

    So an epoch has the same clips with any number of loader workers, and again after a resume. MMEngine seeds the
    workers alike in each epoch, so numbers drawn by the workers would repeat in every epoch.

    Args:
        dataset: Data set that makes a clip of any natural number, such as ``MovingImages``.
        seed: Seed of the run; None draws a seed that all processes share.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
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
        """Set the epoch, on which the numbers depend. MMEngine calls this before each epoch."""
        self.epoch = epoch


# Default file of each type of data set.
FILES = {MovingImages.__name__: IMAGES_FILE, StoredClips.__name__: CLIPS_FILE}
