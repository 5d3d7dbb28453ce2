"""Shared by commands that count: the model, and how its detections become counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.detection.inference.photo_folder import PhotoModel

FILE = click.Path(dir_okay=False, path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


def model_options(command: Command) -> Command:
    """Add `--experiment`, `--checkpoint` and `--counting`."""
    for option in (
        click.option("--counting", type=FILE, help="counting.json of an evaluation of the checkpoint."),
        click.option("--checkpoint", type=FILE, help="Checkpoint of a training run."),
        click.option("--experiment", help="Its best checkpoint, and how its evaluation counts."),
    ):
        command = option(command)
    return command


def find_model(experiment: str | None, checkpoint: Path | None, counting: Path | None) -> tuple[Path, Path | None]:
    """The checkpoint and the `counting.json` that the options name.

    Raises:
        ArtifactError: the experiment has no evaluation by today's config.
    """
    if experiment is None:
        assert checkpoint is not None
        return checkpoint, counting
    from agar_pipeline.artifacts import Evaluation, TrainingRun
    from agar_pipeline.commands.experiment import current_evaluation
    from agar_pipeline.config import agar_home
    from agar_pipeline.errors import ArtifactError
    from agar_pipeline.history.lineage import chain_of
    from agar_pipeline.history.run_comparison import find_evaluation
    from agar_pipeline.store import Store

    store = Store(agar_home())
    evaluation: Evaluation = Evaluation.open(find_evaluation(store, experiment, current_evaluation(store)).root)
    trained = chain_of(store, evaluation).get("training_run")
    if trained is None:
        raise ArtifactError(
            "was made from a training run that was removed (by `agar clean`)",
            where=evaluation.root,
            next_step="train again: agar run",
        )
    return TrainingRun.open(trained.root).best_checkpoint, evaluation.calibration_file


def load_model(checkpoint: Path | None, onnx: Path | None, accelerator: str) -> PhotoModel:
    """Load a checkpoint, or an exported ONNX model."""
    if checkpoint is None:
        from agar_pipeline.detection.inference.onnx_model import OnnxModel

        assert onnx is not None
        return OnnxModel.load(onnx)
    from agar_pipeline.detection.inference.predict import Predictor

    return Predictor.load(checkpoint, accelerator)


def load_calibration(model: PhotoModel, counting: Path | None, score_threshold: float | None) -> Calibration:
    """How the model's detections become counts: the given file, else the model's own; with the given threshold.

    Raises:
        ArtifactError: the file cannot be read, or is for a model with other classes.
    """
    from agar_pipeline.counting.calibration import Calibration

    calibration = model.calibration if counting is None else Calibration.read(counting)
    if counting is not None:
        calibration.require_classes(model.class_names, counting)
    return calibration if score_threshold is None else calibration.with_threshold(score_threshold)
