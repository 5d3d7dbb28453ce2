"""The metrics of a training, as rows: written to `metrics.csv`, and passed on to TensorBoard or MLflow.

Here: the table, TensorBoard, MLflow in a local folder. Not here: which values there are (`training_loop`).
"""

from __future__ import annotations

import csv
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from agar_pipeline.config import TrainingConfig, agar_home, fingerprinted

Row = dict[str, Any]
EVENTS_FILE = "tensorboard/events.out.tfevents.train"
"""Path in the artifact. TensorBoard's own file name contains a time and a host name."""
_EVENTS = "events.out.tfevents.*"


class Tracker(Protocol):
    """Receives each row when it is added."""

    def add(self, row: Row, at_s: float) -> None: ...

    def close(self) -> None: ...


class MetricsLog:
    """Rows in memory, so that an interrupted training resumes with the rows it had."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.times_s: list[float] = []
        """When each row was added, seconds since 1970. Trackers get them; `metrics.csv` does not contain them."""
        self.trackers: list[Tracker] = []

    def show_to(self, tracker: Tracker) -> None:
        """Pass all present and future rows to a tracker."""
        for row, at_s in zip(self.rows, self.times_s, strict=True):
            tracker.add(row, at_s)
        self.trackers.append(tracker)

    def add(self, step: int, epoch: int, values: Mapping[str, float | None]) -> None:
        """Add one row; values that are None are left empty."""
        row = {"step": step, "epoch": epoch, **{k: v for k, v in values.items() if v is not None}}
        self.rows.append(row)
        self.times_s.append(time.time())
        for tracker in self.trackers:
            tracker.add(row, self.times_s[-1])

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()

    def write_csv(self, path: Path) -> None:
        """Write step, epoch, and one column per metric, sorted by name."""
        columns = sorted({name for row in self.rows for name in row} - {"step", "epoch"})
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["step", "epoch", *columns], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


def _values(row: Row) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name != "step"}


class TensorBoard:
    """One event file in a folder of its own; `tensorboard --logdir` shows it during the training."""

    def __init__(self, folder: Path) -> None:
        """Delete the events of an interrupted run: its rows are written again."""
        from torch.utils.tensorboard import SummaryWriter

        for events in folder.glob(_EVENTS):
            events.unlink()
        self._writer = SummaryWriter(str(folder), flush_secs=10)

    def add(self, row: Row, at_s: float) -> None:
        for name, value in _values(row).items():
            self._writer.add_scalar(name.replace("_", "/", 1), value, row["step"], walltime=at_s)

    def close(self) -> None:
        self._writer.close()


def take_events(folder: Path, out_dir: Path) -> None:
    """Move the event file into an artifact, under a name without time and host."""
    (events,) = folder.glob(_EVENTS)
    path = out_dir / EVENTS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(events, path)


class MLflow:
    """A run in MLflow's file store in the home folder, or at MLFLOW_TRACKING_URI. Telemetry is switched off."""

    def __init__(self, store: Path, experiment: str, run_name: str, params: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # "in maintenance mode", but it works
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        from mlflow import MlflowClient

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or store.as_uri())
        known = self._client.get_experiment_by_name(experiment)
        experiment_id = known.experiment_id if known else self._client.create_experiment(experiment)
        self._run_id = self._client.create_run(experiment_id, run_name=run_name).info.run_id
        for name, value in params.items():
            self._client.log_param(self._run_id, name, value)

    def add(self, row: Row, at_s: float) -> None:
        from mlflow.entities import Metric

        at_ms = int(at_s * 1000)
        metrics = [Metric(name, value, at_ms, row["step"]) for name, value in _values(row).items()]
        self._client.log_batch(self._run_id, metrics)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


def show_metrics(metrics: MetricsLog, config: TrainingConfig, work_dir: Path) -> None:
    """Attach the trackers that the config names; they also get the rows of an interrupted run."""
    if config.trainer.logger != "none":
        metrics.show_to(TensorBoard(work_dir / "tensorboard"))
    if config.trainer.logger == "mlflow":
        experiment, fingerprint = work_dir.parts[-3], work_dir.name
        params = flatten(fingerprinted(config))
        metrics.show_to(MLflow(agar_home() / "mlflow", experiment, fingerprint[:12], params))


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested keys, joined by dots.

    >>> flatten({"data": {"batch_size": 4}, "seed": 1})
    {'data.batch_size': 4, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
