"""What a split reads of the samples is stored and seen; what it does not read is neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agar_pipeline.config import SnapshotConfig, SplitConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.fiftyone_io.reading.observe import observe_at
from agar_pipeline.fiftyone_io.reading.read import read_at
from agar_pipeline.splitting.division import divide
from tests.fiftyone_io.conftest import collection_of, import_agar, resolver

TAGS = SplitConfig(method="tags", views={"train": "tag:train", "val": "tag:val"}, unassigned="leave_out")
FIELD = SplitConfig(method="field", field="agar_background", values={"bright": "train", "dark": "val"})
STRATA = SplitConfig(method="hash", stratify_by="class", group_by="field:agar_background")


@pytest.fixture
def name(new_dataset: Callable[[], str], plates: Path, uri: str, home: Path, database: Any) -> str:
    dataset = new_dataset()
    import_agar(plates, dataset, home)
    samples = database[collection_of(database, dataset)]
    for number, tag in enumerate(["train", "train", "val", "other"]):
        edit(samples, plates, number, {"$set": {"tags": [tag], "agar_background": "dark" if number > 2 else "bright"}})
    return dataset


def edit(samples: Any, plates: Path, number: int, change: dict[str, Any]) -> None:
    samples.update_one({"filepath": str(plates / f"{number}.jpg")}, change)


def asked(split: SplitConfig, dataset: str) -> SnapshotConfig:
    return SnapshotConfig(dataset=dataset, image_columns=split.image_columns)


@pytest.mark.parametrize(
    ("split", "expected"),
    [(TAGS, {"0": "train", "1": "train", "2": "val"}), (FIELD, {**dict.fromkeys("01245", "train"), "3": "val"})],
    ids=["by tags", "by a field"],
)  # fmt: skip
def test_the_snapshot_holds_what_the_split_reads(
    split: SplitConfig, expected: dict[str, str], uri: str, home: Path, database: Any, name: str, tmp_path: Path
) -> None:
    read_at(uri, asked(split, name), home, tmp_path, print, resolver(database))
    images = pd.read_parquet(tmp_path / "image_ids.parquet")
    assert set(images) == {"image_id", "sample_id", *split.image_columns}
    parts = divide(split, images).parts
    assert {Path(path).stem: part for path, part in zip(images["path"], parts, strict=True) if part} == expected


def test_classes_and_groups_are_read_and_nothing_else_is_kept(
    uri: str, home: Path, database: Any, name: str, tmp_path: Path
) -> None:
    read_at(uri, asked(STRATA, name), home, tmp_path, print, resolver(database))
    images = pd.read_parquet(tmp_path / "image_ids.parquet").set_index("path")
    assert list(images["labels"]["0.jpg"]) == ["B.subtilis", "E.coli"]
    assert list(images["labels"]["5.jpg"]) == []
    assert images.loc["3.jpg", "field:agar_background"] == "dark"
    read_at(uri, SnapshotConfig(dataset=name), home, tmp_path, print, resolver(database))
    assert list(pd.read_parquet(tmp_path / "image_ids.parquet")) == ["image_id", "sample_id"]


@pytest.mark.parametrize(
    ("change", "seen_by"),
    [({"$set": {"tags": ["val"]}}, TAGS), ({"$set": {"agar_background": "dark"}}, FIELD)],
    ids=["a tag moved", "a value edited"],
)
def test_observing_sees_edits_of_exactly_the_columns_that_are_read(
    change: dict[str, Any], seen_by: SplitConfig, uri: str, home: Path, database: Any, name: str, plates: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    def version(split: SplitConfig) -> tuple[str, bytes]:
        taken = read_at(uri, asked(split, name), home, tmp_path, print, resolver(database))
        assert taken == observe_at(uri, asked(split, name), home, resolver(database)).version
        return taken, (tmp_path / "image_ids.parquet").read_bytes()

    before = {split.method: version(split) for split in (TAGS, FIELD)}
    edit(database[collection_of(database, name)], plates, 0, change)
    for split in (TAGS, FIELD):
        assert (version(split)[1] != before[split.method][1]) == (split == seen_by)
    assert version(seen_by)[0] != before[seen_by.method][0]


def test_a_tag_without_samples_lists_tags_and_fields(
    uri: str, home: Path, database: Any, name: str, tmp_path: Path
) -> None:
    import json

    from agar_pipeline.steps.split import describe_dataset

    split = SplitConfig(method="tags", views={"train": "tag:train", "val": "tag:nobody"}, unassigned="leave_out")
    read_at(uri, asked(split, name), home, tmp_path, print, resolver(database))
    there = describe_dataset(json.loads((tmp_path / "dataset.json").read_text()))
    with pytest.raises(DatasetError, match=r"'tag:nobody' names none(.|\n)*train \(2\)(.|\n)*fields.*agar_background"):
        divide(split, pd.read_parquet(tmp_path / "image_ids.parquet"), there=there)
    with pytest.raises(DatasetError, match=r"field 'plate' of dataset .* does not exist(.|\n)*agar_background"):
        observe_at(uri, SnapshotConfig(dataset=name, image_columns=("field:plate",)), home, resolver(database))
