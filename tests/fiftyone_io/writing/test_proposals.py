"""`agar review --unlabelled`: photos are chosen, and stand in a FiftyOne dataset with proposed boxes."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from agar_pipeline.commands import agar, review_unlabelled
from agar_pipeline.config import ModelConfig
from agar_pipeline.detection.fitting.model_fitting import make_spec
from agar_pipeline.detection.models.checkpoint import CheckpointFacts, save_checkpoint
from agar_pipeline.detection.models.detector import build_detector
from agar_pipeline.errors import MissingPackageError, PipelineError
from agar_pipeline.plates.generate import CLASS_NAMES, generate_coco
from agar_pipeline.use_cases import viewing_counted
from agar_pipeline.use_cases.proposals import CHOICE, ProposingModels
from tests.fiftyone_io.conftest import collection_of
from tests.fiftyone_io.importing.person import Person
from tests.fiftyone_io.writing.test_counted import FIELD

SIDE_PX, PLATES = 96, 10


def save_untrained(path: Path, seed: int) -> Path:
    """A model that has learnt nothing and finds colonies all the same, others with each seed."""
    torch.manual_seed(seed)
    spec = make_spec(ModelConfig(), len(CLASS_NAMES), SIDE_PX, np.array([12.0, 20.0]), 10)
    facts = CheckpointFacts(spec, CLASS_NAMES, (1, 2, 3), "32-true", False, 0, 1, 0.6, {})
    detector = build_detector(spec)
    for name, values in detector.named_parameters():
        if "cls_logits" in name:
            torch.nn.init.normal_(values, std=0.3)
    save_checkpoint(path, detector, facts)
    return path


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: Person) -> Path:
    """Ten plates: three of them are in the dataset, one twice, one broken; the artifacts of an experiment beside."""
    annotated, folder = tmp_path / "annotated", tmp_path / "plates of june"
    generate_coco(annotated, 3, SIDE_PX)
    generate_coco(folder, PLATES, SIDE_PX)
    shutil.copy(folder / "9.jpg", folder / "again.jpg")
    (folder / "10.jpg").write_bytes(b"no photo")
    (annotated / "plates.json").rename(annotated / "train.json")
    known = [hashlib.sha256(path.read_bytes()).hexdigest() for path in annotated.glob("*.jpg")]
    models = [save_untrained(tmp_path / f"{seed}.ckpt", seed) for seed in range(3)]
    snapshot: Any = SimpleNamespace(images=lambda: pd.DataFrame({"sha256": known}))
    cache: Any = SimpleNamespace(images_dir=annotated, json_path=lambda part: annotated / f"{part}.json")
    artifacts = ProposingModels(snapshot, cache, models[:2], models[2])
    monkeypatch.setattr(review_unlabelled, "find_proposing_models", lambda experiment: artifacts)
    monkeypatch.setattr(viewing_counted, "run_child", lambda _, request, log: person.answers_as_child(request))
    return folder


def review(*words: object, code: int = 0) -> Result:
    found = CliRunner().invoke(agar, ["review", "--no-app", *map(str, words)])
    assert found.exit_code == code, (found.output, found.exception)
    return found


def test_photos_are_chosen_proposed_and_only_read(photos: Path, database: Any, person: Person, home: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.iterdir()}
    said = review("--unlabelled", photos, "--budget", 4, code=1).output
    assert "left out, in the pipeline's dataset already: 3 photos (1.jpg, 2.jpg, 3.jpg)" in said
    assert "left out, with the same content as another photo of the folder: 1 photo (again.jpg)" in said
    assert "error: " in said
    assert "10.jpg" in said
    name = "plates of june_to_annotate"
    with (home / "proposals" / name / CHOICE).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0
    chosen = [Path(row["photo"]) for row in rows]
    assert {path.name for path in chosen} < {f"{number}.jpg" for number in range(4, 10)}
    assert [f"{rank}. {row['photo']}: {row['reason']}" in said for rank, row in enumerate(rows, 1)] == [True] * 4
    samples = list(database[collection_of(database, name)].find())
    assert {Path(sample["filepath"]) for sample in samples} == set(chosen)
    assert any(sample[FIELD]["detections"] for sample in samples)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.iterdir()} == before

    code = "sample[field].detections = []\nsample.tags.append('annotated')\nsample.save()"
    person.does(name, code, chosen[0], field=FIELD)
    said = review("--unlabelled", photos.parent / "annotated" / ".." / photos.name, "--budget", 4, code=1).output
    assert {Path(one["filepath"]) for one in database[collection_of(database, name)].find()} == set(chosen)
    assert f"edited were kept on 1 photo: {chosen[0].name}" in said
    kept = database[collection_of(database, name)].find_one({"tags": "annotated"})
    assert not kept[FIELD].get("detections"), "FiftyOne drops empty lists"


def test_a_dataset_of_somebody_else_and_proposals_of_another_folder_stay(
    photos: Path, database: Any, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "10.jpg").unlink()
    out = tmp_path / "next plates"
    person.does("views", "fo.Dataset(name, persistent=True)", name=out.name)
    theirs = review("--unlabelled", photos, "--budget", 2, "--out-dir", out, code=1).exception
    assert isinstance(theirs, PipelineError)
    assert "'next plates' exists, and `agar view` did not make it" in " ".join(str(theirs).split())
    assert not out.exists(), "refused before photos were looked at"
    person.does("views", "fo.delete_dataset(name)", name=out.name)
    review("--unlabelled", photos, "--budget", 2, "--out-dir", out)
    other = shutil.copytree(photos, tmp_path / "other")
    monkeypatch.setattr(
        review_unlabelled, "find_proposing_models", lambda experiment: pytest.fail("before hours of training")
    )
    second = review("--unlabelled", other, "--out-dir", out, code=1).exception
    assert isinstance(second, PipelineError)
    assert "has the proposals of another folder" in str(second)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    third = review("--unlabelled", photos, "--out-dir", tmp_path / "third", code=1).exception
    assert isinstance(third, MissingPackageError)
    assert "fiftyone" in str(third)
