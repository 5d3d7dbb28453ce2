"""Builds the data loaders of a training: batches, loader processes, and how many batches are kept ready.

Not here: the images and targets (`dataset`), which items a batch has (`sampling`).
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch.utils.data import DataLoader

from agar_pipeline.detection.loading.dataset import Batch, DetectionDataset, Target
from agar_pipeline.detection.loading.devices import allow_open_files, count_free_memory, keep_freed_memory
from agar_pipeline.detection.loading.sampling import PlainBatches, TrainBatches
from agar_pipeline.processes.devices import count_cores


def collate(items: list[tuple[torch.Tensor, Target]]) -> Batch:
    """Images may differ in shape, so they stay a list; the model pads them."""
    images, targets = zip(*items, strict=True)
    return list(images), list(targets)


def choose_workers(asked: int | None, images: int, ranks: int = 1) -> int:
    """Loader processes per rank: `asked` if given; else 0 for fewer than 64 images or at most 2 cores per rank, else
    one less than the cores per rank, at most 8.
    """
    if asked is not None:
        return asked
    cores = count_cores()
    if images < 64 or cores // ranks <= 2:
        return 0
    return min(8, cores // ranks - 1)


def choose_prefetch(asked: int | None, dataset: DetectionDataset, batch_size: int, num_workers: int) -> int | None:
    """Batches that each loader process keeps ready: `asked` if given; else 1 to 4, as fit into an eighth of the free
    memory.
    """
    if not num_workers:
        return None
    side = dataset.input_size or int(dataset.columns.sizes_wh.max(initial=1))
    if dataset.augment is not None and dataset.augment.windows is not None:
        side = dataset.augment.windows.size
    room = count_free_memory() / 8 / num_workers
    return asked or int(np.clip(room / (3 * side**2 * batch_size), 1, 4))


def _outlive_signals(worker: int) -> None:
    """Put the loader process into its own process group, so that a stop signal to the training's group does not reach
    it.

    A loader that ended at once would make the last training step fail. In its own group it gets signals only from its
    trainer, and it ends within five seconds after the trainer.
    """
    os.setpgrp()


def build_loader(
    dataset: DetectionDataset,
    batches: PlainBatches | TrainBatches,
    num_workers: int,
    *,
    pin_memory: bool = False,
    prefetch: int | None = None,
) -> DataLoader:
    """The data loader for one rank's batches.

    Args:
        batches: Lists of item indices, see `sampling`.
        num_workers: Loader processes of this rank.
        pin_memory: Use page-locked memory, for transfers to a GPU.
        prefetch: Batches that each loader process keeps ready; None: chosen by `choose_prefetch`.
    """
    keep_freed_memory()
    if num_workers:
        allow_open_files()
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        persistent_workers=num_workers > 0,
        multiprocessing_context="fork" if num_workers > 0 else None,
        worker_init_fn=_outlive_signals,
        pin_memory=pin_memory,
        prefetch_factor=choose_prefetch(prefetch, dataset, batches.batch_size, num_workers),
        generator=torch.Generator().manual_seed(dataset.seed),  # the default would draw from the global generator
    )
