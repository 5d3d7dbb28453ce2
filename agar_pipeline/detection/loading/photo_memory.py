"""A cache of decoded and scaled photos in memory that all loader processes share.

A photo of 12 megapixels takes 30 ms to decode and yields twenty crops per epoch. Here: pixels in anonymous shared
memory, which forked processes inherit and /dev/shm does not limit. Not here: decoding (`load_and_resize`).
"""

from __future__ import annotations

import mmap
import multiprocessing

import numpy as np

from agar_pipeline.detection.loading.devices import count_free_memory
from agar_pipeline.processes.rank import World

MEMORY_SHARE = 0.25
"""Share of the memory that is free when a training starts."""
_BLOCK = 4096
_SHAPE = 3
"""Number of values that describe a photo: offset of its pixels, height, width."""


class PhotoMemory:
    """Row of a photo → its pixels. Photos that do not fit are not kept."""

    def __init__(self, sizes_wh: np.ndarray, room_bytes: int | None = None) -> None:
        """Reserve memory; the system allocates its pages when they are first written.

        Args:
            sizes_wh: (N, 2) sizes of the photos as they will be kept.
            room_bytes: Maximum size; default: `MEMORY_SHARE` of the free memory, divided by the ranks of this machine.
        """
        ranks = World.from_environment().local_size
        room = int(count_free_memory() * MEMORY_SHARE / ranks) if room_bytes is None else room_bytes
        photos, wanted = len(sizes_wh), int(3 * (np.ceil(sizes_wh) + 1).prod(axis=1).sum())
        self._room = min(room, wanted)
        try:
            block = mmap.mmap(-1, max(_BLOCK, self._room))
        except (OSError, ValueError):  # the machine does not overcommit memory
            block, self._room = mmap.mmap(-1, _BLOCK), 0
        self.keeps_all = self._room == wanted
        """Whether all photos fit."""
        self._pixels = np.frombuffer(block, np.uint8)
        table = mmap.mmap(-1, max(_BLOCK, 8 * (1 + photos * _SHAPE)))
        numbers = np.frombuffer(table, np.int64)
        self._used, self._places = numbers[:1], numbers[1 : 1 + photos * _SHAPE].reshape(photos, _SHAPE)
        self._lock = multiprocessing.get_context("fork").Lock()

    def recall(self, row: int) -> np.ndarray | None:
        """(H, W, 3) uint8, read-only; None if the photo is not in the cache."""
        with self._lock:
            start, height, width = self._places[row].tolist()
        if not height:
            return None
        kept = self._pixels[start : start + height * width * 3].reshape(height, width, 3)
        kept.flags.writeable = False
        return kept

    def keep(self, row: int, pixels: np.ndarray) -> None:
        """Add a photo to the cache, unless it is full or another process has added this photo."""
        with self._lock:
            start = int(self._used[0])
            if self._places[row, 1] or start + pixels.size > self._room:
                return
            self._pixels[start : start + pixels.size] = pixels.reshape(-1)
            self._used[0] = start + pixels.size
            self._places[row] = (start, *pixels.shape[:2])
