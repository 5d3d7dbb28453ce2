"""Photos that `agar review --unlabelled` would choose against photos drawn at random: mAP@50 over the number annotated.

From the same few annotated plates, both go on by rounds: the chosen ones are those on which the models of a
cross-fitted committee disagree, the others are drawn. After each round a model is trained on what is annotated, and
scored on plates that are never annotated. The ratio is the area under the curve of the chosen over that of the drawn,
mean over the seeds, the shared first point left out.

About 20 minutes on one core that does nothing else. ACTIVE_CHOICE_DATA="generated FOLDER:one …" and
ACTIVE_CHOICE_SEEDS="0 1 2" choose what is run; `FOLDER:one` takes all classes for one. BENCH_RESULTS=FILE keeps each
finished seed there, and does not run it again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from agar_pipeline.coco.columns import CocoColumns
from benchmarks._kept_results import kept
from benchmarks._short_training import DATA, GENERATED, is_there, load_source, name_of, train_short
from benchmarks._timing import report_ratio

if TYPE_CHECKING:
    from agar_pipeline.detection.inference.predict import Predictor

COLONIES = f"{DATA / 'colonies'}:one"
AIM = 1.0
PLATES, SIDE_PX = 90, 320
"""Generated plates; of other data at most as many are used."""
TESTED = 30
FIRST, STEP, ROUNDS = 4, 4, 2
MODELS = 2
"""In the committee; each is trained without half of the annotated plates."""
STEPS, COMMITTEE_STEPS = 140, 70
Choose = Callable[["Study", np.ndarray, np.ndarray, int], np.ndarray]
Point = tuple[int, int, float]
"""Annotated plates, annotated boxes, mAP@50."""


class Study:
    """One source and seed: which plates can be annotated, and which are tested."""

    def __init__(self, source: str, seed: int, scratch: Path) -> None:
        from agar_pipeline.counting.photo_features import measure_files, measure_pixels

        columns, self.images_dir = load_plates(source, scratch)
        self.seed, self.scratch = seed, scratch
        rows = np.random.default_rng(seed).permutation(len(columns.image_ids))[:PLATES]
        self.test, self.pool = columns.take_images(rows[:TESTED]), columns.take_images(np.sort(rows[TESTED:]))
        names = [str(name) for name in self.pool.file_names]
        self.pixels = measure_files(measure_pixels, self.images_dir, names, lambda done, total: None)

    def train(self, rows: np.ndarray, steps: int, seed: int) -> Predictor:
        """A model of these plates."""
        return train_short(self.pool.take_images(rows), self.test, self.images_dir, steps, seed, self.scratch)

    def point(self, rows: np.ndarray) -> Point:
        """Train on these plates, and test."""
        from agar_pipeline.scoring.average_precision import coco_metrics

        found = self.train(rows, STEPS, self.seed).predict(self.test, self.images_dir, 0)
        boxes = len(self.pool.take_images(rows).annotation_ids)
        return len(rows), boxes, float(coco_metrics(self.test, found)["map_50"])


def draw(study: Study, annotated: np.ndarray, left: np.ndarray, turn: int) -> np.ndarray:
    """Plates at random."""
    return np.random.default_rng([study.seed, turn]).choice(left, STEP, replace=False)


def choose_next(study: Study, annotated: np.ndarray, left: np.ndarray, turn: int) -> np.ndarray:
    """Plates by the committee, as `agar review --unlabelled` chooses them."""
    from agar_pipeline.review.acquisition import Committee, Photos, choose

    fold_of = np.random.default_rng([study.seed, turn]).permutation(len(annotated)) % MODELS
    models = [study.train(annotated[fold_of != fold], COMMITTEE_STEPS, study.seed + fold) for fold in range(MODELS)]
    photos, known = study.pool.take_images(left).without_annotations(), study.pool.take_images(annotated)
    found = [model.predict(photos, study.images_dir, 0) for model in models]
    committee = Committee(found, [model.calibration.rule.least_of_all for model in models])
    pixels = [study.pixels[row] for row in left]
    chosen = choose(committee, Photos(photos.image_ids, pixels), known, [study.pixels[row] for row in annotated], STEP)
    return left[[one.row for one in chosen]]


WAYS: dict[str, Choose] = {"chosen": choose_next, "random": draw}


def main() -> None:
    sources = os.environ.get("ACTIVE_CHOICE_DATA", f"{GENERATED} {COLONIES}").split()
    seeds = [int(word) for word in os.environ.get("ACTIVE_CHOICE_SEEDS", "0 1 2").split()]
    for source in sources:
        name = name_of(source)
        if not is_there(source):
            report_ratio(f"active_choice_{name}", None, AIM, f"skipped: there is no {source}")
            continue
        of_seeds = [
            kept(f"active_choice: {source}, seed {seed}", partial(curves_of, source, name, seed)) for seed in seeds
        ]
        curves = pd.DataFrame([row for rows in of_seeds for row in rows])
        print(f"\n{name}: mAP@50 over annotated plates, mean of {len(seeds)} seeds; boxes in these plates")
        print(curves.pivot_table(index="plates", columns="way", values=["map_50", "boxes"]).round(3).to_string())
        later = curves[curves["plates"] > FIRST]
        area = later.groupby(["seed", "way"])["map_50"].mean().unstack()
        ratios = area["chosen"] / area["random"]
        remark = f"seeds: {', '.join(f'{ratio:.3f}' for ratio in ratios)}"
        report_ratio(f"active_choice_{name}", float(area["chosen"].mean() / area["random"].mean()), AIM, remark)


def curves_of(source: str, name: str, seed: int) -> list[dict[str, Any]]:
    """The points of all ways."""
    with tempfile.TemporaryDirectory() as scratch:
        return _run(Study(source, seed, Path(scratch)), name)


def _run(study: Study, name: str) -> list[dict[str, Any]]:
    first = np.random.default_rng(study.seed).choice(len(study.pool.image_ids), FIRST, replace=False)
    shared, rows = study.point(first), []
    for way, choose in WAYS.items():
        annotated, points = first, [shared]
        for turn in range(ROUNDS):
            left = np.setdiff1d(np.arange(len(study.pool.image_ids)), annotated)
            annotated = np.concatenate([annotated, choose(study, annotated, left, turn)])
            points.append(study.point(annotated))
        print(
            f"{name}, seed {study.seed}, {way}: {', '.join(f'{n}: {map_50:.3f}' for n, _, map_50 in points)}",
            flush=True,
        )
        keys = ("plates", "boxes", "map_50")
        rows += [{"data": name, "seed": study.seed, "way": way, **dict(zip(keys, one, strict=True))} for one in points]
    return rows


def load_plates(source: str, scratch: Path) -> tuple[CocoColumns, Path]:
    """All plates; the generated ones have 0 to 90 colonies, most of them near 10."""
    from agar_pipeline.plates.generate import generate_plates

    if source == GENERATED:
        source = str(scratch / GENERATED)
        generate_plates(Path(source), PLATES, SIDE_PX, seed=3)
    return load_source(source, scratch)
