"""Planted label errors: how many of them are among the first suspects; ours against three other tools.

5 % of the labels are damaged in each of six ways. Models that are trained on the damaged labels predict the images that
they did not see, and every tool ranks suspects from the same predictions. N is the number of planted errors; the
precision among the first N suspects is the share of the errors that these point at.

`make bench NAME=label_review` uses generated plates. LABEL_REVIEW_DATA="FOLDER …" names other data (AGAR's format or
Pascal VOC's), LABEL_REVIEW_SEEDS="0 1 2" and LABEL_REVIEW_STEPS=600 ask for more. cleanlab is no dependency:
`pip install cleanlab==2.9.0` adds it to the comparison. BENCH_RESULTS=FILE keeps each finished seed there, and does not
run it again.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.review.suspects import review_labels
from benchmarks._kept_results import kept
from benchmarks._label_tools import SIDES, by_cleanlab, by_fiftyone, by_hotcoco, suspects_of
from benchmarks._planted_errors import KINDS, Planted, plant
from benchmarks._short_training import GENERATED, load_source, train_short
from benchmarks._timing import report_ratio

FOLDS = 2
AIM = 1.0
LEAST_DETECTION_SCORE = 0.15
"""Predictions of a lower score are given to no tool: FiftyOne's matching takes hours for them."""


def cross_fit(columns: CocoColumns, images_dir: Path, folds: int, steps: int, seed: int, scratch: Path) -> Detections:
    """Detections on every image, by a model that was trained on the other folds."""
    fold_of = np.random.default_rng(seed).permutation(len(columns.image_ids)) % folds
    found = []
    for fold in range(folds):
        rest, own = (columns.take_images(np.flatnonzero(where)) for where in (fold_of != fold, fold_of == fold))
        predictor = train_short(rest, own, images_dir, steps, seed, scratch, columns)
        found.append(predictor.predict(own, images_dir))
    return Detections.concatenate(found)


def by_us(columns: CocoColumns, detections: Detections) -> pd.DataFrame:
    """Our suspects in the form of `_label_tools.suspects_of`."""
    found = review_labels(columns, detections).suspects
    ids = found["annotation_id"].fillna(-1).astype(int)
    own = found[SIDES].to_numpy(np.float64)
    suggested = np.array([boxes[0] if boxes else [np.nan] * 4 for boxes in found["suggested_boxes_xywh"]])
    boxes = np.where((ids >= 0).to_numpy()[:, None], own, suggested.reshape(-1, 4))
    return suspects_of(list(zip(found["kind"], found["image_id"], ids, found["score"], boxes, strict=True)))


TOOLS: dict[str, Callable[[CocoColumns, Detections], pd.DataFrame]] = {
    "ours": by_us,
    "cleanlab": by_cleanlab,
    "cleanlab, lower thresholds": lambda columns, detections: by_cleanlab(columns, detections, 0.5, 0.3),
    "hotcoco": by_hotcoco,
    "fiftyone": by_fiftyone,
}


def found_shares(planted: Planted, suspects: pd.DataFrame) -> dict[str, float]:
    """Share of the planted errors that the first suspects point at.

    Returns:
        `all`: of all N errors, among the first N suspects of all sorts, each annotation once. Each kind: of its K
        errors, among the first K suspects of that sort of the tool that finds most of them; suspects that point at
        errors of other kinds are left out.
    """
    boxes = suspects[SIDES].to_numpy(np.float64)
    images, annotations = suspects["image_id"].to_numpy(), suspects["annotation_id"].to_numpy()
    pointed = planted.found(images, annotations, boxes)
    again = ((suspects["annotation_id"] >= 0) & suspects.duplicated(["image_id", "annotation_id"])).to_numpy()
    shares = {"all": len(set(pointed[~again][: len(planted.kinds)]) - {-1}) / len(planted.kinds)}
    for kind in [kind for kind in KINDS if kind in planted.kinds]:
        mine = planted.kinds == kind
        about = (pointed < 0) | mine[pointed]
        sorts = [pointed[about & (suspects["called"] == called).to_numpy()] for called in suspects["called"].unique()]
        shares[kind] = max((len(set(one[: mine.sum()]) - {-1}) for one in sorts), default=0) / mine.sum()
    return shares


def main() -> None:
    sources = os.environ.get("LABEL_REVIEW_DATA", GENERATED).split()
    seeds = [int(word) for word in os.environ.get("LABEL_REVIEW_SEEDS", "0").split()]
    steps = int(os.environ.get("LABEL_REVIEW_STEPS", "200"))
    tools = dict(TOOLS)
    if importlib.util.find_spec("cleanlab") is None:
        print("cleanlab is not installed, so it is left out: pip install cleanlab==2.9.0")
        tools = {name: tool for name, tool in tools.items() if not name.startswith("cleanlab")}
    ratios = []
    for source in sources:
        name = f"label_review: {source}, {steps} steps, {len(tools)} tools, seed"
        runs = [kept(f"{name} {seed}", partial(compare, source, seed, steps, tools)) for seed in seeds]
        print(f"\n{Path(source).name}: planted errors found (see `found_shares`), median of {len(runs)}")
        table = pd.DataFrame({name: pd.DataFrame([run[name] for run in runs]).median() for name in tools}).T
        print(table.round(3).to_string())
        best = table.drop(index="ours").max()
        behind = [kind for kind in table.columns if table.loc["ours", kind] < best[kind]]
        print(f"behind the best of the others in: {', '.join(behind) or 'no kind'}")
        ratios.append(table.loc["ours", "all"] / best["all"])
    report_ratio("label_review", min(ratios), AIM)


def compare(
    source: str, seed: int, steps: int, tools: Mapping[str, Callable[[CocoColumns, Detections], pd.DataFrame]]
) -> dict[str, dict[str, float]]:
    """Tool → what it found, for the same annotations and predictions."""
    with tempfile.TemporaryDirectory() as scratch:
        columns, images_dir = load_source(source, Path(scratch))
        planted = plant(columns, seed)
        found = cross_fit(planted.columns, images_dir, FOLDS, steps, seed, Path(scratch))
    found = found.take(np.flatnonzero(found.scores >= LEAST_DETECTION_SCORE))
    return {name: found_shares(planted, tool(planted.columns, found)) for name, tool in tools.items()}
