"""Memory of the CPU backends: images that a cache holds at once, and maps that the process keeps for the next layer."""

import functools
from collections.abc import Iterator

import torch
from torch import Tensor

# Bytes of maps that a thread works on at once: they stay in the cache.
CACHE_BYTES = 4 << 20
# Maps of C channels that a spatial branch works on at once.
SPATIAL_MAPS = 6


def images_at_once(maps: Tensor, width: int) -> int:
    """Return how many images of (B, H, W, C), one or more, have maps of ``width`` channels that fit into the cache."""
    size = maps.shape[1] * maps.shape[2] * width * maps.element_size()
    return max(1, CACHE_BYTES * torch.get_num_threads() // size)


def chunks(maps: Tensor, width: int) -> Iterator[slice]:
    """Yield slices of the batch, each of as many images as ``images_at_once`` says."""
    step = images_at_once(maps, width)
    return (slice(i, i + step) for i in range(0, len(maps), step))


def empty_map(like: Tensor) -> Tensor:
    """Return a map to write into, in memory that is likely to be mapped already: see ``raise_malloc_thresholds``."""
    raise_malloc_thresholds()
    return torch.empty_like(like)


@functools.cache
def raise_malloc_thresholds() -> None:
    """Raise glibc's malloc thresholds, for the whole process: up to 64 MB of freed memory then stay mapped.

    Freeing a block that malloc had mapped sets M_MMAP_THRESHOLD to the size of the block, if it is below 32 MB, and
    M_TRIM_THRESHOLD to twice that size. Below the thresholds, each layer of a network would return its pages to the
    system and get them back zeroed, which can take as long as the computation. The block allocated here is never
    written, so that it costs no memory.
    """
    torch.empty((32 << 20) - (1 << 16), dtype=torch.uint8)
