"""Targets, detectors behind one convention, weights and checkpoints."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.config import (
    DETECTORS,
    CountingConfig,
    DataConfig,
    ModelConfig,
    backbone_weights_of,
    from_plain,
    load_experiment,
    weights_of,
)
from agar_pipeline.counting.calibration import calibrate
from agar_pipeline.detection.fitting.model_fitting import make_spec
from agar_pipeline.detection.inference.batches import predict_uncapped
from agar_pipeline.detection.inference.predict import Predictor
from agar_pipeline.detection.loading.augmentation import augment_image
from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.detection.loading.sampling import PlainBatches, TrainBatches
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, load_checkpoint, save_checkpoint
from agar_pipeline.detection.models.detector import build_detector
from agar_pipeline.detection.models.faster_rcnn import MOST_PROPOSALS
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.detection.models.tiny import fit_anchor_sizes
from agar_pipeline.detection.models.weights import load_weights
from agar_pipeline.errors import AnnotationError, ArtifactError, ConfigError
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.score import score_detections


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


def spec_of(name: str, **changes: Any) -> DetectorSpec:
    """Of a model by its name, which is followed by ` on ` and its backbone if that is timm's."""
    sides = np.array([12.0, 16, 20, 30])
    name, _, backbone = name.partition(" on ")
    model = ModelConfig(name=name, backbone=backbone or None)
    spec = make_spec(model, 3, 320 if name.startswith("ssd") else 128, sides, 10)
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
    image = torch.zeros(3, 40, 80, dtype=torch.uint8)
    image[:, 10:20, 20:50] = 200
    box = torch.tensor([[20.0, 10, 50, 20]])
    shapes = set()
    for seed in range(60):
        turned, boxes = augment_image(image, box, DataConfig(brightness=0.0), np.random.default_rng(seed))
        rows, cols = torch.nonzero(turned[0], as_tuple=True)
        assert boxes[0].tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        shapes.add((*turned.shape[1:], *boxes[0].tolist()))
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


