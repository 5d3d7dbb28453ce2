"""What it is worth to correct the first suspects: mAP of a training on damaged labels, and after the correction.

5 % of the labels of train are damaged in each of six ways (`_planted_errors`). The suspects of `agar review` come from
models of two folds. Of the first 20 % of the suspects, those that point at a planted error are corrected by the truth,
and a model is trained again, by the same steps and seed. Both are scored on photos with undamaged labels. The ratio is
mean mAP after over before.

`make bench NAME=label_correction` uses generated plates, and colonies and bccd where ../shared/data exists.
LABEL_CORRECTION_DATA="FOLDER …", LABEL_CORRECTION_SEEDS="0 1 2" and LABEL_CORRECTION_STEPS=150 choose other runs.
BENCH_RESULTS=FILE keeps each finished seed there, and does not run it again.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from benchmarks._kept_results import kept
from benchmarks._label_tools import SIDES
from benchmarks._planted_errors import plant
from benchmarks._short_training import DATA, GENERATED, is_there, load_source, name_of, train_short
from benchmarks._timing import report_ratio
from benchmarks.label_review import FOLDS, LEAST_DETECTION_SCORE, by_us, cross_fit

SOURCES = f"{GENERATED} {DATA / 'colonies'} {DATA / 'bccd'}"
TESTED_SHARE = 0.3
FIRST_SHARE = 0.2
AIM = 1.0


def main() -> None:
    seeds = [int(word) for word in os.environ.get("LABEL_CORRECTION_SEEDS", "0 1 2").split()]
    steps = int(os.environ.get("LABEL_CORRECTION_STEPS", "150"))
    for source in os.environ.get("LABEL_CORRECTION_DATA", SOURCES).split():
        name = f"label_correction_{name_of(source)}"
        if not is_there(source):
            report_ratio(name, None, AIM, f"skipped: there is no {source}")
            continue
        name_of_run = f"{name}, {steps} steps, seed"
        rows = pd.DataFrame([kept(f"{name_of_run} {seed}", partial(compare, source, seed, steps)) for seed in seeds])
        print(rows.round(3).to_string(index=False))
        report_ratio(name, float(rows["map_after"].mean() / rows["map_before"].mean()), AIM)


def compare(source: str, seed: int, steps: int) -> dict[str, float]:
    """Counts of errors, and mAP and mAP@50 before and after."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        columns, images_dir = load_source(source, scratch)
        rows = np.random.default_rng(seed).permutation(len(columns.image_ids))
        tested = round(TESTED_SHARE * len(rows))
        test, clean = (columns.take_images(np.sort(some)) for some in (rows[:tested], rows[tested:]))
        planted = plant(clean, seed)
        found = cross_fit(planted.columns, images_dir, FOLDS, steps, seed, scratch)
        suspects = by_us(planted.columns, found.take(np.flatnonzero(found.scores >= LEAST_DETECTION_SCORE)))
        first = suspects[: round(FIRST_SHARE * len(suspects))]
        boxes = first[SIDES].to_numpy(np.float64)
        pointed = planted.found(first["image_id"].to_numpy(), first["annotation_id"].to_numpy(), boxes)
        fixed = planted.corrected(clean, set(pointed.tolist()) - {-1})

        def score(labels: CocoColumns, when: str) -> dict[str, float]:
            from agar_pipeline.scoring.average_precision import coco_metrics

            model = train_short(labels, test, images_dir, steps, seed, scratch)
            metrics = coco_metrics(test, model.predict(test, images_dir))
            return {f"map_{when}": metrics["map"], f"map_50_{when}": metrics["map_50"]}

        counts = {"seed": seed, "errors": len(planted.kinds), "looked_at": len(first)}
        counts["corrected"] = len(set(pointed.tolist()) - {-1})
        return {**counts, **score(planted.columns, "before"), **score(fixed, "after")}
