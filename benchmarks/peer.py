"""Time to accuracy against the usual peer: ours by the defaults, and Ultralytics' smallest model, both from scratch.

The same split, the same seconds on the same cores, by turns; both are scored by the same code, each at the score
threshold that counts best on val. The peer is AGPL and never a dependency: it is installed into a folder of its own.

`make bench NAME=peer` takes 60 s of each on generated plates; PEER_SECONDS="60 180 600", PEER_SEEDS="0 1 2" and
PEER_DATA="FOLDER …" (photos `N.jpg` beside AGAR's `N.json`; `generated` for those plates) ask for more. With
BENCH_RESULTS=FILE each run adds a line to it, and what it holds already is not run again: all of it takes four hours.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._kept_results import kept
from benchmarks._timing import report_ratio

PACKAGES = (
    "ultralytics==8.4.190",
    "ultralytics-thop",
    "opencv-python-headless",
    "polars",
    "polars-runtime-32",
    "py-cpuinfo",
)
"""Beside what the project has anyway: torch, torchvision, pillow, pyyaml."""
PEER_SIDE = 640
PEER_BATCH = 8
VAL_SHARE = 0.2
LEAST_SCORE = 0.001
EXPERIMENT = ["data=auto", "trainer=cpu_minute"]


def main() -> None:
    budgets = [float(word) for word in os.environ.get("PEER_SECONDS", "60").split()]
    seeds = [int(word) for word in os.environ.get("PEER_SEEDS", "0").split()]
    with tempfile.TemporaryDirectory() as name:
        site = _install_peer(Path(name) / "peer")
        for folder in _datasets(Path(name)):
            prepared = prepare(folder, Path(name) / f"prepared-{folder.name}")
            found: dict[tuple[str, float], list[dict[str, float]]] = {}
            for seconds in budgets:
                for seed in seeds:
                    for who, do in (("ours", _run_ours), ("peer", _run_peer)):
                        name_of_run = f"{folder.name} {seconds:g} s seed {seed} {who}"
                        scores = kept(f"peer: {name_of_run}", partial(do, prepared, seconds, seed, site))
                        found.setdefault((who, seconds), []).append(scores)
                        print(f"{name_of_run}: {_words(scores)}", flush=True)
            _report(folder.name, budgets, found)


def _datasets(scratch: Path) -> Iterator[Path]:
    for word in os.environ.get("PEER_DATA", "generated").split():
        if word != "generated":
            yield Path(word)
            continue
        from agar_pipeline.plates.generate import generate_plates

        generate_plates(scratch / word, 40, size_px=2048, seed=3, colonies_per_plate=(5, 90))
        yield scratch / word


def _install_peer(site: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, *PACKAGES], check=True)
    return site


def prepare(folder: Path, out: Path, val_share: float = VAL_SHARE) -> Path:
    """`train.json` and `val.json` for ours, `data.yaml` and text files for the peer, of AGAR's format."""
    from PIL import Image

    paths = sorted(folder.glob("*.json"))
    random.Random(0).shuffle(paths)
    val = max(1, round(val_share * len(paths)))
    plain = {path: json.loads(path.read_text()) for path in paths}
    names = sorted({label["class"] for one in plain.values() for label in one["labels"]})
    for part, chosen in {"val": paths[:val], "train": paths[val:]}.items():
        for kind in ("images", "labels"):
            (out / kind / part).mkdir(parents=True)
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for number, path in enumerate(chosen, start=1):
            photo = path.with_suffix(".jpg")
            width, height = Image.open(photo).size
            images.append({"id": number, "file_name": f"{part}/{photo.name}", "width": width, "height": height})
            shutil.copyfile(photo, out / "images" / part / photo.name)  # a link out of the folder is refused
            lines = []
            for label in plain[path]["labels"]:
                x, y = max(0, label["x"]), max(0, label["y"])
                w, h = min(width, label["x"] + label["width"]) - x, min(height, label["y"] + label["height"]) - y
                if w <= 0 or h <= 0:
                    continue
                category = names.index(label["class"])
                box = {"id": len(boxes) + 1, "image_id": number, "category_id": category + 1, "bbox": [x, y, w, h]}
                boxes.append(box | {"area": w * h, "iscrowd": 0})
                middle = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                lines.append(" ".join(map(str, (category, *middle))))
            (out / "labels" / part / f"{photo.stem}.txt").write_text("\n".join(lines))
        categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        (out / f"{part}.json").write_text(
            json.dumps({"images": images, "annotations": boxes, "categories": categories})
        )
    data = {"path": str(out), "train": "images/train", "val": "images/val", "names": dict(enumerate(names))}
    (out / "data.yaml").write_text(json.dumps(data))  # YAML reads JSON
    return out


def _run_ours(prepared: Path, seconds: float, seed: int, site: Path) -> dict[str, float]:
    return _child("ours", prepared, seconds, seed, {})


def _run_peer(prepared: Path, seconds: float, seed: int, site: Path) -> dict[str, float]:
    return _child("theirs", prepared, seconds, seed, {"PYTHONPATH": str(site), "YOLO_CONFIG_DIR": str(site)})


