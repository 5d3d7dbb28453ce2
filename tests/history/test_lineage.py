"""Lineage over a store of small, made-up artifacts: who was made from whom is all that counts here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agar_pipeline.artifacts import ARTIFACTS, Artifact
from agar_pipeline.errors import ArtifactError
from agar_pipeline.history.lineage import chain_of, find_snapshot, lineage
from agar_pipeline.history.photo_history import explain_image
from agar_pipeline.store import Content, Key, Store

PARTS = ("train", "train", "val")


def sample_id(number: int) -> str:
    return f"{number:024x}"


class Chain:
    """Publishes artifacts into one store; smoke runs have equal contents, as in life."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.observed = 0

    def build(self, key: Key, config: dict[str, Any], inputs: dict[str, Artifact], content: object = "") -> Any:
        contents = {name: Content.of(artifact.manifest) for name, artifact in inputs.items()}
        return self._publish(key, config, contents, lambda folder: fill(folder, key, content))

    def snapshot(self, x: float = 1.0, dataset: str = "plates", observed: str | None = None) -> Any:
        """Three images of one box each; `x` is where the first one's box is."""
        self.observed += 1
        inputs = {"fiftyone_dataset": Content(observed or str(self.observed), {})}
        return self._publish(
            Key("snapshot"), {"dataset": dataset}, inputs, lambda folder: write_snapshot(folder, x, dataset)
        )

    def after(self, snapshot: Any, seed: int = 0) -> dict[str, Any]:
        """Split to evaluation, from this snapshot."""
        split = self.build(Key("split"), {"seed": seed}, {"snapshot": snapshot}, seed)
        box_hash = snapshot.manifest.files[0]["sha256"]
        cache = self.build(Key("coco_cache"), {}, {"snapshot": snapshot, "split": split}, [box_hash, seed])
        report = self.build(Key("bbox_report"), {}, {"coco_cache": cache}, box_hash)
        smoke = self.build(Key("smoke_run", "e"), {}, {"coco_cache": cache, "bbox_report": report})
        run = self.build(Key("training_run", "e"), {}, {"coco_cache": cache, "e/smoke_run": smoke}, box_hash)
        inputs = {"coco_cache": cache, "e/training_run": run}
        evaluation = self.build(Key("evaluation", "e"), {"part": "val"}, inputs, box_hash)
        return {"split": split, "coco_cache": cache, "training_run": run, "evaluation": evaluation}

    def _publish(self, key: Key, config: dict[str, Any], inputs: Any, write: Callable[[Path], None]) -> Any:
        return self.store.build(key, config, inputs, write, lambda text: None).artifact


def fill(folder: Path, key: Key, content: object) -> None:
    for name in ARTIFACTS[key.asset].files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    if key.asset == "split":
        parts = PARTS if content == 0 else PARTS[::-1]
        pd.DataFrame({"image_id": [1, 2, 3], "part": parts}).to_parquet(folder / "split.parquet")


def write_snapshot(folder: Path, x: float, dataset: str) -> None:
    images = pd.DataFrame({"image_id": [1, 2, 3], "sample_id": [sample_id(number) for number in (1, 2, 3)]})
    images.to_parquet(folder / "image_ids.parquet")
    images = images.assign(
        path=["a/1.jpg", "a/2.jpg", "b/2.jpg"], width=9, height=9, size_bytes=1, sha256=["s", "t", "u"]
    )
    images.to_parquet(folder / "images.parquet")
    boxes = pd.DataFrame({"box_id": [1, 2, 3], "image_id": [1, 2, 3], "label": "E.coli", "x": [x, 1.0, 1.0]})
    boxes.assign(y=1.0, width=2.0, height=2.0, iscrowd=False, attributes=None).to_parquet(folder / "boxes.parquet")
    (folder / "dataset.json").write_text(json.dumps({"dataset": dataset, "images_dir": "/photos"}))


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(Store(tmp_path))


def test_latest_and_previous_are_of_one_dataset(chain: Chain) -> None:
    first, second = chain.snapshot(1), chain.snapshot(2)
    other = chain.snapshot(3, dataset="others")
    assert find_snapshot(chain.store, "latest") == other
    with pytest.raises(ArtifactError, match="dataset 'others' has no previous snapshot"):
        find_snapshot(chain.store, "previous")
    again = chain.snapshot(2, observed="2")
    assert find_snapshot(chain.store, "latest") == second == again
    assert find_snapshot(chain.store, "previous") == first


def test_a_snapshot_has_many_names(chain: Chain) -> None:
    first, second = chain.snapshot(1), chain.snapshot(2)
    name = first.manifest.fingerprint
    for word in (name, name[:6], str(first.root), str(chain.store.folder(Key("snapshot")) / name)):
        assert find_snapshot(chain.store, word) == first
    for word in (name[:3], "0000000", "nowhere"):
        with pytest.raises(ArtifactError, match=f"'{word}' names no snapshot.*\n.*{second.manifest.fingerprint[:12]}"):
            find_snapshot(chain.store, word)
    with pytest.raises(ArtifactError, match="holds a split, not a snapshot"):
        find_snapshot(chain.store, str(chain.after(first)["split"].root))


