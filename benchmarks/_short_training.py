"""Trains `tiny` for some steps on one thread, by the defaults of an experiment with `data: auto`.

Here: what `label_review`, `label_correction` and `active_choice` have in common. Not here: what they compare.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agar_pipeline.coco.columns import CocoColumns, read_coco

if TYPE_CHECKING:
    from agar_pipeline.detection.inference.predict import Predictor

GENERATED = "generated"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Where the real data lies, if anywhere."""
_BASE = ["data=auto", "trainer=cpu_minute", "data.batch_size=auto", "data.input_size=auto"]
_VALIDATED = 4
"""Number of images that the training itself validates on, which takes time and is not read."""


def name_of(source: str) -> str:
    """`generated`, or the folder's name."""
    return source if source == GENERATED else Path(source).name.partition(":")[0]


def is_there(source: str) -> bool:
    """Whether a source can be loaded."""
    return source == GENERATED or Path(source.partition(":")[0]).is_dir()


def load_source(source: str, scratch: Path) -> tuple[CocoColumns, Path]:
    """All labelled images of a source as one COCO file, and the folder of its images.

    `source`: `generated` for 48 crowded plates, or a folder of AGAR's or Pascal VOC's format, as in `recipe`.
    """
    from agar_pipeline.plates.generate import generate_plates
    from benchmarks.recipe import prepare

    if source == GENERATED:
        source = str(scratch / GENERATED)
        generate_plates(Path(source), 48, size_px=400, seed=3, colonies_per_plate=(5, 45))
    folder = prepare(source, scratch, val_share=0)
    return read_coco(folder / "train.json"), folder / "images"


def train_short(
    train_columns: CocoColumns,
    val_columns: CocoColumns,
    images_dir: Path,
    steps: int,
    seed: int,
    scratch: Path,
    all_columns: CocoColumns | None = None,
) -> Predictor:
    """A model after so many steps; `all_columns`: where scale and crops are fitted, if not to the training images."""
    import torch

    from agar_pipeline.config import load_experiment
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.training.train import train

    torch.set_num_threads(1)
    limits = [f"trainer.max_steps={steps}", "trainer.max_seconds=null", "trainer.val_every_n_epochs=100000"]
    config = load_experiment("demo", [*_BASE, *limits, f"seed={seed}"]).training_run
    few = val_columns.take_images(np.arange(min(_VALIDATED, len(val_columns.image_ids))))
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        train(config, train_columns, few, images_dir, Path(out), lambda text: None, all_columns=all_columns)
        return Predictor.load(Path(out) / "checkpoints" / "best.ckpt", "cpu")
