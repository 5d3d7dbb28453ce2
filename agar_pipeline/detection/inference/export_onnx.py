"""Exports a checkpoint as an ONNX file for onnxruntime, and checks that both give the same detections.

The graph takes one photo or tile, (3, H, W) uint8 of any size, and contains the whole detector with its NMS. It is
traced by torch's TorchScript exporter, because this exporter keeps sizes and numbers of boxes dynamic for torchvision's
detectors.

| detector | on generated noise, random weights: largest difference of boxes (px) and scores |
| --- | --- |
| tiny | 2e-5, 2e-6 |
| fcos_resnet50_fpn | 7e-5, 1e-5 |
| retinanet_resnet50_fpn, ssdlite320 | scores 2e-6; equal scores are cut in another order, so boxes differ |
| fasterrcnn_mobilenet_v3_large_320_fpn | exports; proposals of equal scores are cut in another order |

For every detector: if the file does not agree with its checkpoint on each picture that is compared, it is deleted.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.detection.inference.onnx_model import DETECTION_COLUMNS, FACTS_KEY, OUTPUTS, OnnxFacts, OnnxModel
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, load_checkpoint
from agar_pipeline.detection.models.detector import Detector
from agar_pipeline.errors import ArtifactError
from agar_pipeline.photos.load_and_resize import load_image
from agar_pipeline.progress import Log
from agar_pipeline.text.plurals import plural

OPSET = 17
LEAST_CAP = 1000
TOLERANCE = 1e-3
"""For boxes, as a share of the picture's longer side, and for scores."""


