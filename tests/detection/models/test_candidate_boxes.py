"""Candidates before NMS: where a detector leaves some out it says so, and looks again until none is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agar_pipeline.coco.detections import Detections
from agar_pipeline.detection.inference.batches import MOST_DETECTIONS, predict_uncapped
from agar_pipeline.detection.inference.export_onnx import _trace
from agar_pipeline.detection.inference.onnx_model import OnnxFacts, OnnxModel
from agar_pipeline.detection.models.detector import Detector, build_detector
from tests.detection.models.test_detector import FAMILIES, spec_of

FEW, ANY = 40, 10**6
NEVER_REACHED = 9_000
"""A cap on detections; all that is cut here is cut before NMS."""


def make_detector(name: str) -> Detector:
    """Untrained, with scores spread as a trained one's are."""
    torch.manual_seed(0)
    detector = build_detector(spec_of(name, detections_per_image=NEVER_REACHED)).eval()
    for path, module in detector.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and any(
            word in path for word in ("cls_logits", "cls_score", "bbox_ctrness", "classification_head.module_list")
        ):
            nn.init.normal_(module.weight, std=0.3)
    return detector


def allow(detector: Detector, candidates: int) -> None:
    """Before NMS; the cap on detections stays."""
    model: Any = detector.model
    if detector.family.candidates_are_costly:
        model.rpn._pre_nms_top_n["testing"] = model.rpn._post_nms_top_n["testing"] = candidates
    else:
        model.topk_candidates = candidates


def picture(name: str) -> torch.Tensor:
    side = 320 if name.startswith("ssd") else 96
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8))


def as_rows(detections: Detections) -> np.ndarray:
    columns = [detections.scores[:, None], detections.category_ids[:, None], detections.boxes_xywh]
    rows = np.concatenate(columns, axis=1)
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("name", FAMILIES)
@torch.inference_mode()
def test_what_is_left_out_before_nms_is_said_and_found(name: str) -> None:
    detector, image = make_detector(name), picture(name)
    allow(detector, ANY)
    (whole,) = detector([image])
    assert whole["cut_at"] is None
    allow(detector, FEW)
    both = detector([torch.zeros_like(image), image])
    cut_at = both[1]["cut_at"]
    assert cut_at is not None
    if detector.family.candidates_are_costly:
        assert cut_at == 1, "how the second head would judge a proposal that it is not shown is not known"
    else:
        scores = [np.sort(found["scores"].numpy()) for found in (whole, both[1])]
        sure = [found[found > cut_at + 1e-4] for found in scores]  # last bits depend on the batch
        assert len(sure[0]) == len(sure[1]), "above that score nothing is lost"
    assert len(whole["scores"]) > len(both[1]["scores"]), "below it something is"
    batches = [([image], [{"image_id": 3, "size_wh": (image.shape[2], image.shape[1])}])]
    place = np.array([1, 2, 3]), "cpu", "32-true"
    found = predict_uncapped(detector, batches, *place, most=MOST_DETECTIONS)
    assert not found.complete_from
    allow(detector, ANY)
    wanted = predict_uncapped(detector, batches, *place, most=NEVER_REACHED)
    assert np.allclose(as_rows(found), as_rows(wanted), atol=1e-4)
    allow(detector, FEW)
    incomplete = predict_uncapped(detector, batches, *place, most=NEVER_REACHED)
    assert incomplete.complete_from > 0, "where no cap may rise, it is said"
    known = [of.take(np.flatnonzero(of.scores > incomplete.complete_from + 1e-4)) for of in (incomplete, wanted)]
    assert np.allclose(as_rows(known[0]), as_rows(known[1]), atol=1e-4)


@torch.inference_mode()
def test_proposals_that_are_held_for_background_are_not_missed() -> None:
    detector = make_detector("fasterrcnn_mobilenet_v3_large_320_fpn")
    allow(detector, FEW)
    nn.init.constant_(detector.model.rpn.head.cls_logits.bias, -100)
    assert detector([picture("")])[0]["cut_at"] is None


@pytest.mark.parametrize(
    "name", ["tiny", "fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large", *FAMILIES[-2:]]
)
@torch.inference_mode()
def test_an_onnx_file_says_the_same(name: str, tmp_path: Path) -> None:
    detector, image = make_detector(name), picture(name)
    allow(detector, FEW)
    facts = OnnxFacts(("a", "b", "c"), (1, 2, 3), 0.3, image.shape[2], None, NEVER_REACHED)
    _trace(detector, name, tmp_path / "M.onnx", facts)
    session = OnnxModel.load(tmp_path / "M.onnx")._session
    for shown in (image, image[:, : image.shape[1] // 2].contiguous(), torch.zeros_like(image)):
        ours = detector([shown])[0]["cut_at"]
        (theirs,) = session.run(["left_out"], {"image": shown.numpy()})
        assert float(theirs) == pytest.approx(-1 if ours is None else ours, abs=1e-5)
