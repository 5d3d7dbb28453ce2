"""Artifact classes from the smoke run to the leaderboard: the results of training and scoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agar_pipeline.artifacts.manifest import PICTURES, Artifact

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SmokeRun(Artifact):
    """Results of a smoke run, which tests one training step from end to end."""

    asset: ClassVar = "smoke_run"
    code_version: ClassVar = "4"
    inputs: ClassVar = ("coco_cache", "bbox_report")
    reads: ClassVar = {"bbox_report": ("verdict.json",)}
    files: ClassVar = ("smoke.json", "profile.json")
    unhashed: ClassVar = ("profile.json",)
    in_experiment: ClassVar = True

    def smoke(self) -> dict[str, Any]:
        """Read the results of the checks, which are the same on every machine."""
        return self._json("smoke.json")

    def profile(self) -> dict[str, Any]:
        """Read the measurements: losses, durations of the parts of a step, and the verdict, chart and forecast."""
        return self._json("profile.json")


@dataclass(frozen=True)
class TrainingRun(Artifact):
    """Checkpoints and metrics of a training run, and its experiment."""

    asset: ClassVar = "training_run"
    code_version: ClassVar = "9"
    inputs: ClassVar = ("coco_cache", "smoke_run")
    files: ClassVar = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "experiment.json")
    unhashed: ClassVar = ("experiment.json",)
    derived: ClassVar = ("tensorboard/*", PICTURES)
    in_experiment: ClassVar = True

    @property
    def best_checkpoint(self) -> Path:
        return self.root / "checkpoints" / "best.ckpt"

    def metrics(self) -> pd.DataFrame:
        """Read the CSV log: step, epoch, and one column per metric, which is empty in rows without a value."""
        import pandas as pd

        return pd.read_csv(self.root / "metrics.csv")

    def experiment(self) -> dict[str, Any]:
        return self._json("experiment.json")


@dataclass(frozen=True)
class Evaluation(Artifact):
    """Metrics and predictions of a training run, and a page with pictures."""

    asset: ClassVar = "evaluation"
    code_version: ClassVar = "12"
    inputs: ClassVar = ("coco_cache", "training_run")
    files: ClassVar = ("metrics.json", "counting.json", "predictions.json", "matches.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)
    derived: ClassVar = (PICTURES,)
    in_experiment: ClassVar = True

    def metrics(self) -> dict[str, Any]:
        return self._json("metrics.json")

    @property
    def calibration_file(self) -> Path:
        """How `agar predict` turns the detections of this training's best checkpoint into counts."""
        return self.root / "counting.json"

    def matches(self) -> pd.DataFrame:
        """Read one row per counted detection and per missed annotation (see `scoring.matching.matches_table`)."""
        import pandas as pd

        return pd.read_parquet(self.root / "matches.parquet")


@dataclass(frozen=True)
class LabelReview(Artifact):
    """Suspect labels of all parts, from predictions of models that were not trained on the photos."""

    asset: ClassVar = "label_review"
    code_version: ClassVar = "6"
    inputs: ClassVar = ("snapshot", "split", "coco_cache", "training_run", "evaluation")
    reads: ClassVar = {"snapshot": ("image_ids.parquet",), "split": ("duplicates.parquet",)}
    files: ClassVar = (
        "suspects.parquet",
        "review.json",
        "predictions.json",
        "folds.parquet",
        "folds/0.ckpt",
        "folds/1.ckpt",
        "cross_validation.json",
        "report.html",
    )
    unhashed: ClassVar = ("report.html",)
    in_experiment: ClassVar = True
    on_demand: ClassVar = True

    @property
    def fold_checkpoints(self) -> list[Path]:
        """The models of the folds; that of fold i was not trained on the photos of fold i of `folds`."""
        return sorted((self.root / "folds").glob("*.ckpt"), key=lambda path: int(path.stem))

    def review(self) -> dict[str, Any]:
        """Read the numbers of suspects and of wrong labels; see `reports.review_files.write_review`."""
        return self._json("review.json")

    def suspects(self) -> pd.DataFrame:
        """Read one row per suspect, the most probable first: the columns of `review.suspects.RankedSuspects`, `part`,
        `file_name` and `reason`.
        """
        import pandas as pd

        return pd.read_parquet(self.root / "suspects.parquet")

    def folds(self) -> pd.DataFrame:
        """Read one row per photo of train: image_id, fold."""
        import pandas as pd

        return pd.read_parquet(self.root / "folds.parquet")

    def cross_validation(self) -> dict[str, Any]:
        """Read the scores of the folds on train; see `scoring.cross_validation.cross_validate`."""
        return self._json("cross_validation.json")


@dataclass(frozen=True)
class Leaderboard(Artifact):
    """Table and page that compare the experiments."""

    asset: ClassVar = "leaderboard"
    code_version: ClassVar = "3"
    files: ClassVar = ("leaderboard.parquet", "report.html")
    unhashed: ClassVar = ("report.html",)

    def table(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.root / "leaderboard.parquet")