@pytest.mark.parametrize("size", [1, 3, 5, 8, 11, 21])
@pytest.mark.parametrize("epoch", [0, 1])
def test_two_ranks_share_the_batches_that_one_would_see(size: int, epoch: int) -> None:
    def batches(rank: int, world_size: int, start: int = 0) -> list[list[int]]:
        sampler = TrainBatches(size, 4, 7, rank, world_size)
        sampler.epoch, sampler.start = epoch, start
        return list(sampler)

    alone, pair = batches(0, 1), list(zip(batches(0, 2), batches(1, 2), strict=True))
    assert [sorted(set(first + second)) for first, second in pair] == [sorted(batch) for batch in alone]
    seen = [i for batch in alone for i in batch]
    assert sorted(seen) == list(range(size)), "each image once an epoch"
    assert max(map(len, alone)) - min(map(len, alone)) <= 1, "no last batch is tiny"
    assert max(map(len, alone)) <= 4
    assert batches(0, 1, start=1) == alone[1:], "an interrupted epoch goes on with the same batches"
    shares = [i for rank in range(2) for batch in PlainBatches(size, 2, rank, 2) for i in batch]
    assert sorted(shares) == list(range(size)), "val: every image once, none repeated"


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
    "retinanet on timm/test_resnet.r160_in1k",
    "fasterrcnn on timm/test_resnet.r160_in1k",
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
    no_gradient = [key for key, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not no_gradient, "ranks wait for the gradient of each parameter"
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
    seen: list[list[int]] = []

    def note_labels(targets: list[dict[str, torch.Tensor]], *_: Any) -> dict[str, torch.Tensor]:
        seen.extend(t["labels"].tolist() for t in targets)
        return {}

    detector.model.head.compute_loss = note_labels
    images = [torch.zeros(3, 128, 128, dtype=torch.uint8)]
    detector(images, [{"boxes": torch.tensor([[10.0, 10, 30, 30]]), "labels": torch.tensor([3])}])
    assert seen == [[2]]


def test_crowded_plates_are_not_clipped_by_caps() -> None:
    assert make_spec(ModelConfig(), 1, 512, np.array([12.0]), 700).detections_per_image == 1400
    detector = build_detector(spec_of("fasterrcnn_mobilenet_v3_large_320_fpn", detections_per_image=1400))
    model = detector.model
    assert model.roi_heads.detections_per_img == 1400
    model.eval()
    assert model.rpn.post_nms_top_n() >= 1400
    detector.set_limits(20_000)
    assert model.rpn.post_nms_top_n() == model.rpn.pre_nms_top_n() == MOST_PROPOSALS
    assert build_detector(spec_of("tiny", detections_per_image=1400)).model.topk_candidates >= 1400


@pytest.mark.parametrize("name", ["yolo", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"])
def test_an_unknown_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="fcos_resnet50_fpn"):
        from_plain(ModelConfig, {"name": name}, where="test")
    with pytest.raises(ConfigError, match="fcos_resnet50_fpn"):
        build_detector(dataclasses.replace(spec_of("tiny"), name=name))


def test_a_misspelt_model_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="write fasterrcnn_resnet50_fpn_v2, if you mean that"):
        load_experiment("tiny_steps", ["model.name=fasterrcnn_resnet50_fpn_v3"])


def test_anchors_and_caps_may_be_given_instead_of_fitted() -> None:
    sides = np.array([12.0, 16, 20])
    tiny = make_spec(ModelConfig(smallest_anchor=24, max_detections=77), 3, 320, sides, 10)
    assert min(tiny.anchor_sizes.values())[0] == 24
    assert tiny.detections_per_image == build_detector(tiny).detections_per_image == 77
    large = make_spec(ModelConfig("retinanet_resnet50_fpn_v2", smallest_anchor=24), 3, 320, sides, 10)
    assert large.anchor_sizes == {0: (24,)}
    with pytest.raises(ConfigError, match="smallest_anchor=24 cannot be set, because fcos_resnet50_fpn has no anchors"):
        make_spec(ModelConfig("fcos_resnet50_fpn", smallest_anchor=24), 3, 320, sides, 10)


def test_weights_of_91_classes_fit_but_for_the_head(tmp_path: Path) -> None:
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    pretrained = build_detector(spec_of(name, num_classes=90)).model
    torch.save(pretrained.state_dict(), tmp_path / "coco.pth")
    model = build_detector(spec_of(name)).model
    left = load_weights(model, name, str(tmp_path / "coco.pth"))
    assert left
    assert all("box_predictor" in key for key in left)
    assert torch.equal(model.backbone.body["0"][0].weight, pretrained.backbone.body["0"][0].weight)
    with pytest.raises(ConfigError, match=r"does not fit tiny: .*\ngive weights of tiny"):
        load_weights(build_detector(spec_of("tiny")).model, "tiny", str(tmp_path / "coco.pth"))


def test_a_head_of_other_classes_starts_anew(tmp_path: Path) -> None:
    spec = spec_of("tiny", num_classes=2)
    facts = CheckpointFacts(spec, ("S. aureus", "E. coli"), (1, 2), "32-true", False, 0, 1, None, {})
    save_checkpoint(tmp_path / "best.ckpt", build_detector(spec), facts)
    for names, is_fresh in ((("S. aureus", "E. coli"), False), (("E. coli", "S. aureus"), True), (("a", "b"), True)):
        left = load_weights(build_detector(spec).model, "tiny", str(tmp_path / "best.ckpt"), names)
        assert bool(left) == is_fresh
        assert all("cls_logits" in key for key in left), "nothing else is lost"


def test_the_known_detectors_and_weights_are_torchvisions_own() -> None:
    registry = torchvision.models.list_models(module=torchvision.models.detection)
    boxes_only = [name for name in registry if not name.startswith(("maskrcnn", "keypointrcnn"))]
    assert [name for name, row in DETECTORS.items() if row.weights_file] == boxes_only
    for name in boxes_only:
        members = {member.name for member in torchvision.models.get_model_weights(name)}
        assert set(weights_of(name)) == {*members, "DEFAULT"}
        builder = inspect.unwrap(torchvision.models.get_model_builder(name))
        (backbone,) = get_args(get_type_hints(builder)["weights_backbone"])[:1]
        assert set(backbone_weights_of(name)) == {*(member.name for member in backbone), "DEFAULT"}


def test_missing_weights_are_refused_with_a_choice() -> None:
    model = build_detector(spec_of("tiny")).model
    with pytest.raises(ConfigError, match=r"model\.weights=nowhere\.pth is neither a file nor weights of tiny"):
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
    assert len(seen) == 20


def keep_backbone(folder: Path, name: str, file_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights, with statistics as if trained, where torchvision keeps what it downloaded."""
    path = folder / "hub" / "checkpoints" / file_name
    path.parent.mkdir(parents=True)
    pretrained = torchvision.models.get_model(name)
    for module in pretrained.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    torch.save(pretrained.state_dict(), path)
    monkeypatch.setenv("TORCH_HOME", str(folder))


@pytest.mark.parametrize(
    ("name", "backbone", "file_name"),
    [
        ("ssdlite320_mobilenet_v3_large", "mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth"),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "mobilenet_v3_large", "mobilenet_v3_large-8738ca79.pth"),
        ("fcos_resnet50_fpn", "resnet50", "resnet50-0676ba61.pth"),
    ],
)
def test_a_checkpoint_is_rebuilt_as_it_began_beside_a_pretrained_backbone(
    name: str, backbone: str, file_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision builds SSDlite with another tail, and others with other BatchNorms, where it is given weights."""
    keep_backbone(tmp_path, backbone, file_name, monkeypatch)
    side = 320 if name.startswith("ssd") else 96
    config = ModelConfig(name=name, weights_backbone="IMAGENET1K_V1", score_floor=0.0)
    spec = make_spec(config, 3, side, np.array([20.0]), 10)
    detector = build_detector(spec, config.weights_backbone).eval()
    facts = CheckpointFacts(spec, ("a", "b", "c"), (1, 2, 3), "32-true", False, 1, 2, None, {})
    save_checkpoint(tmp_path / "a.ckpt", detector, facts)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    loaded, known = load_checkpoint(tmp_path / "a.ckpt")
    assert known == facts
    images = [torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8))]
    with torch.inference_mode():
        (seen,), (seen_again,) = detector(images), loaded(images)
    assert torch.equal(seen["boxes"], seen_again["boxes"])
    assert len(seen["boxes"])
    assert loaded.state_dict().keys() == detector.state_dict().keys()


