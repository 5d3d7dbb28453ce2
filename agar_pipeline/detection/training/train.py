"""Trains a detector from COCO columns to checkpoints: data, model and bookkeeping are assembled here.

Here: assembly, for one process or for one of several ranks. Not here: the order of events in a training
(`training_loop`), Lightning's Trainer (`lightning_trainer`), starting ranks (`launch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import TrainingConfig
from agar_pipeline.detection.fitting.data_choice import say_choice, say_limit
from agar_pipeline.detection.fitting.model_fitting import fit_config, fit_spec, warn_of_seams
from agar_pipeline.detection.loading.data_loader import build_loader, choose_workers
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.detection.loading.devices import Site, threads_restored
from agar_pipeline.detection.loading.sampling import PlainBatches, TrainBatches
from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.checkpoint import CheckpointFacts
from agar_pipeline.detection.models.detector import Detector, build_detector
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.weight_averaging import WeightAverage
from agar_pipeline.detection.training.determinism import determinism, warn_of_chance
from agar_pipeline.detection.training.lightning_module import DetectorModule
from agar_pipeline.detection.training.lightning_trainer import build_trainer, fit, silence_lightning
from agar_pipeline.detection.training.resume import ResumePoints
from agar_pipeline.detection.training.schedule import Progress
from agar_pipeline.detection.training.tracking import MetricsLog, show_metrics, take_events
from agar_pipeline.detection.training.training_loop import TrainingLoop
from agar_pipeline.detection.training.validation import Validation
from agar_pipeline.errors import TrainingError
from agar_pipeline.files.disk import link_or_copy
from agar_pipeline.processes.rank import World
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural


@dataclass(frozen=True)
class TrainingOutcome:
    """The outcome of a training; the checkpoints and `metrics.csv` are on disk."""

    detector: Detector
    """The detector after the last step, or with its averaged weights if the config asks for an average."""
    spec: DetectorSpec
    best: CheckpointFacts
    last: CheckpointFacts
    unscored: str | None
    """Why the last model has no score on val; None if it has one."""
    first_losses: dict[str, float]
    last_losses: dict[str, float]
    world: World
    accelerator: str
    precision: str
    train_seconds: float
    """Including those of an interrupted run."""
    validation_seconds: float


def train(
    config: TrainingConfig,
    train_columns: CocoColumns,
    val_columns: CocoColumns,
    images_dir: Path,
    out_dir: Path,
    log: Log,
    *,
    most_boxes: int | None = None,
    all_columns: CocoColumns | None = None,
    points: ResumePoints | None = None,
) -> TrainingOutcome:
    """Train a detector. Under torchrun every rank calls this; only rank 0 writes.

    Args:
        train_columns: Images and boxes to train on.
        val_columns: Images and boxes for choosing the best model; the categories are the same.
        images_dir: Folder of the images of both splits.
        out_dir: Receives `checkpoints/best.ckpt`, `checkpoints/last.ckpt` and `metrics.csv`.
        log: Receives progress messages, at most one about every three seconds.
        most_boxes: Number of boxes in the fullest image to plan for; default: the maximum over both splits.
        all_columns: All of train, if `train_columns` is a part of it: model and data settings are fitted to all of it.
        points: Resume points; None: an interrupted training cannot be resumed.

    Raises:
        TrainingError: there is nothing to learn from, a loss is not finite, or memory ran out.
        StoppedError: SIGTERM, Ctrl-C or a stop file asked for an end.
        PipelineError: images, boxes, weights or devices were rejected.
    """
    silence_lightning()
    _require_data(train_columns, val_columns)
    site = Site.find(config, log)
    if warning := warn_of_chance(config.trainer, site.accelerator):
        log(warning)
    with determinism(config.trainer), threads_restored():
        L.seed_everything(config.seed, verbose=False)
        fitted_to = train_columns if all_columns is None else all_columns
        config = fit_config(config, fitted_to)
        words = say_choice(config, fitted_to)
        log(f"{words}; {say_limit(config.trainer)}")
        if seams := warn_of_seams(config.data, fitted_to):
            log(seams)
        spec = fit_spec(config, fitted_to, val_columns, most_boxes)
        work_dir = out_dir if points is None else points.folder
        loop, loader = _assemble(config, train_columns, val_columns, images_dir, work_dir, spec, site, words)
        loop.tell, loop.points = log, points
        _fit(config, loop, loader, site)
    if site.world.rank == 0:
        loop.metrics.close()
        loop.metrics.write_csv(out_dir / "metrics.csv")
        _publish(work_dir, out_dir)
    return _outcome(loop, spec, site)


def _fit(config: TrainingConfig, loop: TrainingLoop, loader: DataLoader, site: Site) -> None:
    """Train from the newest resume point, or from the beginning, to the end."""
    if fresh := loop.module.detector.fresh:
        loop.tell(
            f"model.weights={config.model.weights} was trained for other classes than these "
            f"{loop.validation.spec.num_classes}: "
            f"{plural(len(fresh), 'tensor of the head starts', 'tensors of the head start')} at random, "
            f"the first is {fresh[0]}"
        )
    loop.resume()
    if site.world.rank == 0 and loop.points is not None:
        show_metrics(loop.metrics, config, loop.points.folder)
    fit(build_trainer(config, site, loop), loop, loader, config)


def _publish(work_dir: Path, out_dir: Path) -> None:
    """Link or copy the checkpoints into the artifact, and move the event file there.

    The work folder stays until the artifact is published.
    """
    if work_dir == out_dir:
        return
    (out_dir / "checkpoints").mkdir(parents=True)
    for path in sorted((work_dir / "checkpoints").glob("*.ckpt")):
        link_or_copy(path, out_dir / "checkpoints" / path.name)
    if (work_dir / "tensorboard").is_dir():
        take_events(work_dir / "tensorboard", out_dir)


def _assemble(
    config: TrainingConfig,
    train_columns: CocoColumns,
    val_columns: CocoColumns,
    images_dir: Path,
    work_dir: Path,
    spec: DetectorSpec,
    site: Site,
    data_words: str,
) -> tuple[TrainingLoop, DataLoader]:
    """Assemble data, model and bookkeeping; also returns the data loader of this rank's batches."""
    dataset = DetectionDataset(train_columns, images_dir, config.data.image_side, config.data, config.seed)
    loader, val_loader = _loaders(config, dataset, val_columns, site)
    assert isinstance(loader.batch_sampler, TrainBatches)
    detector = _start_detector(config, spec, site, train_columns)
    file_names = dict(zip(train_columns.image_ids.tolist(), train_columns.file_names.tolist(), strict=True))
    progress = Progress(config.trainer, len(loader))
    loop = TrainingLoop(
        module=DetectorModule(detector, config.optimizer, progress, file_names),
        batches=loader.batch_sampler,
        dataset=dataset,
        validation=Validation(
            columns=val_columns,
            loader=val_loader,
            folder=work_dir / "checkpoints",
            spec=spec,
            trainer=config.trainer,
            resolved=(site.accelerator, site.precision),
            is_first_rank=site.world.rank == 0,
            data_words=data_words,
        ),
        metrics=MetricsLog(),
        average=WeightAverage(detector, config.optimizer.ema_decay) if config.optimizer.ema_decay else None,
    )
    return loop, loader


