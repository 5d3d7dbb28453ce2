"""leaderboard: the experiments' scores side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from agar_pipeline.artifacts import Evaluation
from agar_pipeline.config import LeaderboardConfig

SCORES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_max", "num_images", "num_annotations")
COUNTS = ("mae", "me", "smape", "within_10_percent")


def build(
    config: LeaderboardConfig, out_dir: Path, log: Callable[[str], None], evaluations: Mapping[str, Evaluation]
) -> None:
    """Write leaderboard.parquet and report.html, the best map first."""
    from agar_pipeline.reports.leaderboard_page import write_leaderboard_page

    table = rank({name: evaluations[name].metrics() for name in config.experiments})
    table.to_parquet(out_dir / "leaderboard.parquet", index=False)
    write_leaderboard_page(out_dir / "report.html", table)
    log("\n".join(f"{row.experiment}: map {row.map}, map_50 {row.map_50}" for row in table.itertuples()))


def rank(metrics: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per experiment, highest map first; a metric that was not computed stays null."""
    rows = [
        {
            "experiment": name,
            **{score: of[score] for score in SCORES},
            **{count: (of.get("counting") or {}).get(count) for count in COUNTS},
        }
        for name, of in metrics.items()
    ]
    columns = ["experiment", *SCORES, *COUNTS]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], "Float64"))
    return table.sort_values(["map", "experiment"], ascending=[False, True], na_position="last", ignore_index=True)
