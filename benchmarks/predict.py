"""`agar predict`'s way over photos against a plain loop over torchvision's model: PIL, to_tensor, model.

The same weights, the same side of 512 px reached from photos of 1024 (theirs: the model's own resize), one thread, by
turns.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks._timing import by_turns, print_ratio

ROUNDS = 5
PHOTOS, SIDE, MODEL_SIDE = 8, 1024, 512


def main() -> None:
    import torch
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    from agar_pipeline.counting.calibration import Calibration
    from agar_pipeline.detection.inference.photo_folder import count_photos, find_photos
    from agar_pipeline.detection.inference.predict import Predictor
    from agar_pipeline.detection.models.checkpoint import CheckpointFacts
    from agar_pipeline.detection.models.detector import build_detector
    from agar_pipeline.detection.models.families import DetectorSpec
    from agar_pipeline.scoring.counting import CountRule
    from benchmarks.image_feed import make_photos

    torch.set_num_threads(1)
    anchors = {8: (16.0, 22.0), 16: (32.0, 45.0)}
    spec = DetectorSpec("tiny", 3, MODEL_SIDE, 300, 0.05, anchors)
    ours, theirs = (build_detector(spec).eval() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    old = theirs.model.transform
    theirs.model.transform = GeneralizedRCNNTransform(MODEL_SIDE, MODEL_SIDE, old.image_mean, old.image_std)
    facts = CheckpointFacts(spec, ("a", "b", "c"), (1, 2, 3), "32-true", False, 0, 1, 0.5, {})
    predictor = Predictor(ours, facts, "cpu", "32-true")
    with tempfile.TemporaryDirectory() as folder:
        make_photos(Path(folder), PHOTOS, SIDE)
        paths = find_photos([Path(folder)])
        seconds = by_turns(
            ROUNDS,
            clock=time.process_time,
            plain=lambda: _plain(theirs.model.eval(), paths),
            ours=lambda: list(count_photos(predictor, paths, Calibration(CountRule(0.5)))),
        )
    for name, values in seconds.items():
        print(f"predict: {name} {PHOTOS / sorted(values)[ROUNDS // 2]:.1f} images a CPU second")
    print_ratio("predict", seconds["plain"], seconds["ours"], aim=1)


def _plain(model: object, paths: list[Path]) -> None:
    import torch
    from PIL import Image
    from torchvision.transforms.functional import to_tensor

    assert isinstance(model, torch.nn.Module)
    with torch.inference_mode():
        for path in paths:
            model([to_tensor(Image.open(path).convert("RGB"))])


if __name__ == "__main__":
    main()
