"""`agar predict`'s way over photos: against a plain loop over torchvision's model, and what counting adds to it.

`predict`: PIL, to_tensor, and the model with its own resize, on the same weights and the same side of 512 px, reached
from photos of 1024 px. `predict_counting`: the same photos at 1024 px with a threshold only, against all that a
calibration adds: the dish is found on each photo, and the photo is compared with the training photos. The aim is that
counting takes at most 3 % longer. One thread, by turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._timing import by_turns, print_ratio

ROUNDS = 5
COUNTING_ROUNDS = 15
"""More, because a difference of 3 % is looked for."""
PHOTOS, SIDE, MODEL_SIDE = 8, 1024, 512


def main() -> None:
    import torch

    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.counting.likeness import TrainingLikeness
    from agar_pipeline.counting.region import Region
    from agar_pipeline.detection.inference.photo_folder import count_photos, find_photos
    from agar_pipeline.scoring.count_rule import CountRule
    from benchmarks.image_feed import make_photos

    torch.set_num_threads(1)
    predictor, large = _predictor(MODEL_SIDE), _predictor(SIDE)
    theirs = _torchvision(predictor)
    rule = CountRule(0.5)
    full = Calibration(rule, region=Region("dish"), likeness=TrainingLikeness({}, 1.0, 1))
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), PHOTOS, SIDE)
        paths = find_photos([Path(folder)])
        seconds = by_turns(
            ROUNDS,
            clock=time.process_time,
            plain=lambda: _plain(theirs, paths),
            ours=lambda: list(count_photos(predictor, paths, Calibration(rule))),
        )
        seconds |= by_turns(
            COUNTING_ROUNDS,
            clock=time.process_time,
            threshold_only=lambda: list(count_photos(large, paths, Calibration(rule))),
            counting=lambda: list(count_photos(large, paths, full)),
        )
    for name, values in seconds.items():
        print(f"predict: {name} {PHOTOS / statistics.median(values):.1f} images a CPU second")
    print_ratio("predict", seconds["plain"], seconds["ours"], aim=1)
    print_ratio("predict_counting", seconds["threshold_only"], seconds["counting"], aim=0.97)


def _predictor(side: int) -> Any:
    """`tiny` with random weights for photos of this side."""
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.models.checkpoint import CheckpointFacts
    from agar_pipeline.detection.models.detector import build_detector
    from agar_pipeline.detection.models.spec import DetectorSpec

    spec = DetectorSpec("tiny", 3, side, 300, 0.05, {8: (16.0, 22.0), 16: (32.0, 45.0)})
    facts = CheckpointFacts(spec, ("a", "b", "c"), (1, 2, 3), "32-true", False, 0, 1, 0.5, {})
    return Predictor(build_detector(spec).eval(), facts, "cpu", "32-true")


def _torchvision(predictor: Any) -> Any:
    """The same model and weights with torchvision's own resize and normalisation."""
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    model = _predictor(MODEL_SIDE).detector
    model.load_state_dict(predictor.detector.state_dict())
    old = model.model.transform
    model.model.transform = GeneralizedRCNNTransform(MODEL_SIDE, MODEL_SIDE, old.image_mean, old.image_std)
    return model.model.eval()


def _plain(model: Any, paths: list[Path]) -> None:
    import torch
    from PIL import Image
    from torchvision.transforms.functional import to_tensor

    with torch.inference_mode():
        for path in paths:
            model([to_tensor(Image.open(path).convert("RGB"))])


if __name__ == "__main__":
    main()
