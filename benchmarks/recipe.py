"""What of the recipe of `tiny` helps: one change at a time against the defaults, on the same data, steps and seeds.

Each run is a process of its own with one thread, so that as many run at a time as there are cores. A run's length is
given in steps: a minute on two cores is about 550. `make bench NAME=recipe` tries all variants for 60 steps on small
generated plates. RECIPE_STEPS="550 1700", RECIPE_SEEDS="0 1 2", RECIPE_VARIANTS="defaults vfl" and
RECIPE_DATA="FOLDER …" ask for more; a folder holds AGAR's format (`N.jpg` beside `N.json`) or Pascal VOC's
(`Annotations`, `JPEGImages`), and `FOLDER:one` takes all classes for one. BENCH_RESULTS=FILE keeps each
finished run there, and does not run it again.

Here: variants that are keys of an experiment. Not here: those that would need code (`_recipe_patches`).
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._kept_results import kept

VARIANTS: dict[str, tuple[list[str], str | None]] = {
    "defaults": ([], None),
    "lr_1e-3": (["optimizer.lr=0.001"], None),
    "lr_4e-3": (["optimizer.lr=0.004"], None),
    "weight_decay_0.05": (["optimizer.weight_decay=0.05"], None),
    "warmup_150": (["optimizer.warmup_steps=150"], None),
    "constant_rate": (["optimizer.schedule=constant"], None),
    "ema_0.99": (["optimizer.ema_decay=0.99"], None),
    "jitter_0.25": (["data.scale_jitter=0.25"], None),
    "no_copy_paste": (["data.copy_paste=0"], None),
    "colour": (["data.contrast=0.2", "data.saturation=0.2"], None),
    "hue": (["data.hue=0.03"], None),
    "half_batch": ([], "half_batch"),
    "double_batch": ([], "double_batch"),
    "colony_16": ([], "colony_16"),
    "colony_26": ([], "colony_26"),
    "crop_224": ([], "crop_224"),
    "crop_448": ([], "crop_448"),
    "vfl": ([], "vfl"),
    "vfl_giou": ([], "vfl_giou"),
    "giou": ([], "giou"),
    "looser_match": ([], "looser_match"),
    "label_smoothing": ([], "label_smoothing"),
    "group_norm": ([], "group_norm"),
    "wide": ([], "wide"),
    "narrow": ([], "narrow"),
    "deep_head": ([], "deep_head"),
    "mosaic": ([], "mosaic"),
    "rare_classes": ([], "rare_classes"),
}
"""Name → overrides of the experiment, and the patch of the code that is put in before."""
BASE = ["data=auto", "trainer=cpu_minute", "data.batch_size=auto", "data.input_size=auto"]
VAL_SHARE = 0.2


def main() -> None:
    steps = [int(word) for word in os.environ.get("RECIPE_STEPS", "60").split()]
    seeds = [int(word) for word in os.environ.get("RECIPE_SEEDS", "0").split()]
    names = os.environ.get("RECIPE_VARIANTS", " ".join(VARIANTS)).split()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [prepare(source, Path(scratch)) for source in _sources(Path(scratch))]
        wanted = [(f, n, name, seed) for f in folders for n in steps for name in names for seed in seeds]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            results = list(pool.map(lambda one: kept(f"recipe: {one[0].name} {one[1:]}", partial(_run, *one)), wanted))
    _report([json.loads(line) for line in results])


def _sources(scratch: Path) -> list[str]:
    if given := os.environ.get("RECIPE_DATA", "").split():
        return given
    from agar_pipeline.plates.generate import generate_plates

    generate_plates(scratch / "generated", 20, size_px=640, seed=3, colonies_per_plate=(5, 60))
    return [str(scratch / "generated")]


def prepare(source: str, scratch: Path, val_share: float = VAL_SHARE) -> Path:
    """`train.json`, `val.json` and a link to the photos, from a folder of AGAR's or Pascal VOC's format."""
    place, _, mode = source.partition(":")
    out = scratch / (Path(place).name + ("-one" if mode == "one" else ""))
    out = out if not out.exists() else out.with_name(out.name + "-prepared")
    out.mkdir()
    labelled = _read_voc(Path(place)) if (Path(place) / "Annotations").is_dir() else _read_agar(Path(place))
    random.Random(0).shuffle(labelled)
    names = sorted({"colony" if mode == "one" else name for _, _, boxes in labelled for name, _ in boxes})
    val = max(1, round(val_share * len(labelled))) if val_share else 0
    for part, chosen in {"val": labelled[:val], "train": labelled[val:]}.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, (photo, (width, height), boxes) in enumerate(chosen, start=1):
            images.append({"id": number, "file_name": photo.name, "width": width, "height": height})
            for name, (x1, y1, x2, y2) in boxes:
                x1, y1, x2, y2 = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
                if x2 > x1 and y2 > y1:
                    category = names.index("colony" if mode == "one" else name) + 1
                    box = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0}
                    annotations.append(box | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (out / f"{part}.json").write_text(json.dumps(content))
    (out / "images").symlink_to(labelled[0][0].parent.resolve())
    return out


Labelled = tuple[Path, tuple[int, int], list[tuple[str, tuple[float, float, float, float]]]]


def _read_agar(folder: Path) -> list[Labelled]:
    from PIL import Image

    found: list[Labelled] = []
    for path in sorted(folder.glob("*.json")):
        labels = json.loads(path.read_text())["labels"]
        boxes = [(l["class"], (l["x"], l["y"], l["x"] + l["width"], l["y"] + l["height"])) for l in labels]  # noqa: E741
        photo = path.with_suffix(".jpg")
        with Image.open(photo) as image:
            found.append((photo, image.size, boxes))
    return found


def _read_voc(folder: Path) -> list[Labelled]:
    found: list[Labelled] = []
    for path in sorted((folder / "Annotations").glob("*.xml")):
        tree = ElementTree.parse(path)
        size_wh = (int(tree.findtext("size/width", "0")), int(tree.findtext("size/height", "0")))
        boxes = []
        for one in tree.iter("object"):
            x1, y1, x2, y2 = (float(one.findtext(f"bndbox/{key}", "0")) for key in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append((one.findtext("name", ""), (x1, y1, x2, y2)))
        found.append((folder / "JPEGImages" / f"{path.stem}.jpg", size_wh, boxes))
    return found


def _run(folder: Path, steps: int, name: str, seed: int) -> str:
    command = [sys.executable, "-m", "benchmarks.recipe", str(folder), str(steps), name, str(seed)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    line = done.stdout.splitlines()[-1]
    print(line, flush=True)
    return line


def _report(results: list[dict[str, Any]]) -> None:
    """Medians over the seeds; the difference is that of the medians to `defaults`."""
    print("| data | steps | variant | mAP@50 | mAP | count MAE | CPU s |\n| --- | --- | --- | --- | --- | --- | --- |")
    grouped: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for one in results:
        grouped.setdefault((one["data"], one["steps"], one["variant"]), []).append(one)
    for (data, steps, name), runs in grouped.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in ("map_50", "map", "mae", "cpu_s")}
        scores = f"{middle['map_50']:.3f} | {middle['map']:.3f} | {middle['mae']:.2f} | {middle['cpu_s']:.0f}"
        print(f"| {data} | {steps} | {name} | {scores} |")


def train_one(folder: Path, steps: int, name: str, seed: int) -> dict[str, Any]:
    """Train by the defaults with one thing changed, and score val as an evaluation does."""
    import torch

    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.config import load_experiment
    from agar_pipeline.detection.fitting.model_fitting import fit_config
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.training.train import train
    from benchmarks._scores import score_on_itself

    torch.set_num_threads(1)
    overrides, patch = VARIANTS[name]
    limits = [f"trainer.max_steps={steps}", "trainer.max_seconds=null", "trainer.val_every_n_epochs=10000"]
    if patch is not None:
        from benchmarks._recipe_patches import PATCHES

        steps = PATCHES[patch](steps)
        limits[0] = f"trainer.max_steps={steps}"
    parts = [read_coco(folder / f"{part}.json") for part in ("train", "val")]
    config = load_experiment("demo", [*BASE, *limits, f"seed={seed}", *overrides]).training_run
    data = fit_config(config, parts[0]).data
    with tempfile.TemporaryDirectory() as scratch:
        began = time.process_time()
        outcome = train(config, parts[0], parts[1], folder / "images", Path(scratch), lambda text: None)
        cpu_s = time.process_time() - began - outcome.validation_seconds
        predictor = Predictor.load(Path(scratch) / "checkpoints" / "best.ckpt", "cpu")
        metrics = score_on_itself(parts[1], predictor.predict(parts[1], folder / "images"))
    return {
        "data": folder.name,
        "steps": steps,
        "variant": name,
        "seed": seed,
        "scale": data.image_side,
        "crop": data.windows and data.windows.size,
        "batch": data.batch_size,
        "map_50": round(metrics["map_50"], 4),
        "map": round(metrics["map"], 4),
        "mae": round(metrics["counting"]["mae"], 3),
        "cpu_s": round(cpu_s, 1),
    }


if __name__ == "__main__":
    folder, count, variant, number = sys.argv[1:]
    print(json.dumps(train_one(Path(folder), int(count), variant, int(number))))
