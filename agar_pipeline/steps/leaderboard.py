"""leaderboard: ranks the experiments by score, and tells which differences are larger than noise.

Here: ranking, and comparing differences with the noise. Not here: the intervals (`scoring.uncertainty`), the page.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from agar_pipeline.artifacts import CocoCache, Evaluation
from agar_pipeline.config import LeaderboardConfig
from agar_pipeline.progress import Log
from agar_pipeline.scoring.counting import COUNT_METRICS

if TYPE_CHECKING:
    from pathlib import Path

SCORES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "mar_max", "num_images", "num_annotations")
COMPARED = ("map_low", "map_high", "seed", "seed_spread", "delta", "delta_low", "delta_high")


def build(
    config: LeaderboardConfig,
    out_dir: Path,
    log: Log,
    coco_cache: CocoCache,
    evaluation: Mapping[str, Evaluation] | None = None,
) -> None:
    """Write leaderboard.parquet and report.html, the highest mAP first.

    `evaluation` has one entry per experiment; it is None if the pipeline file lists no experiment.
    """
    from agar_pipeline.reports.leaderboard_page import write_leaderboard_page

    evaluation = evaluation or {}
    table = rank({name: evaluation[name].metrics() for name in config.experiments})
    table = add_differences(table, differences(table, coco_cache, evaluation))
    table.to_parquet(out_dir / "leaderboard.parquet", index=False)
    write_leaderboard_page(out_dir / "report.html", table)
    log("\n".join(map(_describe, table.to_dict("records"))) or "the pipeline file lists no experiments")


def rank(metrics: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per experiment, highest mAP first; a metric that was not computed is null.

    `recipe` is equal for trainings that differ only in their seed. `seed_spread` is the standard deviation of the mAP
    of these trainings, null for a recipe that was trained once.
    """
    rows = []
    for name, of in metrics.items():
        low, high = (of.get("confidence") or {}).get("map") or (None, None)
        training = of.get("training") or {}
        rows.append(
            {
                "experiment": name,
                "recipe": training.get("recipe"),
                **{score: of[score] for score in SCORES},
                **{count: (of.get("counting") or {}).get(count) for count in COUNT_METRICS},
                "map_low": low,
                "map_high": high,
                "seed": training.get("seed"),
            }
        )
    numbers = [*SCORES, *COUNT_METRICS, *COMPARED]
    table = pd.DataFrame(rows, columns=["experiment", "recipe", *numbers]).astype(dict.fromkeys(numbers, "Float64"))
    table["seed_spread"] = table.groupby("recipe")["map"].transform("std").astype("Float64")
    return table.sort_values(["map", "experiment"], ascending=[False, True], na_position="last", ignore_index=True)


def differences(
    table: pd.DataFrame, coco_cache: CocoCache, evaluations: Mapping[str, Evaluation]
) -> dict[str, dict[str, float]]:
    """Return mAP of each experiment minus that of the leader, with its interval over resampled images.

    Experiments that were scored on another part than the leader are left out.
    """
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.coco.detections import read_detections
    from agar_pipeline.scoring.uncertainty import compare_models

    scored = table[table["map"].notna()]
    if len(scored) < 2:
        return {}
    leader = str(scored["experiment"].iloc[0])
    part = evaluations[leader].metrics()["part"]
    columns = read_coco(coco_cache.json_path(part))
    best = read_detections(evaluations[leader].root / "predictions.json")
    deltas = {}
    for name in scored["experiment"].astype(str).tolist()[1:]:
        if evaluations[name].metrics()["part"] == part:
            own = read_detections(evaluations[name].root / "predictions.json")
            deltas[name] = compare_models(columns, best, own)["map"]
    return deltas


def add_differences(table: pd.DataFrame, deltas: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Return the table with the difference of each experiment to the leader, and a verdict in words.

    A difference is within the noise of plates if its 95 % interval includes 0. It is within the noise of seeds if the
    mean mAPs of the two recipes differ by at most twice the standard error of the difference, √(s₁²/n₁ + s₂²/n₂). For a
    recipe that was trained once, s is the root mean square of the other recipes' s. If no recipe was trained more than
    once, the noise of seeds is unknown and not considered.
    """
    table = table.copy()
    verdicts = []
    for place, row in enumerate(table.to_dict("records")):
        delta = deltas.get(str(row["experiment"]))
        if delta:
            table.loc[place, ["delta", "delta_low", "delta_high"]] = [delta["delta"], delta["low"], delta["high"]]
        verdicts.append(_standing(table, place, delta))
    return table.assign(verdict=pd.array(verdicts, dtype="string"))


def _standing(table: pd.DataFrame, place: int, delta: Mapping[str, float] | None) -> str:
    if pd.isna(table["map"].iloc[place]):
        return "not scored"
    if place == 0:
        return "highest mAP"
    if delta is None:
        return "scored on another part"
    if table["recipe"].notna().iloc[place] and table["recipe"].iloc[place] == table["recipe"].iloc[0]:
        return "the leader's recipe, another seed"
    if _within_seed_noise(table, place):
        return "within the noise of seeds"
    return "within the noise of plates" if delta["low"] <= 0 <= delta["high"] else "behind"


def _describe(row: Mapping[Hashable, Any]) -> str:
    """Return one row of the table as a line of the log."""
    scores = [
        f"{title} {row[name]:.3f}" for name, title in (("map", "mAP"), ("map_50", "mAP@50")) if not pd.isna(row[name])
    ]
    return f"{row['experiment']}: {', '.join([*scores, row['verdict']])}"


def _within_seed_noise(table: pd.DataFrame, place: int) -> bool:
    spreads = table.drop_duplicates("recipe")["seed_spread"].dropna().astype(float)
    if spreads.empty:
        return False
    usual = math.sqrt((spreads**2).mean())
    means, variance = [], 0.0
    for row in (0, place):
        recipe = table["recipe"].iloc[row]
        trained = table.iloc[[row]] if pd.isna(recipe) else table[table["recipe"] == recipe]
        maps = trained["map"].dropna().astype(float)
        means.append(maps.mean())
        variance += (maps.std() if len(maps) > 1 else usual) ** 2 / len(maps)
    return abs(means[0] - means[1]) <= 2 * math.sqrt(variance)