def _child(who: str, prepared: Path, seconds: float, seed: int, env: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.peer", who, str(prepared), str(seconds), str(seed)]
    paths = os.pathsep.join(filter(None, [str(Path.cwd()), env.get("PYTHONPATH", "")]))
    done = subprocess.run(
        command, cwd=prepared, env=os.environ | env | {"PYTHONPATH": paths}, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    scores: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return scores


def train_ours(prepared: Path, seconds: float, seed: int) -> Any:
    """Detections of val, by the defaults."""
    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.config import load_experiment
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.training.train import train

    seen, unseen = (read_coco(prepared / f"{part}.json") for part in ("train", "val"))
    words = [*EXPERIMENT, f"trainer.max_seconds={seconds}", f"seed={seed}", "data.batch_size=auto"]
    config = load_experiment("demo", [*words, "data.input_size=auto"]).training_run
    with tempfile.TemporaryDirectory() as name:
        train(config, seen, unseen, prepared / "images", Path(name), lambda text: None)
        predictor = Predictor.load(Path(name) / "checkpoints" / "best.ckpt", "cpu")
        return predictor.predict(unseen, prepared / "images")


def train_theirs(prepared: Path, seconds: float, seed: int) -> Any:
    """Detections of val by the peer's smallest model, trained from scratch for as long."""
    import numpy as np
    import torch
    from ultralytics import YOLO, settings

    from agar_pipeline.coco.columns import read_coco
    from agar_pipeline.coco.detections import Detections

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    settings.update({"mlflow": False})  # it would log into the current folder, or to a server that a variable names
    columns = read_coco(prepared / "val.json")
    model = YOLO("yolo11n.yaml")
    with tempfile.TemporaryDirectory() as name:
        model.train(
            data=str(prepared / "data.yaml"), time=seconds / 3600, epochs=10_000, imgsz=PEER_SIDE, batch=PEER_BATCH,
            device="cpu", workers=0, pretrained=False, val=False, plots=False, verbose=False, seed=seed, project=name,
        )  # fmt: skip
        model = YOLO(next(Path(name).rglob("last.pt")))
        pieces = []
        for image_id, file_name in zip(columns.image_ids.tolist(), columns.file_names.tolist(), strict=True):
            photo = prepared / "images" / str(file_name)
            found = model.predict(
                str(photo), imgsz=PEER_SIDE, conf=LEAST_SCORE, max_det=1000, device="cpu", verbose=False
            )[0].boxes
            corners = found.xyxy.double().numpy()
            xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
            ids = np.full(len(xywh), image_id, dtype=np.int64)
            pieces.append(Detections(ids, found.cls.long().numpy() + 1, xywh, found.conf.double().numpy()))
    return Detections.concatenate(pieces)


def score(prepared: Path, detections: Any) -> dict[str, float]:
    """Of val: mAP@50, mAP, and the mean absolute error of a plate's count."""
    from agar_pipeline.coco.columns import read_coco
    from benchmarks._scores import score_on_itself

    metrics = score_on_itself(read_coco(prepared / "val.json"), detections)
    return {"map_50": metrics["map_50"], "map": metrics["map"], "mae": metrics["counting"]["mae"]}


def _words(scores: dict[str, float]) -> str:
    return f"mAP@50 {scores['map_50']:.3f}, mAP {scores['map']:.3f}, count MAE {scores['mae']:.2f}"


def _report(name: str, budgets: list[float], found: dict[tuple[str, float], list[dict[str, float]]]) -> None:
    medians = {
        key: {metric: statistics.median(run[metric] for run in runs) for metric in runs[0]}
        for key, runs in found.items()
    }
    print(f"| {name} | seconds | mAP@50 | mAP | count MAE |\n| --- | --- | --- | --- | --- |")
    for (who, seconds), scores in medians.items():
        print(f"| {who} | {seconds:g} | {scores['map_50']:.3f} | {scores['map']:.3f} | {scores['mae']:.2f} |")
    best = max(medians["peer", seconds]["map_50"] for seconds in budgets)
    ours = next((seconds for seconds in budgets if medians["ours", seconds]["map_50"] >= best), None)
    theirs = next(seconds for seconds in budgets if medians["peer", seconds]["map_50"] == best)
    remark = f"of the seconds until the peer's best mAP@50 {best:.3f}"
    if ours is None:
        remark = f"none of our budgets reaches the peer's best mAP@50 {best:.3f}"
    elif not best:
        theirs, first = budgets[-1], medians["ours", budgets[0]]["map_50"]
        remark = f"at least: the peer finds nothing in {theirs:g} s, ours has mAP@50 {first:.3f} in {budgets[0]:g} s"
    report_ratio(f"peer_{name}", None if ours is None else theirs / ours, aim=1, remark=remark)


if __name__ == "__main__":
    who, folder, budget, number = sys.argv[1:]
    make = train_ours if who == "ours" else train_theirs
    print(json.dumps(score(Path(folder), make(Path(folder), float(budget), int(number)))))
