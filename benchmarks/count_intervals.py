"""Intervals of counts on plates that nothing was trained or calibrated on: how often they hold, how wide they are.

Of each set, a model is trained on a part; the other photos are divided at random, 200 times, into plates that choose
the threshold and calibrate the intervals, and plates that test them. The share of test plates with the true count
within is compared with the stated 90 %: each ratio is 3 points over the distance, so 1 is reached within ±3 points. The
naive interval beside them is p ± 1.645·√p, as if the counts were Poisson. Simulated counts come first.

`make bench NAME=count_intervals` takes two minutes with generated plates. With INTERVALS_DATA="FOLDER …" (photos
`N.jpg` beside AGAR's `N.json`) and INTERVALS_SECONDS=180, each folder takes about 6 minutes on two cores.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._timing import report_ratio
from benchmarks.peer import EXPERIMENT, prepare

COVERAGE, DIVISIONS, POINTS = 0.9, 200, 3
HELD_OUT = 0.65
"""Share of the photos that the model is not trained on."""


def main() -> None:
    print("| plates | calibrated on | stated | found | mean width | naive: found | naive: width |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    ratios = {"simulation": _row("simulated, 120", list(_simulated(120)))}
    with tempfile.TemporaryDirectory() as name:
        for folder in _folders(Path(name)):
            prepared = prepare(folder, Path(name) / f"prepared-{folder.name}", HELD_OUT)
            columns, colonies = train_and_predict(prepared, float(os.environ.get("INTERVALS_SECONDS", "40")))
            plates = len(columns.image_ids)
            ratios[folder.name] = _row(f"{folder.name}, {plates}", list(divisions(columns, colonies)))
    for name, ratio in ratios.items():
        report_ratio(f"count_intervals_{name}", ratio, aim=1, remark=f"{POINTS} points over the distance from 90 %")


def _folders(scratch: Path) -> Iterator[Path]:
    yield from map(Path, os.environ.get("INTERVALS_DATA", "").split())
    if not os.environ.get("INTERVALS_DATA"):
        from agar_pipeline.plates.generate import generate_plates

        generate_plates(scratch / "generated", 120, size_px=512, seed=3, colonies_per_plate=(0, 60))
        yield scratch / "generated"


def train_and_predict(prepared: Path, seconds: float) -> tuple[Any, Any]:
    """The annotations and the colonies of the photos that the model has not seen, all classes as one.

    A fifth of the other photos is the training's val.
    """
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.config import load_experiment
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.training.train import train
    from agar_pipeline.scoring.suppression import suppress_across_classes

    seen, unseen = (_as_one_class(read_coco(prepared / f"{part}.json")) for part in ("train", "val"))
    rows = np.arange(len(seen.image_ids))
    words = [*EXPERIMENT, f"trainer.max_seconds={seconds}", "data.batch_size=auto", "data.input_size=auto"]
    config = load_experiment("demo", words).training_run
    parts = seen.take_images(rows[rows % 5 > 0]), seen.take_images(rows[rows % 5 == 0])
    with tempfile.TemporaryDirectory() as name:
        train(config, *parts, prepared / "images", Path(name), lambda text: None)
        predictor = Predictor.load(Path(name) / "checkpoints" / "best.ckpt", "cpu")
        return unseen, suppress_across_classes(predictor.predict(unseen, prepared / "images"))


def _as_one_class(columns: Any) -> Any:
    ids = np.ones(len(columns.annotation_ids), np.int64)
    return dataclasses.replace(
        columns, annotation_category_ids=ids, category_ids=np.array([1]), class_names=("colony",)
    )


def divisions(columns: Any, colonies: Any) -> Iterator[tuple[np.ndarray, ...]]:
    """Of each division: counts of the calibration plates without own threshold, their true ones; both of the test."""
    from agar_pipeline.counting.threshold import CountTable, middle_of_the_best, search_thresholds

    table = search_thresholds(columns, colonies, "count_error").everything
    rng, plates = np.random.default_rng(0), len(table.annotated)
    for _ in range(DIVISIONS):
        order = rng.permutation(plates)
        val, test = order[: max(30, plates // 2)], order[max(30, plates // 2) :]
        own = CountTable(*(values[val] for values in vars(table).values()))
        predicted = table.predicted[test, middle_of_the_best(own.merits("count_error"))[0]]
        yield own.counts_without_own("count_error"), own.annotated, predicted, table.annotated[test]


def _simulated(plates: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Log-normal true counts; each plate has its own share of found colonies, and some false ones."""
    rng = np.random.default_rng(0)
    for _ in range(DIVISIONS):
        true = rng.lognormal(np.log(30), 1.1, plates).astype(np.int64)
        predicted = rng.binomial(true, rng.beta(18, 2, plates)) + rng.poisson(1, plates)
        half = plates // 2
        yield predicted[:half], true[:half], predicted[half:], true[half:]


def _row(name: str, divided: list[tuple[np.ndarray, ...]]) -> float:
    from agar_pipeline.counting.intervals import fit_intervals

    found = []
    for known_predicted, known_true, predicted, true in divided:
        bounds = fit_intervals(known_predicted, known_true, COVERAGE).of(predicted)
        assert bounds is not None
        spread = 1.645 * np.sqrt(predicted)
        naive = np.maximum(0, np.ceil(predicted - spread)), np.floor(predicted + spread)
        found.append([value for low, high in (bounds, naive) for value in _coverage_and_width(low, high, true)])
    held, width, naive_held, naive_width = np.mean(found, axis=0)
    print(
        f"| {name} | {len(divided[0][0])} | {COVERAGE:.0%} | {held:.1%} | {width:.1f} | {naive_held:.1%} "
        f"| {naive_width:.1f} |",
        flush=True,
    )
    return POINTS / 100 / max(abs(held - COVERAGE), 1e-3)


def _coverage_and_width(low: np.ndarray, high: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    return float(((low <= true) & (true <= high)).mean()), float((high - low).mean())
