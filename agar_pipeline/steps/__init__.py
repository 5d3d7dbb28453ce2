"""One module per asset, each with a function `build(config, out_dir, log, **inputs)` that writes the artifact's files.

It may return the hashes of files that it knows already (`store.KnownFiles`). Steps use neither Dagster nor the store,
and no step imports another. Here: the config that each step reads, and which steps run in a process of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agar_pipeline import config


@dataclass(frozen=True)
class Step:
    """How one asset is built."""

    asset: str
    config_type: Any
    own_process: bool
    """True if the step may need FiftyOne or torch."""
    resumable: bool = False
    """True if `build` takes a `work_dir` that is kept after an interruption."""
    reads_photos: bool = False
    """True if the artifact depends on the pixels of the COCO cache's images."""
    reuses: bool = False
    """True if `build` takes `earlier`, the folders of former artifacts, and links to unchanged files in them. A step in
    a process of its own gets only those that today's code and machine made."""

    @property
    def build(self) -> Callable[..., Any]:
        return importlib.import_module(f"agar_pipeline.steps.{self.asset}").build


STEPS: dict[str, Step] = {
    step.asset: step
    for step in (
        Step("snapshot", config.SnapshotSource, own_process=True),
        Step("split", config.SplitConfig, own_process=False),
        Step("coco_cache", config.CocoCacheConfig, own_process=False, reuses=True),
        Step("bbox_report", config.BboxReportConfig, own_process=False),
        Step("smoke_run", config.TrainingConfig, own_process=True, reads_photos=True),
        Step("training_run", config.TrainingConfig, own_process=True, resumable=True, reads_photos=True),
        Step("evaluation", config.ScoringConfig, own_process=True, reads_photos=True),
        Step(
            "label_review", config.LabelReviewConfig, own_process=True, resumable=True, reads_photos=True, reuses=True
        ),
        Step("leaderboard", config.LeaderboardConfig, own_process=False),
    )
}
