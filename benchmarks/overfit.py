"""Each family of detectors learns eight plates by heart: mAP@50 on the plates that it was trained on.

A family whose targets, losses or boxes are wrong somewhere does not get there. It is trained by the pipeline's own
training, without augmentation, for the number of steps of its row; D-FINE, RT-DETRv2 and the backbone of timm are small
ones with random weights. Each ratio is mAP@50 over 0.9. All of them take about 40 minutes of one core.
OVERFIT="dfine retinanet" trains some of them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks._timing import report_ratio

PLATES, SIDE, BATCH = 8, 128, 4
COLONIES = (3, 8)
COPIES = 16
"""Each plate is listed as often, so that an epoch has 32 steps."""
AIM = 0.9
UNCHANGED = ["data.flip=false", "data.quarter_turns=false", "data.brightness=0", "data.copy_paste=0"]
"""No augmentation."""
BACKBONE = "model.backbone=timm/test_resnet.r160_in1k"
MODELS: dict[str, tuple[int, float, list[str]]] = {
    "tiny": (6, 2e-3, []),
    "retinanet": (10, 1e-3, [BACKBONE]),
    "fasterrcnn": (10, 1e-3, [BACKBONE]),
    "dfine": (38, 2e-3, []),
    "rtdetr_v2": (50, 5e-3, []),
}
"""`model.name` → epochs, learning rate, further words."""


def main() -> None:
    import torch

    from tests.detection.models.small_detrs import SMALL, save_small

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in os.environ.get("OVERFIT", " ".join(MODELS)).split():
            epochs, lr, words = MODELS[name]
            if name in SMALL:
                torch.manual_seed(0)
                save_small(name, root / name, ("colony",))
                words = [f"model.weights={root / name}"]
            started = time.process_time()
            map_50 = overfit([f"model.name={name}", f"optimizer.lr={lr}", *words], epochs, root)
            seconds = time.process_time() - started
            remark = f"mAP@50 {map_50:.3f} after {epochs * COPIES * PLATES // BATCH} steps, {seconds:.0f} CPU s"
            report_ratio(f"overfit_{name}", map_50 / AIM, aim=1, remark=remark)


def overfit(words: list[str], epochs: int, root: Path) -> float:
    """mAP@50 of a model on the plates that it was trained on."""
    from agar_pipeline.config import load_experiment
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.training.train import train
    from agar_pipeline.scoring.average_precision import coco_metrics
    from benchmarks.image_feed import columns_of, make_photos

    folder = root / "plates"
    shutil.rmtree(folder, ignore_errors=True)
    photos = make_photos(folder, PLATES, SIDE, COLONIES)
    copies = {f"{copy}-{name}": boxes for copy in range(COPIES) for name, boxes in photos.items()}
    for name in copies:
        (folder / name).hardlink_to(folder / name.partition("-")[2])
    plates, learnt = columns_of(photos, SIDE, 1), columns_of(copies, SIDE, 1)
    common = ["trainer=cpu_minute", f"data.batch_size={BATCH}", f"data.input_size={SIDE}", *UNCHANGED]
    ends = [f"trainer.max_epochs={epochs}", "trainer.max_seconds=null", f"trainer.val_every_n_epochs={epochs}"]
    config = load_experiment("demo", [*common, *ends, "trainer.precision=32-true", *words]).training_run
    with tempfile.TemporaryDirectory() as out:
        train(config, learnt, plates, folder, Path(out), lambda text: None)
        predictor = Predictor.load(Path(out) / "checkpoints" / "best.ckpt", "cpu")
        return float(coco_metrics(plates, predictor.predict(plates, folder))["map_50"])


if __name__ == "__main__":
    main()
