"""Which images make which batch: seed and epoch alone decide, whatever the number of ranks and wherever it goes on.

Here: indices. Not here: loading them (`dataset`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TrainBatches(Sampler[list[int]]):
    """One rank's share of each global batch of an epoch.

    All ranks together see the global batches that a single process would see, each image once an epoch: an epoch is
    cut into batches that differ by one image at most, so that no last one is tiny. Where a batch has fewer images than
    there are ranks (one image a rank, or a set smaller than the ranks), it is filled up with its own.
    """

    def __init__(self, size: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        """`batch_size` is global, and the largest there is."""
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.start = 0
        """Batches of this epoch that were trained on before it was interrupted."""

    def __len__(self) -> int:
        return count_batches(self.size, self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        for batch in np.array_split(order, len(self))[self.start :]:
            if len(batch) < self.world_size:
                batch = np.resize(batch, self.world_size)
            yield batch[self.rank :: self.world_size].tolist()


def count_batches(size: int, batch_size: int) -> int:
    """Steps of an epoch."""
    return max(1, -(-size // batch_size))


class PlainBatches(Sampler[list[int]]):
    """One rank's share of all images, in their order; none is repeated to even the shares out."""

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        """`batch_size` is this rank's own."""
        self.share = range(rank, size, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.share) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.share), self.batch_size):
            yield list(self.share[start : start + self.batch_size])
