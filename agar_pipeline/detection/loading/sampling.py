"""Which images form which batch; this depends only on seed and epoch, not on ranks or interruptions.

Here: indices. Not here: loading the images (`dataset`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TrainBatches(Sampler[list[int]]):
    """One rank's share of each global batch of an epoch.

    All ranks together get the global batches that a single process would get, each image once per epoch. An epoch is
    divided into batches whose sizes differ by one image at most, so that no last batch is very small. If a batch has
    fewer images than there are ranks, its images are repeated until each rank has one.
    """

    def __init__(self, size: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """`batch_size` is the global batch size, and an upper limit: see `count_batches`."""
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.start = 0
        """Batches of this epoch that were trained on before an interruption."""

    def __len__(self) -> int:
        return count_batches(self.size, self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        for batch in np.array_split(order, len(self))[self.start :]:
            if len(batch) < self.world_size:
                batch = np.resize(batch, self.world_size)
            yield batch[self.rank :: self.world_size].tolist()


def count_batches(size: int, batch_size: int) -> int:
    """Number of steps in an epoch.

    >>> count_batches(10, 4)
    3
    """
    return max(1, -(-size // batch_size))


class PlainBatches(Sampler[list[int]]):
    """One rank's share of all images, in their order. No image is repeated to make the shares equal."""

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        """`batch_size` is the batch size of this rank."""
        self.share = range(rank, size, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.share) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.share), self.batch_size):
            yield list(self.share[start : start + self.batch_size])
