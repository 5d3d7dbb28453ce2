"""One module per asset, each with `build(config, out_dir, log, **inputs)`, which may return what it knows of
its files (`store.KnownFiles`).

No Dagster, no store, and no step imports another. Here: which step reads which config, and which runs in a process
of its own.
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
    """True where FiftyOne or torch may be needed."""
    resumable: bool = False
    """True where `build` takes a `work_dir` that outlives an interruption."""
    reads_photos: bool = False
    """True where what comes out depends on the pixels of the COCO cache's photos."""
    reuses: bool = False
    """True where `build` takes `earlier`, the folders of former artifacts, and need not write again what they hold."""

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
        Step("evaluation", config.EvaluationConfig, own_process=True, reads_photos=True),
        Step("leaderboard", config.LeaderboardConfig, own_process=False),
    )
}
