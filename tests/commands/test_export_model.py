"""`agar export-model`, and `agar predict` from its file: the same boxes as the checkpoint, on real photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, runner


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_untrained(tmp_path_factory.mktemp("onnx") / "best.ckpt", None)


def save_untrained(path: Path, tile_overlap: int | None) -> Path:
    """A tiny detector whose scores are spread as a trained one's are."""
    import torch

    from agar_pipeline.detection.models.checkpoint import CheckpointFacts, save_checkpoint
    from agar_pipeline.detection.models.detector import build_detector
    from tests.detection.models.test_detector import spec_of

    torch.manual_seed(0)
    spec = spec_of("tiny", num_classes=2, score_floor=0.05, tile_overlap=tile_overlap)
    detector = build_detector(spec)
    head = detector.model.head.classification_head.cls_logits
    torch.nn.init.normal_(head.weight, std=0.2)
    facts = CheckpointFacts(spec, ("S. aureus", "E. coli"), (3, 7), "32-true", False, 0, 1, 0.3, {})
    save_checkpoint(path, detector, facts)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runner({"AGAR_HOME": str(tmp_path / "home")})


@pytest.mark.parametrize("tile_overlap", [None, 40], ids=["whole photos", "tiles"])
def test_an_exported_model_finds_what_its_checkpoint_finds_on_real_photos(
    shared_data: Path, run: Run, tmp_path: Path, tile_overlap: int | None
) -> None:
    checkpoint = save_untrained(tmp_path / "best.ckpt", tile_overlap)
    photos = sorted(str(path) for path in (shared_data / "colonies").rglob("*.jpg"))[:300:100]
    out = tmp_path / "sub" / "M.onnx"
    shown = ("--images-dir", str(shared_data / "colonies"), "--photos", "2")
    done = run("agar", "export-model", "--checkpoint", str(checkpoint), "--out", str(out), *shown, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["size_bytes"] == out.stat().st_size
    counted = [
        run("agar", "predict", *words, *photos, "--json")
        for words in (("--checkpoint", str(checkpoint)), ("--model", str(out)))
    ]
    assert [each.returncode for each in counted] == [0, 0], counted[1].stderr
    ours, theirs = (json.loads(each.stdout) for each in counted)
    assert ours["categories"] == theirs["categories"]
    assert [image["file_name"] for image in ours["images"]] == [image["file_name"] for image in theirs["images"]]
    assert len(ours["annotations"]) == len(theirs["annotations"]) > 30
    for key, tolerance in (("bbox", 0.1), ("score", 1e-3)):
        columns = [np.array([box[key] for box in each["annotations"]]) for each in (ours, theirs)]
        assert np.abs(np.sort(columns[0], axis=0) - np.sort(columns[1], axis=0)).max() < tolerance


def test_a_file_that_does_not_agree_is_not_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agar_pipeline.detection.inference import export_onnx
    from agar_pipeline.detection.inference.onnx_model import OnnxModel
    from agar_pipeline.errors import ArtifactError

    class Shifted(OnnxModel):
        def run(self, pixels: np.ndarray, score_threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            boxes, scores, labels = super().run(pixels, score_threshold)
            return boxes + 2, scores, labels

    monkeypatch.setattr(export_onnx, "OnnxModel", Shifted)
    with pytest.raises(ArtifactError, match="does not agree with its checkpoint on noise"):
        export_onnx.export_model(checkpoint, tmp_path / "M.onnx", [], lambda line: None)
    assert not list(tmp_path.iterdir())


def test_finding_nothing_proves_nothing(checkpoint: Path, run: Run, tmp_path: Path) -> None:
    import torch
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (128, 128)).save(tmp_path / "photos" / "black.png")
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["model.head.classification_head.cls_logits.bias"] -= 100
    torch.save(content, tmp_path / "blind.ckpt")
    shown = ("--images-dir", str(tmp_path / "photos"), "--out", str(tmp_path / "M.onnx"))
    refused = run("agar", "export-model", "--checkpoint", str(tmp_path / "blind.ckpt"), *shown)
    assert (refused.returncode, "finds nothing on the images, so that it cannot be compared" in refused.stderr) == (
        1,
        True,
    ), refused.stderr
    assert not (tmp_path / "M.onnx").exists()


def test_what_is_no_exported_model_is_refused(checkpoint: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "M.onnx").write_bytes(b"nothing")
    for words, code, what in (
        (("--model", str(tmp_path / "M.onnx")), 1, "onnxruntime"),
        (("--model", str(tmp_path / "none.onnx")), 1, "does not exist"),
        ((), 2, "--model"),
    ):
        (tmp_path / "a.png").touch()
        refused = run("agar", "predict", *words, str(tmp_path / "a.png"))
        assert (refused.returncode, what in refused.stderr) == (code, True), refused.stderr
        assert "Traceback" not in refused.stderr
