"""Validation at the end of an epoch: predicts val as the evaluation does, scores it, keeps the best model."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.config import TrainerConfig
from agar_pipeline.counting.threshold import choose_threshold
from agar_pipeline.detection.inference.batches import most_to_expect, predict_uncapped
from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, save_checkpoint, write_whole
from agar_pipeline.detection.models.detector import Detector
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.training.schedule import Progress
from agar_pipeline.detection.training.stop_signals import PATIENCE_S
from agar_pipeline.scoring.average_precision import coco_metrics
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counting import counting_metrics
from agar_pipeline.scoring.suppression import suppress_across_classes


@dataclass(eq=False)
class Validation:
    """Scores detectors on val, and writes `best.ckpt` and `last.ckpt`."""

    columns: CocoColumns
    loader: DataLoader
    """This rank's share of val."""
    folder: Path
    """Folder of the checkpoints."""
    spec: DetectorSpec
    trainer: TrainerConfig
    """Its `precision`, as requested, is written into checkpoints."""
    resolved: tuple[str, str]
    """Accelerator and precision that are used."""
    is_first_rank: bool
    data_words: str
    """Text for `CheckpointFacts.data_words`."""
    best: CheckpointFacts | None = None
    last: CheckpointFacts | None = None
    best_content: dict[str, Any] | None = None
    """Content of `best.ckpt`."""
    without_better: int = 0
    """Number of validations since the best one."""
    seconds: float = 0.0
    took_s: float | None = None
    """Seconds of the last validation in this process."""
    unscored: str | None = None
    """Why the last validation has no score; None if it has one."""

    @property
    def out_of_patience(self) -> bool:
        return self.trainer.patience is not None and self.without_better >= self.trainer.patience

    @property
    def is_quick(self) -> bool:
        """Whether a validation surely ends within the time that a process has after a request to stop."""
        return self.took_s is not None and self.took_s < PATIENCE_S / 3

    def run(self, detector: Detector, progress: Progress) -> CheckpointFacts:
        """Predict and score val; all ranks get the same facts."""
        started_at = time.monotonic()
        category_ids = np.sort(self.columns.category_ids)
        most = most_to_expect(detector, self.columns)
        share = predict_uncapped(detector, self.loader, category_ids, *self.resolved, most=most)
        self.last = self._judge(Detections.concatenate(ranks.gather(share)), progress)
        self._keep_best(detector)
        self.took_s = time.monotonic() - started_at
        self.seconds += self.took_s
        return self.last

    def _judge(self, detections: Detections, progress: Progress) -> CheckpointFacts:
        scores = coco_metrics(self.columns, detections)
        self.unscored = scores["reasons"].get("map")
        colonies = suppress_across_classes(detections)
        threshold = None if detections.why_undefined else choose_threshold(self.columns, colonies)
        rule = CountRule() if threshold is None else CountRule(threshold, "val")
        kept = rule.keep(colonies, self.columns.names)
        counting = counting_metrics(self.columns, kept, rule, detections.why_undefined)
        order = np.argsort(self.columns.category_ids)
        return CheckpointFacts(
            spec=self.spec,
            class_names=tuple(self.columns.class_names[row] for row in order),
            category_ids=tuple(self.columns.category_ids[order].tolist()),
            precision=self.trainer.precision,
            channels_last=self.trainer.channels_last,
            epoch=progress.last_epoch,
            step=progress.step,
            score_threshold=threshold,
            metrics={"map_50_95": scores["map"], "map_50": scores["map_50"], "count_mae": counting["mae"]},
            data_words=self.data_words,
        )

    def _keep_best(self, detector: Detector) -> None:
        assert self.last is not None
        score = self.last.metrics["map_50_95"]
        best_score = None if self.best is None else self.best.metrics["map_50_95"]
        self.without_better += 1
        if score is None or (best_score is not None and score <= best_score):
            return
        self.best, self.without_better = self.last, 0
        if self.is_first_rank:
            self.best_content = save_checkpoint(self.folder / "best.ckpt", detector, self.last)

    def finish(self, detector: Detector, progress: Progress) -> None:
        """Write `last.ckpt`. If no validation had a score, `best.ckpt` becomes a copy of it."""
        if self.last is None or self.last.step != progress.step:
            self.run(detector, progress)
        assert self.last is not None
        if self.is_first_rank:
            save_checkpoint(self.folder / "last.ckpt", detector, self.last)
        if self.best is None:
            self.best = self.last
            if self.is_first_rank:
                shutil.copyfile(self.folder / "last.ckpt", self.folder / "best.ckpt")

    def state(self) -> dict[str, Any]:
        """Plain values and tensors to resume from."""
        last = None if self.last is None else self.last.to_plain()
        counters = {"without_better": self.without_better, "seconds": self.seconds, "unscored": self.unscored}
        return {"best": self.best_content, "last": last, **counters}

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from `state()`: `best.ckpt` is written again as it was then, even if it has changed since."""
        self.best_content = state["best"]
        self.best = None if state["best"] is None else CheckpointFacts.from_plain(state["best"])
        self.last = None if state["last"] is None else CheckpointFacts.from_plain(state["last"])
        self.without_better, self.seconds = int(state["without_better"]), float(state["seconds"])
        self.unscored = state.get("unscored")
        if self.is_first_rank and self.best_content is not None:
            write_whole(self.folder / "best.ckpt", self.best_content)
