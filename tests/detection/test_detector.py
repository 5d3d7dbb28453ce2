"""Targets, detectors behind one convention, weights and checkpoints."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from agar_pipeline.config import DataConfig, ModelConfig
from agar_pipeline.detection.checkpoint import CheckpointFacts, load_checkpoint, save_checkpoint
from agar_pipeline.detection.coco import CocoColumns
from agar_pipeline.detection.dataset import DetectionDataset, augment_image, build_loader
from agar_pipeline.detection.model import DetectorSpec, build_detector, make_spec
from agar_pipeline.detection.predict import Predictor, find_capped_images
from agar_pipeline.detection.tiny import fit_anchor_sizes
from agar_pipeline.detection.weights import load_weights
from agar_pipeline.errors import AnnotationError, ArtifactError, ConfigError


def make_columns(folder: Path, boxes: list[list[float]], size_wh: tuple[int, int] = (80, 40)) -> CocoColumns:
    """One photo with these boxes, of the categories 3, 7, 3, 7…"""
    width, height = size_wh
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / "a.png")
    count = len(boxes)
    return CocoColumns(
        image_ids=np.array([11]),
        file_names=np.array(["a.png"], dtype=object),
        sizes_wh=np.array([size_wh]),
        annotation_ids=np.arange(count),
        annotation_image_ids=np.full(count, 11),
        annotation_category_ids=np.array([3, 7] * count)[:count],
        boxes_xywh=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        iscrowd=np.zeros(count, bool),
        category_ids=np.array([7, 3]),
        class_names=("seven", "three"),
    )


def spec_of(name: str, **changes: object) -> DetectorSpec:
    sides = np.array([12.0, 16, 20, 30])
    spec = make_spec(ModelConfig(name=name), 3, 320 if name.startswith("ssd") else 128, sides, 10)
    return dataclasses.replace(spec, **changes)


def test_a_target_is_clipped_scaled_and_labelled_from_1(tmp_path: Path) -> None:
    columns = make_columns(tmp_path, [[10, 10, 20, 10], [70, 30, 40, 40], [90, 0, 5, 5], [5, 5, 0, 5]])
    image, target = DetectionDataset(columns, tmp_path, 160)[0]
    assert image.shape == (3, 80, 160)
    assert image.dtype == torch.uint8
    assert target["boxes"].tolist() == [[20, 20, 60, 40], [140, 60, 160, 80]]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [1, 2]
    assert target["image_id"] == 11


def test_a_target_may_be_empty_and_must_be_finite(tmp_path: Path) -> None:
    _, target = DetectionDataset(make_columns(tmp_path, []), tmp_path, 160)[0]
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].shape == (0,)
    with pytest.raises(AnnotationError, match="inf"):
        DetectionDataset(make_columns(tmp_path, [[1, 1, np.inf, 2]]), tmp_path, 160)


def test_augmented_boxes_follow_the_pixels() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[10:20, 20:50] = 200
    box = np.array([[20, 10, 50, 20]], np.float32)
    shapes = set()
    for seed in range(40):
        turned, boxes = augment_image(pixels, box, DataConfig(brightness=0.0), np.random.default_rng(seed))
        rows, cols = np.nonzero(turned[..., 0])
        assert boxes[0].tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        shapes.add((turned.shape[:2], *boxes[0].tolist()))
    assert len(shapes) == 8


def test_augmentation_depends_on_seed_epoch_and_index_only(tmp_path: Path) -> None:
    columns = make_columns(tmp_path, [[10, 10, 20, 10]])
    first, second = (DetectionDataset(columns, tmp_path, 80, DataConfig(), seed=5) for _ in range(2))
    boxes = []
    for epoch in range(8):
        first.epoch.fill_(epoch)
        second.epoch.fill_(epoch)
        assert torch.equal(first[0][1]["boxes"], second[0][1]["boxes"])
        boxes.append(tuple(first[0][1]["boxes"][0].tolist()))
    assert len(set(boxes)) > 1


def test_loaders_of_two_ranks_share_every_image_once() -> None:
    class Numbers(DetectionDataset):
        def __init__(self) -> None:
            self.seed = 0

        def __len__(self) -> int:
            return 7

        def __getitem__(self, index: int) -> tuple[torch.Tensor, dict]:
            return torch.zeros(1), {"image_id": index}

    shares = [
        [t["image_id"] for _, targets in build_loader(Numbers(), 4, 0, rank=r, world_size=2) for t in targets]
        for r in range(2)
    ]
    assert sorted(shares[0] + shares[1]) == list(range(7))


@pytest.mark.parametrize(
    ("low", "high"),
    [pytest.param(5, 7, id="6 px"), pytest.param(12, 25, id="17 px"), pytest.param(50, 70, id="60 px"),
     pytest.param(10, 120, id="10 to 120 px")],
)  # fmt: skip
def test_anchors_match_most_boxes(low: float, high: float) -> None:
    sides = np.linspace(low, high, 200)
    anchors = np.concatenate([np.array(a) for a in fit_anchor_sizes(sides).values()])
    ratio = np.minimum(sides[:, None] / anchors, anchors / sides[:, None]) ** 2
    assert (ratio.max(axis=1) >= 0.5).mean() > 0.85
    assert fit_anchor_sizes(np.zeros(0))


FAMILIES = [
    "tiny",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_learns_and_answers_in_labels_from_1(name: str) -> None:
    torch.manual_seed(0)
    spec = spec_of(name, score_floor=0.0)
    detector = build_detector(spec).train()
    side = spec.input_size
    images = [torch.randint(0, 255, (3, side, side), dtype=torch.uint8) for _ in range(2)]
    some = {"boxes": torch.tensor([[10.0, 10, 30, 30], [40, 40, 60, 60]]), "labels": torch.tensor([1, 3])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    loss = sum(detector(images, [some, none]).values())
    loss.backward()
    assert torch.isfinite(loss)
    with torch.inference_mode():
        answers = detector.eval()([images[0][:, : side // 2]])
    labels = torch.cat([answer["labels"] for answer in answers])
    boxes = torch.cat([answer["boxes"] for answer in answers])
    assert set(labels.tolist()) <= {1, 2, 3}
    assert len(labels)
    assert boxes[:, 0::2].max() <= side
    assert boxes[:, 1::2].max() <= side // 2


@pytest.mark.parametrize("name", ["tiny", "fcos_resnet50_fpn"])
def test_a_detector_without_background_learns_the_label_it_was_shown(name: str) -> None:
    """Off by one, label 3 of 3 would not fit, and label 1 would come back as 0 or 2."""
    detector = build_detector(spec_of(name)).train()
    seen = []
    detector.model.head.compute_loss = lambda targets, *_: seen.extend(t["labels"].tolist() for t in targets) or {}
    images = [torch.zeros(3, 128, 128, dtype=torch.uint8)]
    detector(images, [{"boxes": torch.tensor([[10.0, 10, 30, 30]]), "labels": torch.tensor([3])}])
    assert seen == [[2]]


def test_crowded_plates_are_not_clipped_by_caps() -> None:
    assert make_spec(ModelConfig(), 1, 512, np.array([12.0]), 700).detections_per_image == 1400
    model = build_detector(spec_of("fasterrcnn_mobilenet_v3_large_320_fpn", detections_per_image=1400)).model
    assert model.roi_heads.detections_per_img == 1400
    assert model.rpn.post_nms_top_n() >= 1400
    assert build_detector(spec_of("tiny", detections_per_image=1400)).model.topk_candidates >= 1400


@pytest.mark.parametrize("name", ["yolo", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"])
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="fcos_resnet50_fpn"):
        make_spec(ModelConfig(name=name), 3, 320, np.array([12.0]), 10)


def test_weights_of_91_classes_fit_but_for_the_head(tmp_path: Path) -> None:
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    pretrained = build_detector(spec_of(name, num_classes=90)).model
    torch.save(pretrained.state_dict(), tmp_path / "coco.pth")
    model = build_detector(spec_of(name)).model
    left = load_weights(model, name, str(tmp_path / "coco.pth"))
    assert left
    assert all("box_predictor" in key for key in left)
    assert torch.equal(model.backbone.body["0"][0].weight, pretrained.backbone.body["0"][0].weight)
    with pytest.raises(ConfigError, match="does not fit tiny"):
        load_weights(build_detector(spec_of("tiny")).model, "tiny", str(tmp_path / "coco.pth"))


def test_missing_weights_are_refused_with_a_choice() -> None:
    model = build_detector(spec_of("tiny")).model
    with pytest.raises(ConfigError, match="neither a file nor weights of tiny"):
        load_weights(model, "tiny", "nowhere.pth")
    with pytest.raises(ConfigError, match="COCO_V1"):
        load_weights(model, "fcos_resnet50_fpn", "COCO_V9")


def test_a_checkpoint_alone_predicts_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    columns = make_columns(tmp_path, [[10, 10, 20, 10]])
    spec = spec_of("tiny", num_classes=2, score_floor=0.0, detections_per_image=20)
    facts = CheckpointFacts(spec, ("three", "seven"), (3, 7), "bf16-mixed", True, 1, 2, 0.4, {"map_50": None})
    detector = build_detector(spec).eval()
    save_checkpoint(tmp_path / "a.ckpt", detector, facts)
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["class_names"] == ["three", "seven"]
    predictor = Predictor.load(tmp_path / "a.ckpt", "cpu")
    assert predictor.facts == facts
    seen = predictor.predict(columns, tmp_path, cap_may_rise=False)
    direct = dataclasses.replace(predictor, detector=detector).predict(columns, tmp_path, cap_may_rise=False)
    assert np.allclose(seen.boxes_xywh, direct.boxes_xywh, atol=1e-3)
    assert set(seen.category_ids.tolist()) <= {3, 7}
    ends = seen.boxes_xywh[:, :2] + seen.boxes_xywh[:, 2:]
    assert (seen.boxes_xywh >= 0).all()
    assert (ends <= [80, 40]).all()
    assert find_capped_images(seen, 20) == [11]
    assert len(predictor.predict_image(tmp_path / "a.png")) == len(seen)
    everything = predictor.predict(columns, tmp_path)
    assert len(everything) > 20, "the cap rises until no image reaches it"
    assert not find_capped_images(everything, predictor.detector.detections_per_image)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 nothing")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    for name in ("cut.ckpt", "other.ckpt", "none.ckpt"):
        with pytest.raises(ArtifactError, match=name):
            load_checkpoint(tmp_path / name)
