"""Which photos a checkpoint was trained on, by what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from agar_pipeline.artifacts import ARTIFACTS
from agar_pipeline.snapshots.photo_content import count_learnt
from agar_pipeline.store import Content, Key, Store


def publish(store: Store, key: Key, inputs: dict[str, Content], photos: dict[str, str] | None = None) -> Any:
    def write(folder: Path) -> None:
        for name in ARTIFACTS[key.asset].files:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        if photos is not None:
            rows = [(part, f"{sha256}.jpg", sha256) for sha256, part in photos.items()]
            table = pd.DataFrame(rows, columns=["part", "file_name", "sha256"])
            table.to_parquet(folder / "photos.parquet", index=False)

    return store.build(key, {"photos": photos}, inputs, write, print).artifact


def test_a_photo_that_changed_its_part_is_counted_as_learnt(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made_from = {name: Content("1", dict.fromkeys(ARTIFACTS[name].files, "0")) for name in ("snapshot", "split")}
    old = publish(store, Key("coco_cache"), made_from, {"a": "train", "b": "train", "c": "val", "d": "val"})
    new = publish(store, Key("coco_cache"), made_from, {"a": "val", "b": "train", "c": "train", "d": "val"})
    inputs = {"coco_cache": Content.of(old.manifest)}
    training = publish(store, Key("training_run", "e"), inputs)
    checkpoint = training.best_checkpoint
    assert count_learnt(checkpoint, old.json_path("val")) == (0, 2)
    assert count_learnt(checkpoint, new.json_path("val")) == (1, 2)
    latest = store.folder(Key("training_run", "e")) / "latest" / "checkpoints" / "best.ckpt"
    assert count_learnt(latest, new.json_path("val")) == (1, 2)
    assert count_learnt(checkpoint, tmp_path / "val.json") is None
    assert count_learnt(tmp_path / "best.ckpt", new.json_path("val")) is None
