"""D-FINE and RT-DETRv2 of transformers: their sizes, weights, queries, losses and detections."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agar_pipeline.config import ModelConfig, require_weights
from agar_pipeline.detection.fitting.model_fitting import make_spec
from agar_pipeline.detection.inference.batches import predict_uncapped
from agar_pipeline.detection.inference.export_onnx import export_model
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, load_checkpoint, save_checkpoint
from agar_pipeline.detection.models.detector import Detector, build_detector
from agar_pipeline.detection.models.detr_model import MOST_DENOISED
from agar_pipeline.detection.models.detr_sizes import SIZES
from agar_pipeline.detection.models.spec import DetectorSpec
from agar_pipeline.errors import ArtifactError, ConfigError, MissingPackageError
from tests.detection.models.small_detrs import SMALL, one_thread, save_small

NAMES = list(SMALL)
CLASSES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module", params=NAMES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("detr") / request.param
    save_small(request.param, root, CLASSES)
    return root


def spec_of(folder: Path, side: int = 128, most_boxes: int = 10, **changes: Any) -> DetectorSpec:
    config = ModelConfig(name=folder.name, weights=str(folder))
    spec = make_spec(config, len(CLASSES), side, np.array([16.0]), most_boxes)
    return dataclasses.replace(spec, **{"score_floor": 0.0, **changes})


def load(folder: Path, class_names: tuple[str, ...] = CLASSES, **changes: Any) -> Detector:
    torch.manual_seed(0)
    detector = build_detector(spec_of(folder, **changes))
    detector.fresh = detector.family.load_weights(detector.model, folder.name, str(folder), class_names)
    return detector.eval()


def noise(height: int = 128, width: int = 128) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def boxes_at(count: int) -> dict[str, torch.Tensor]:
    corners = torch.from_numpy(np.random.default_rng(1).uniform(0, 110, (count, 2))).float()
    return {"boxes": torch.cat([corners, corners + 12], 1), "labels": torch.arange(count) % 3 + 1}


@pytest.mark.parametrize(
    ("name", "millions"),
    [("dfine_n", 4), ("dfine_s", 10), ("dfine_m", 20), ("dfine_l", 31), ("dfine_x", 63),
     ("rtdetr_v2_r18", 20), ("rtdetr_v2_r34", 31), ("rtdetr_v2_r50", 43), ("rtdetr_v2_r101", 77)],
)  # fmt: skip
def test_a_named_size_has_as_many_parameters_as_its_authors_state(name: str, millions: int) -> None:
    """D-FINE's README: 4, 10, 19, 31 and 62 million; RT-DETR's: 20, 31, 42 and 76 (with the head of 80 classes)."""
    from transformers import AutoConfig, AutoModelForObjectDetection

    sizes = dict(SIZES[name])
    config = AutoConfig.for_model(sizes.pop("model_type"), **sizes, num_labels=80)
    with torch.device("meta"):
        network = AutoModelForObjectDetection.from_config(config)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == millions


def test_a_named_size_is_built_without_weights_and_its_backbone_learns_at_the_full_rate() -> None:
    spec = make_spec(ModelConfig("dfine_n"), 1, 128, np.array([16.0]), 10)
    detector = build_detector(spec)
    assert not any("FrozenBatchNorm" in type(module).__name__ for module in detector.modules())
    groups = detector.family.parameter_groups(detector.model, 1e-4)
    assert {group.get("lr_factor", 1.0) for group in groups} == {1.0}
    assert sum(len(group["params"]) for group in groups) == len([p for p in detector.parameters() if p.requires_grad])
    with torch.inference_mode():
        (answer,) = detector.eval()([noise()])
    assert answer["cut_at"] is None, "an untrained head takes nothing for a colony"


def test_detections_are_those_of_the_library_but_for_one_class_per_query(folder: Path) -> None:
    from transformers import AutoModelForObjectDetection, RTDetrImageProcessor

    network = AutoModelForObjectDetection.from_pretrained(folder, local_files_only=True).eval()
    image = noise()
    with torch.inference_mode():
        (ours,) = load(folder)([image])
        outputs = network(pixel_values=image[None].float() / 255)
    theirs = RTDetrImageProcessor().post_process_object_detection(outputs, threshold=0.0, target_sizes=[(128, 128)])[0]
    best_labels = outputs.logits[0].argmax(-1) + 1
    assert len(ours["scores"]) == 300
    assert sorted(ours["labels"].tolist()) == sorted(best_labels.tolist())
    rows = [(float(s), int(n) + 1, *b.tolist()) for s, n, b in zip(*theirs.values(), strict=True)]
    both = {tuple(np.round(row, 4)) for row in rows}
    mine = [(float(s), int(n), *b.tolist()) for b, n, s in zip(*list(ours.values())[:3], strict=True)]
    inside = [row for row in mine if min(row[2:]) > 0 and max(row[2:]) < 128]  # ours are clipped to the image
    assert len(inside) > 50
    highest = [row for row in inside if row[0] > max(rows[-1][0], 0) + 1e-4]  # theirs end at 300 of 900
    assert highest
    close = [min(np.abs(np.array(row) - np.array(other)).max() for other in both) for row in highest]
    assert max(close) < 1e-2


def test_queries_follow_the_plate_and_what_is_left_out_is_said_and_found(folder: Path) -> None:
    assert spec_of(folder, most_boxes=1000).detections_per_image == 2000
    image = noise()
    detector = load(folder, detections_per_image=40)
    with torch.inference_mode():
        (few,) = detector([image])
    assert len(few["scores"]) == 40
    assert few["cut_at"] is not None
    batches = [([image], [{"image_id": 3, "size_wh": (128, 128)}])]
    place = np.array([1, 2, 3]), "cpu", "32-true"
    found = predict_uncapped(detector, batches, *place, most=20_000, highest_floor=0.0)
    tokens = 16**2 + 8**2 + 4**2
    assert len(found) <= tokens
    assert len(found) > 300
    assert not predict_uncapped(detector, batches, *place, most=20_000, down_to=1.0, highest_floor=0.0).complete_from
    assert predict_uncapped(detector, batches, *place, most=160).complete_from > 0
    assert detector.detections_per_image == 40


@pytest.mark.parametrize("colonies", [1, 300, 301, 1000])
def test_a_perfect_network_finds_each_of_1_to_1000_colonies(folder: Path, colonies: int) -> None:
    """Its queries are the tokens that its encoder finds best, as in the library; 300 are allowed at first."""
    detector, tokens = load(folder, side=640), 80**2 + 40**2 + 20**2
    rng = np.random.default_rng(colonies)
    wanted = np.sort(rng.uniform(0.02, 0.98, (colonies, 2)), axis=0)
    places = torch.from_numpy(rng.permutation(tokens)[:colonies])
    logits, boxes = torch.full((1, tokens, 3), -8.0), torch.full((1, tokens, 4), 0.02)
    logits[0, places, places % 3] = 4.0
    boxes[0, places, :2] = torch.from_numpy(wanted).float()

    def answer(pixel_values: torch.Tensor) -> SimpleNamespace:
        best = logits.amax(-1).topk(detector.model.network.config.num_queries).indices[0]
        return SimpleNamespace(logits=logits[:, best], pred_boxes=boxes[:, best], enc_outputs_class=logits)

    detector.model.network.forward = answer
    detector.set_limits(300, 0.05)
    batches = [([noise(640, 640)], [{"image_id": 3, "size_wh": (640, 640)}])]
    found = predict_uncapped(detector, batches, np.array([1, 2, 3]), "cpu", "32-true", most=20_000)
    assert not found.complete_from
    assert len(found) == colonies
    centres = np.sort((found.boxes_xywh[:, :2] + found.boxes_xywh[:, 2:] / 2) / 640, axis=0)
    assert np.allclose(centres, wanted, atol=1e-4)
    assert np.array_equal(np.bincount(found.category_ids - 1, minlength=3), np.bincount(places % 3, minlength=3))


def test_padding_gets_no_query(folder: Path) -> None:
    detector = load(folder, detections_per_image=2000)
    chosen: list[Any] = []
    detector.model.network.register_forward_hook(lambda module, given, found: chosen.append(found))
    with torch.inference_mode():
        (small,) = detector([noise(100, 70)])
        detector([noise(), noise(100, 70)])
    assert len(small["scores"]) == chosen[0].logits.shape[1] == 12 * 9 + 6 * 4 + 3 * 2
    assert (small["boxes"] <= torch.tensor([70, 100, 70, 100])).all()
    for found in chosen:
        assert found.enc_topk_logits.min() > -1e3


def test_losses_fall_and_ranks_have_a_gradient_for_each_parameter(folder: Path) -> None:
    detector = load(folder).train()
    images = [noise(), noise(100, 70)]
    crowded = MOST_DENOISED + 1
    optimizer = torch.optim.AdamW(detector.family.parameter_groups(detector.model, 1e-4), lr=1e-3)
    totals = []
    for counts in ((0, 0), (crowded, 0), *[(6, 0)] * 8):
        losses = detector(images, [boxes_at(count) for count in counts])
        assert set(losses) == ({"vfl", "bbox", "giou"} | ({"fgl", "ddf"} if folder.name == "dfine" else set()))
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        assert all(p.grad is not None for p in detector.parameters() if p.requires_grad), counts
        optimizer.step()
        totals.append(float(total.detach()))
        with torch.inference_mode():  # validation between steps
            detector.eval()(images)
        detector.train()
    assert np.isfinite(totals).all()
    assert np.mean(totals[-3:]) < np.mean(totals[2:5])


def test_boxes_stay_in_float32_under_autocast(folder: Path) -> None:
    detector, image = load(folder), noise()
    seen: list[Any] = []
    detector.model.network.register_forward_hook(lambda module, given, found: seen.append(found))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        detector([image])
    assert seen[0].pred_boxes.dtype == seen[0].logits.dtype == seen[0].enc_topk_bboxes.dtype == torch.float32
    coarse = seen[0].pred_boxes.bfloat16().float()
    assert (coarse != seen[0].pred_boxes).float().mean() > 0.3, "they are not rounded before"


def test_heads_of_other_classes_start_anew_and_all_else_is_loaded(folder: Path) -> None:
    saved = load(folder).state_dict()
    assert load(folder).fresh == []
    for names in (("b", "a", "c"), ("x", "y", "z")):
        other = load(folder, names)
        assert other.fresh
        assert all("class_embed" in key or "enc_score_head" in key for key in other.fresh)
        same = {key for key, value in other.state_dict().items() if torch.equal(value, saved[key])}
        assert {key.removeprefix("model.") for key in saved.keys() - same} <= set(other.fresh)


def test_a_checkpoint_needs_no_folder_and_starts_another_training(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / folder.name
    shutil.copytree(folder, moved)
    detector = load(moved)
    facts = CheckpointFacts(spec_of(moved), CLASSES, (1, 2, 3), "32-true", False, 1, 2, None, {})
    save_checkpoint(tmp_path / "best.ckpt", detector, facts)
    shutil.rmtree(moved)
    loaded, known = load_checkpoint(tmp_path / "best.ckpt")
    assert known == facts
    with torch.inference_mode():
        (before,), (after,) = detector([noise()]), loaded([noise()])
    assert torch.equal(before["boxes"], after["boxes"])
    config = ModelConfig(name=folder.name, weights=str(tmp_path / "best.ckpt"))
    spec = make_spec(config, len(CLASSES), 128, np.array([16.0]), 10)
    again = build_detector(spec)
    assert again.family.load_weights(again.model, folder.name, config.weights or "", CLASSES) == []
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), detector.parameters(), strict=True))
    with pytest.raises(ArtifactError, match="cannot be exported to ONNX: the exporter fixes the sizes"):
        export_model(tmp_path / "best.ckpt", tmp_path / "M.onnx", [], print)


def test_a_pretrained_backbone_learns_at_a_tenth_of_the_rate(folder: Path) -> None:
    detector = load(folder)
    backbone = {id(p) for p in detector.model.network.model.backbone.parameters() if p.requires_grad}
    slow = [g for g in detector.family.parameter_groups(detector.model, 1e-4) if g.get("lr_factor") == 0.1]
    assert {id(p) for group in slow for p in group["params"]} == backbone


def test_images_are_normalized_as_the_folder_says(folder: Path, tmp_path: Path) -> None:
    assert spec_of(folder).architecture["normalization"] is None  # type: ignore[index]
    other = tmp_path / folder.name
    shutil.copytree(folder, other)
    rule = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (other / "preprocessor_config.json").write_text(json.dumps(rule))
    pixels = load(other).model._batch([torch.full((3, 32, 32), 255, dtype=torch.uint8)])
    assert torch.allclose(pixels[0, :, 0, 0], torch.tensor([2.5, 3.0, 3.5]))


def refusal(config: ModelConfig) -> str:
    def check() -> None:
        require_weights(config.name, config.weights)
        make_spec(config, 3, 128, np.array([16.0]), 10)

    with pytest.raises(ConfigError) as caught:
        check()
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_weights_that_do_not_fit_are_refused_in_three_lines(folder: Path, tmp_path: Path) -> None:
    size, other = ("dfine_s", "rtdetr_v2_r18") if folder.name == "dfine" else ("rtdetr_v2_r18", "dfine_s")
    assert f"does not fit {size}: " in refusal(ModelConfig(size, weights=str(folder)))
    assert f"set model.name={folder.name}, which takes the sizes" in refusal(ModelConfig(size, weights=str(folder)))
    assert f"does not fit {other}: it is {folder.name}" in refusal(ModelConfig(other, weights=str(folder)))
    assert "says nothing about the sizes" in refusal(ModelConfig(folder.name))
    assert "holds no model: it has no config.json" in refusal(ModelConfig(size, weights=str(tmp_path)))
    assert "neither a file nor weights of dfine_s" in refusal(ModelConfig("dfine_s", weights="ustc-community/dfine"))
    broken = tmp_path / folder.name
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="holds no model that can be read"):
        load(broken)
    (broken / "config.json").write_text(json.dumps({"model_type": "detr"}))
    assert "it is neither D-FINE nor RT-DETRv2" in refusal(ModelConfig(size, weights=str(broken)))
    save_small(folder.name, broken, learn_initial_query=True)
    assert "learned a fixed number of queries" in refusal(ModelConfig(folder.name, weights=str(broken)))


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r"the package transformers is not installed\n.*\[transformers\]"):
        MissingPackageError.require("transformers")