class _Graph(torch.nn.Module):
    """One picture in, `OUTPUTS` out."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.model, self.label_shift = detector.model, detector.family.label_shift

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model([image])[0]
        found["labels"] = found["labels"] + self.label_shift
        return tuple(found[name] for name in OUTPUTS)


def export_model(
    checkpoint: Path,
    out: Path,
    photos: Sequence[Path],
    log: Log,
    calibration: Calibration | None = None,
) -> OnnxFacts:
    """Write the ONNX file of a checkpoint, and compare both on the given photos, or on generated noise.

    Raises:
        ArtifactError: the detector cannot be exported, the file does not agree, or there was no detection to compare;
            no file is left.
    """
    detector, known = load_checkpoint(checkpoint)
    if reason := detector.family.why_not_exported():
        raise ArtifactError(
            f"cannot be exported to ONNX: {reason}",
            where=known.spec.name,
            next_step="predict with the checkpoint: `agar predict --checkpoint FILE`",
        )
    detector.set_limits(max(LEAST_CAP, detector.detections_per_image))
    facts = _facts(detector, known, calibration or Predictor(detector, known, "cpu", "32-true").calibration)
    draft = out.with_name(f".{out.name}.part")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        _trace(detector, known.spec.name, draft, facts)
        pictures = _pictures(photos, known.spec.image_side, known.spec.input_size)
        compared, worst = _compare_all(detector, OnnxModel.load(draft), pictures, known.spec.name)
        if not compared:
            raise ArtifactError(
                "finds nothing on the images, so that it cannot be compared with its ONNX file; no file was left",
                where=checkpoint,
                next_step="give photos with colonies, with --images-dir or --photos",
            )
        log(
            f"the ONNX file gives the same {plural(compared, 'detection')} as its checkpoint; "
            f"boxes differ by up to {worst[0]:.1g} of a side, scores by up to {worst[1]:.1g}"
        )
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return facts


def _facts(detector: Detector, known: CheckpointFacts, calibration: Calibration) -> OnnxFacts:
    return OnnxFacts(
        known.class_names,
        known.category_ids,
        calibration.rule.least_of_all,
        known.spec.input_size,
        known.spec.tile_overlap,
        detector.detections_per_image,
        known.spec.image_side,
        calibration.to_plain(),
    )


def _trace(detector: Detector, name: str, path: Path, facts: OnnxFacts) -> None:
    import onnx

    side = facts.input_size
    picture = torch.randint(0, 255, (3, side, max(1, side * 3 // 4)), dtype=torch.uint8)
    counts = {output: {0: "detections"} for output in DETECTION_COLUMNS}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # about traced constants: the anchors are constant
            torch.onnx.export(
                _Graph(copy.deepcopy(detector)).eval(),
                (picture,),
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=list(OUTPUTS),
                dynamic_axes={"image": {1: "height", 2: "width"}, **counts},
            )
    except Exception as error:  # the exporter passes on any exception of an operator
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArtifactError(
            f"cannot be exported to ONNX: {reason}",
            where=name,
            next_step="predict with the checkpoint: `agar predict --checkpoint FILE`",
        ) from error
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {FACTS_KEY: facts.to_json()})
    onnx.save(model, path)


def _pictures(photos: Sequence[Path], image_side: int | None, input_size: int) -> list[tuple[str, np.ndarray]]:
    """(3, H, W) uint8 at the model's scale; without photos: noise in three shapes."""
    if photos:
        loaded = [(str(path), load_image(path, image_side)[0]) for path in photos]
        return [(name, np.ascontiguousarray(pixels.transpose(2, 0, 1))) for name, pixels in loaded]
    rng = np.random.default_rng(0)
    shapes = [(input_size, input_size), (input_size * 2 // 3, input_size), (input_size, input_size * 3 // 4)]
    return [(f"noise {w}×{h}", rng.integers(0, 256, (3, h, w), dtype=np.uint8)) for h, w in shapes]


def _compare_all(
    detector: Detector, model: OnnxModel, pictures: Sequence[tuple[str, np.ndarray]], kind: str
) -> tuple[int, np.ndarray]:
    """Number of matched detections on all pictures, and the largest differences, (2,), as `_compare` gives them."""
    found = [_compare(detector, model, pixels, name, kind) for name, pixels in pictures]
    return sum(count for _, count in found), np.max([difference for difference, _ in found], axis=0)


def _compare(detector: Detector, model: OnnxModel, pixels: np.ndarray, name: str, kind: str) -> tuple[np.ndarray, int]:
    """Largest differences of boxes (shares of the longer side) and of scores, and the number of matched detections."""
    with torch.inference_mode():
        answer = detector([torch.from_numpy(pixels)])[0]
    floor = detector.score_floor
    ours = [answer[key].double().numpy() for key in DETECTION_COLUMNS]
    theirs = model.run(pixels, model.facts.score_threshold)
    if len(ours[1]) == len(theirs[1]) == detector.detections_per_image:  # rounding decides which are the last
        floor = max(floor, float(ours[1].min()))
    boxes = np.abs(ours[0][:, None] - theirs[0][None]).max(axis=2) / max(pixels.shape[1:])  # (D, E)
    scores = np.abs(ours[1][:, None] - theirs[1][None])
    cost = np.maximum(boxes, scores) + 10.0 * (ours[2][:, None] != theirs[2][None])
    rows, partners = linear_sum_assignment(np.minimum(cost, 1.0))
    same = cost[rows, partners] <= TOLERANCE
    rows, partners = rows[same], partners[same]
    alone = np.concatenate([np.delete(ours[1], rows), np.delete(theirs[1], partners)])
    if (alone > floor + TOLERANCE).any():  # at the floor, rounding decides which side a score is on
        raise ArtifactError(
            f"does not agree with its checkpoint on {name}: of {len(ours[1])} and {len(theirs[1])} detections, "
            f"{plural(len(alone), 'is', 'are')} in one of them only; no file was left",
            where=f"the ONNX file of this {kind}",
            next_step="train the model further (scores of an untrained one are equal), or predict with the checkpoint",
        )
    if not len(rows):
        return np.zeros(2), 0
    return np.array([boxes[rows, partners].max(), scores[rows, partners].max()]), len(rows)
