"""One module per asset, each with `build(config, out_dir, log, **inputs)`.

No Dagster, no store, and no step imports another. Here: which step reads which config, and which runs in a process
of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from agar_pipeline import config


@dataclass(frozen=True)
class Step:
    """How one asset is built."""

    asset: str
    config_type: type
    own_process: bool
    """True where FiftyOne or torch is needed."""

    @property
    def build(self) -> Callable[..., None]:
        return importlib.import_module(f"agar_pipeline.steps.{self.asset}").build


STEPS: dict[str, Step] = {
    step.asset: step
    for step in (
        Step("snapshot", config.SnapshotConfig, own_process=True),
        Step("split", config.SplitConfig, own_process=False),
        Step("coco_cache", config.CocoCacheConfig, own_process=False),
        Step("bbox_report", config.BboxReportConfig, own_process=False),
        Step("smoke_run", config.TrainingConfig, own_process=True),
        Step("training_run", config.TrainingConfig, own_process=True),
        Step("evaluation", config.EvaluationConfig, own_process=True),
        Step("leaderboard", config.LeaderboardConfig, own_process=False),
    )
}