def test_a_cap_rises_as_far_as_it_must_and_falls_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    columns = make_columns(tmp_path, [[10, 10, 20, 10]])
    spec = spec_of("tiny", num_classes=2, score_floor=0.0, detections_per_image=20)
    facts = CheckpointFacts(spec, ("three", "seven"), (3, 7), "32-true", False, 1, 2, 0.4, {})
    predictor = Predictor(build_detector(spec).eval(), facts, "cpu", "32-true")
    photo = predictor.read(tmp_path / "a.png")
    everything = predictor.detect(photo, 0.0)
    assert len(everything) > 80
    assert not everything.complete_from
    best = np.sort(everything.scores)[::-1]
    assert len(predictor.detect(photo, float(best[10]))) == 20, "all that were asked for came at once"
    assert len(predictor.detect(photo, float(best[30]))) > 30
    assert predictor.detector.detections_per_image == 20
    assert not predictor.predict(columns, tmp_path, cap_may_rise=False).complete_from


def test_a_model_that_sees_colonies_everywhere_is_not_scored_and_stops_in_time(tmp_path: Path) -> None:
    """As one does whose head is new: a score would hold what the cap left over, and without a cap memory ends."""
    torch.manual_seed(0)
    columns = make_columns(tmp_path, [[10, 10, 20, 10]])
    spec = spec_of("fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=2, score_floor=0.05, detections_per_image=20)
    facts = CheckpointFacts(spec, ("three", "seven"), (3, 7), "32-true", False, 1, 2, None, {})
    predictor = Predictor(build_detector(spec).eval(), facts, "cpu", "32-true")
    detections = predictor.predict(columns, tmp_path)
    assert len(detections) == 80, "four times the cap"
    assert detections.complete_from == detections.scores.min() > 0.1
    metrics = score_detections(columns, detections, predictor.calibration.rule).metrics
    assert (metrics["map"], metrics["counting"]["mae"], metrics["confidence"]["map"]) == (None, None, None)
    assert "not learned yet" in metrics["reasons"]["map_50"]
    assert f"{detections.complete_from:.2f}" in metrics["reasons"]["counting.mae"]
    assert predictor.detector.detections_per_image == 20


def test_where_the_limit_cuts_off_doubtful_detections_all_figures_come_from_the_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    columns = make_columns(tmp_path, [[10, 10, 20, 10]])
    spec = spec_of("tiny", num_classes=2, score_floor=0.0, detections_per_image=20)
    detector, place = build_detector(spec).eval(), (np.array([3, 7]), "cpu", "32-true")
    photo = torch.from_numpy(np.array(Image.open(tmp_path / "a.png").convert("RGB"))).permute(2, 0, 1)
    image_id, size_wh = int(columns.image_ids[0]), tuple(columns.sizes_wh[0].tolist())
    batches = [([photo], [{"image_id": image_id, "size_wh": size_wh}])]
    everything = predict_uncapped(detector, batches, *place, most=20_000, highest_floor=0.0)
    known = predict_uncapped(detector, batches, *place, most=40)
    assert not everything.complete_from
    assert 0 < known.complete_from < 0.1
    above = everything.take(np.flatnonzero(everything.scores > known.complete_from))
    assert np.array_equal(known.boxes_xywh, above.boxes_xywh)
    assert 0 < len(known) < 40
    assert not len(predict_uncapped(detector, batches, *place, most=20_000)), "all are below the highest floor"
    rule = calibrate(CountingConfig(), columns, known).rule
    assert rule.threshold > known.complete_from, "agar predict would find more from a lower one on"
    metrics = score_detections(columns, known, rule).metrics
    assert metrics["complete_from"] == known.complete_from
    assert metrics["map_50"] == score_detections(columns, above, rule).metrics["map_50"] is not None
    assert metrics["counting"]["mae"] is not None
    too_low = CountRule(known.complete_from / 2)
    counting = score_detections(columns, known, too_low).metrics
    assert counting["counting"]["mae"] is None
    assert "colonies count from a score of" in counting["reasons"]["counting.mae"]


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 nothing")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    Image.new("RGB", (8, 8)).save(tmp_path / "plate.jpg")
    for name, why in {"cut.ckpt": "", "other.ckpt": "", "none.ckpt": "", "plate.jpg": ".*is no ZIP file"}.items():
        with pytest.raises(ArtifactError, match=f"{name}{why}"):
            load_checkpoint(tmp_path / name)


def test_a_checkpoint_of_another_network_is_refused_in_words(tmp_path: Path) -> None:
    """As after a release, of ours or of a library, that builds another network under the same name."""
    spec = spec_of("tiny", num_classes=2)
    facts = CheckpointFacts(spec, ("three", "seven"), (3, 7), "32-true", False, 1, 2, None, {})
    save_checkpoint(tmp_path / "old.ckpt", build_detector(spec), facts)
    content = torch.load(tmp_path / "old.ckpt", weights_only=True)
    content["state_dict"]["model.former_layer.weight"] = torch.zeros(1)
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(ArtifactError, match=r"old\.ckpt is of another version.*model\.former_layer\.weight"):
        load_checkpoint(tmp_path / "old.ckpt")