def _outcome(loop: TrainingLoop, spec: DetectorSpec, site: Site) -> TrainingOutcome:
    best, last = loop.validation.best, loop.validation.last
    assert best is not None
    assert last is not None
    return TrainingOutcome(
        detector=loop.detector,
        spec=spec,
        best=best,
        last=last,
        unscored=loop.validation.unscored,
        first_losses=loop.first_losses,
        last_losses=loop.module.losses,
        world=site.world,
        accelerator=site.accelerator,
        precision=site.precision,
        train_seconds=loop.progress.elapsed_s - loop.validation.seconds,
        validation_seconds=loop.validation.seconds,
    )


def _require_data(train_columns: CocoColumns, val_columns: CocoColumns) -> None:
    if not len(train_columns.image_ids) or train_columns.iscrowd.all():
        regions = plural(len(train_columns.iscrowd), "region")
        crowds = f", besides {regions} marked iscrowd" if len(train_columns.iscrowd) else ""
        raise TrainingError(
            f"has {plural(len(train_columns.image_ids), 'image')} and "
            f"{plural(int((~train_columns.iscrowd).sum()), 'box', 'boxes')}{crowds}, from which nothing can be learnt",
            where="the part train",
            next_step="correct the split, or the class map",
        )
    of_train, of_val = (
        ", ".join(f"{i} {name}" for i, name in sorted(zip(part.category_ids.tolist(), part.class_names, strict=True)))
        for part in (train_columns, val_columns)
    )
    if of_train != of_val:
        raise TrainingError(
            f"has the categories {of_train or 'none'}, but val has {of_val or 'none'}",
            where="the part train",
            next_step="make both parts with the same class map",
        )


def _loaders(
    config: TrainingConfig, dataset: DetectionDataset, val_columns: CocoColumns, site: Site
) -> tuple[DataLoader, DataLoader]:
    world, data = site.world, config.data
    feeding: dict[str, Any] = {"prefetch": data.prefetch, "pin_memory": data.pin_memory}
    if data.pin_memory is None:
        feeding["pin_memory"] = site.accelerator == "cuda"
    batch_size = config.data.batch
    workers = choose_workers(config.data.num_workers, len(dataset), world.local_size)
    batches = TrainBatches(len(dataset), batch_size, config.seed, world.rank, world.size)
    val_dataset = DetectionDataset(val_columns, dataset.images_dir, config.data.image_side)
    val_workers = choose_workers(config.data.num_workers, len(val_dataset), world.local_size)
    val_batches = PlainBatches(len(val_dataset), max(1, batch_size // world.size), world.rank, world.size)
    return (
        build_loader(dataset, batches, workers, **feeding),
        build_loader(val_dataset, val_batches, val_workers, **feeding),
    )


def _start_detector(config: TrainingConfig, spec: DetectorSpec, site: Site, columns: CocoColumns) -> Detector:
    detector = build_detector(spec, config.model.weights_backbone if config.model.weights is None else None)
    if config.model.weights is not None:
        class_names = [name for _, name in sorted(zip(columns.category_ids.tolist(), columns.class_names, strict=True))]
        detector.fresh = detector.family.load_weights(detector.model, spec.name, config.model.weights, class_names)
    detector.freeze_loaded_batch_norms()
    if site.world.size > 1:
        ranks.synchronize_batch_norm(detector, site.accelerator)
    return detector.to(memory_format=torch.channels_last) if config.trainer.channels_last else detector