def test_a_damaged_snapshot_is_refused(chain: Chain) -> None:
    snapshot = chain.snapshot()
    (snapshot.root / "boxes.parquet").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"boxes\.parquet was altered"):
        find_snapshot(chain.store, "latest")


def test_a_training_run_leads_back_to_its_own_snapshot(chain: Chain) -> None:
    first, second = chain.snapshot(1), chain.snapshot(2)
    old, new = chain.after(first), chain.after(second)
    assert old["split"] == new["split"], "a split reads only the image ids, which are the same"
    for snapshot, made in ((first, old), (second, new)):
        records = lineage(chain.store, made["evaluation"])
        assert [record.key.asset for record in records] == [
            "evaluation", "training_run", "smoke_run", "bbox_report", "coco_cache", "split", "snapshot",
        ]  # fmt: skip
        assert records[-1].root == snapshot.root
        assert records[-1].to_plain()["fingerprint"] == snapshot.manifest.fingerprint


def test_explain_tells_who_saw_a_photo(chain: Chain) -> None:
    first, second = chain.snapshot(1), chain.snapshot(2)
    old, new = chain.after(first), chain.after(second)
    history = explain_image(chain.store, "1.jpg")
    assert history["image"] == {"dataset": "plates", "sample_id": sample_id(1), "path": "a/1.jpg", "sha256": "s"}
    assert [row["snapshot"] for row in history["snapshots"]] == [s.manifest.fingerprint for s in (second, first)]
    assert len({row["annotations_sha256"] for row in history["snapshots"]}) == 2
    (split,) = history["splits"]
    assert (split["part"], len(split["snapshots"])) == ("train", 2)
    assert [(row["training_run"], row["snapshot"]) for row in history["trained_by"]] == [
        (made["training_run"].manifest.fingerprint, snapshot.manifest.fingerprint)
        for made, snapshot in ((new, second), (old, first))
    ]
    assert history["evaluated_by"] == []
    held_out = explain_image(chain.store, sample_id(3))
    assert held_out["trained_by"] == []
    assert [row["evaluation"] for row in held_out["evaluated_by"]] == [
        made["evaluation"].manifest.fingerprint for made in (new, old)
    ]
    assert len({row["annotations_sha256"] for row in held_out["snapshots"]}) == 1


def test_another_split_gives_another_part(chain: Chain) -> None:
    snapshot = chain.snapshot()
    chain.after(snapshot)
    chain.after(snapshot, seed=1)
    history = explain_image(chain.store, "a/1.jpg")
    assert {(row["part"], row["latest"]) for row in history["splits"]} == {("train", False), ("val", True)}
    assert [row["part"] for row in history["trained_by"]] == ["train"]
    assert [row["part"] for row in history["evaluated_by"]] == ["val"]


@pytest.mark.parametrize("word", ["a/2.jpg", "/photos/a/2.jpg", "2", sample_id(2)])
def test_a_photo_has_many_names(chain: Chain, word: str) -> None:
    chain.snapshot()
    assert explain_image(chain.store, word)["image"]["path"] == "a/2.jpg"


def test_unclear_names_are_refused_with_the_choice(chain: Chain) -> None:
    with pytest.raises(ArtifactError, match=r"^the home .* holds no snapshot\nbuild one"):
        explain_image(chain.store, "1.jpg")
    chain.snapshot()
    with pytest.raises(ArtifactError, match=r"'2\.jpg' is the name of 2 images .*\n.*a/2\.jpg, b/2\.jpg"):
        explain_image(chain.store, "2.jpg")
    with pytest.raises(ArtifactError, match=r"'9\.jpg' names no image of 1 snapshot in"):
        explain_image(chain.store, "9.jpg")


def test_a_damaged_manifest_elsewhere_disturbs_nobody(chain: Chain) -> None:
    snapshot = chain.snapshot()
    made = chain.after(snapshot)
    (made["evaluation"].root / "manifest.json").write_text("{")
    shutil.rmtree(made["split"].root)
    assert explain_image(chain.store, "1.jpg")["trained_by"] == []


def test_of_two_snapshots_that_led_to_one_cache_the_one_that_was_read_is_meant(chain: Chain) -> None:
    first = chain.snapshot(1)
    made = chain.after(first)
    second = chain.snapshot(2)
    split = chain.build(Key("split"), {"seed": 0}, {"snapshot": second}, 0)
    content = [first.manifest.files[0]["sha256"], 0]
    again = chain.build(Key("coco_cache"), {"media": "copy"}, {"snapshot": second, "split": split}, content)
    assert again.data_version == made["coco_cache"].data_version
    inputs = {"coco_cache": again, "e/training_run": made["training_run"]}
    evaluation = chain.build(Key("evaluation", "e"), {"part": "test"}, inputs)
    assert chain_of(chain.store, made["evaluation"])["snapshot"].root == first.root
    assert chain_of(chain.store, evaluation)["snapshot"].root == second.root
