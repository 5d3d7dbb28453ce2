"""Configures Lightning's Trainer, runs the training, and turns its errors into messages.

Lightning provides the loop, the precision and the ranks. Limits, metrics and checkpoints come from `training_loop`.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from agar_pipeline.config import TrainingConfig
from agar_pipeline.detection.loading.devices import Site
from agar_pipeline.detection.training.determinism import explain_refusal
from agar_pipeline.detection.training.out_of_memory import explain_memory, is_out_of_memory
from agar_pipeline.detection.training.training_loop import TrainingLoop
from agar_pipeline.errors import ComputeError, TrainingError
from agar_pipeline.processes.garbage_collection import done_importing
from agar_pipeline.text.plurals import plural


def silence_lightning() -> None:
    """Switch off Lightning's tips and notes; they are about settings that are chosen on purpose here."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*torch.cpu.amp.*")


def build_trainer(config: TrainingConfig, site: Site, loop: TrainingLoop) -> L.Trainer:
    """The Trainer for the ranks that torchrun or Ray started; Lightning starts no further ones."""
    world = site.world
    strategy: Any = "auto"
    if world.size > 1:
        strategy = DDPStrategy(
            process_group_backend="nccl" if site.accelerator == "cuda" else "gloo",
            gradient_as_bucket_view=True,
            broadcast_buffers=False,  # BatchNorm's are equal on all ranks: see `synchronize_batch_norm`
        )
    trainer = L.Trainer(
        accelerator=site.accelerator,
        devices=world.local_size,
        num_nodes=world.size // world.local_size,  # several of Ray's nodes may be one machine
        strategy=strategy,
        # set explicitly, because Lightning would detect others: if mpi4py is installed it starts MPI, which ends the
        # process if it cannot start, and under SLURM it installs signal handlers
        plugins=[TorchElasticEnvironment() if world.size > 1 else LightningEnvironment()],
        precision=site.precision,
        max_epochs=-1,
        gradient_clip_val=config.optimizer.clip_norm,
        logger=False,
        callbacks=[loop],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
    )
    if trainer.world_size != world.size:
        raise ComputeError(
            f"Lightning expects {plural(trainer.world_size, 'process', 'processes')}, but "
            f"{plural(world.size, 'was', 'were')} started",
            next_step="unset the variables of the cluster that Lightning reads, which `agar launch-check` shows",
        )
    return trainer


def fit(trainer: L.Trainer, loop: TrainingLoop, loader: DataLoader, config: TrainingConfig) -> None:
    """Train until a limit is reached.

    Raises:
        TrainingError: out of memory, a loss that is not finite, no step was made, or an operator is not deterministic.
    """
    done_importing()
    try:
        trainer.fit(loop.module, loader)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            if config.trainer.deterministic and (refusal := explain_refusal(error, config.model.name)):
                raise refusal from error
            raise
        raise explain_memory(config, loop.module.batch_names, error) from error
    except TrainingError as error:
        best = loop.validation.best
        if best is None or loop.points is None:
            raise
        kept = f"the best model so far, of epoch {best.epoch}, is kept in {loop.validation.folder / 'best.ckpt'}"
        raise TrainingError(
            f"{error.what}; {kept}", where=error.where, value=error.value, next_step=error.next_step
        ) from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not math.isfinite(loop.module.losses.get("loss", math.nan)):
        raise TrainingError(
            "training ended before its first step", next_step="raise trainer.max_seconds or trainer.max_steps"
        )
