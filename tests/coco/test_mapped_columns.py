"""The columns beside a COCO file: they say what the JSON says, are shared, and give way to a JSON that was edited."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from agar_pipeline.coco import columns, mapped_columns
from agar_pipeline.coco.columns import CocoColumns, parse_coco, read_coco
from agar_pipeline.coco.mapped_arrays import TextColumn
from agar_pipeline.coco.mapped_columns import columns_folder
from agar_pipeline.coco.writer import write_coco
from agar_pipeline.store import Store
from agar_pipeline.store.clean import find_droppable

ODD_NAMES = ["a/1.jpg", "b/1.jpg", "Größe 100% \n\t.jpg", "培养皿.jpg", "x" * 251 + ".jpg", "/".join(["y" * 200] * 15)]


def make_columns(images: int, boxes_per_image: int) -> CocoColumns:
    count = images * boxes_per_image
    rng = np.random.default_rng(0)
    sizes_wh = rng.integers(50, 4000, (images, 2))
    return CocoColumns(
        image_ids=np.arange(1, images + 1),
        file_names=np.array([ODD_NAMES[i] if i < len(ODD_NAMES) else f"{i}.jpg" for i in range(images)], dtype=object),
        sizes_wh=sizes_wh,
        annotation_ids=np.arange(count) + 7,
        annotation_image_ids=np.repeat(np.arange(1, images + 1), boxes_per_image),
        annotation_category_ids=rng.integers(1, 3, count),
        boxes_xywh=rng.uniform(-5, 400, (count, 4)),
        iscrowd=rng.random(count) < 0.1,
        category_ids=np.array([1, 2]),
        class_names=("S. aureus", "大腸菌"),
        original_sizes_wh=sizes_wh * 2,
    )


def same(one: CocoColumns, other: CocoColumns) -> bool:
    names = [field.name for field in dataclasses.fields(CocoColumns)]
    return all(
        np.array_equal(np.asarray(getattr(one, n)), np.asarray(getattr(other, n)), equal_nan=n == "boxes_xywh")
        for n in names
    )


def is_mapped(columns: CocoColumns) -> bool:
    return isinstance(columns.boxes_xywh.base, np.memmap)


def test_columns_say_what_the_json_says(tmp_path: Path) -> None:
    columns = make_columns(300, 20)
    columns.boxes_xywh[3] = [np.nan, np.inf, -np.inf, 1e-300]
    write_coco(tmp_path / "train.json", columns)
    opened, parsed = read_coco(tmp_path / "train.json"), parse_coco(tmp_path / "train.json")
    assert is_mapped(opened)
    assert not is_mapped(parsed)
    assert same(opened, parsed)
    assert opened.file_names[[0, 1, 2, 3, 4, 5]].tolist() == ODD_NAMES
    assert (opened.file_names[-1], opened.file_names[2:4].tolist()) == ("299.jpg", ODD_NAMES[2:4])
    few = opened.take_images(np.array([4, 2]))
    assert few.original_sizes_wh.tolist() == (columns.sizes_wh[[4, 2]] * 2).tolist()
    assert not opened.boxes_xywh.flags.writeable, "nobody writes into an artifact by mistake"


@pytest.mark.parametrize("images", [0, 1])
def test_a_file_without_images_or_boxes_is_opened_too(tmp_path: Path, images: int) -> None:
    write_coco(tmp_path / "val.json", make_columns(images, 0))
    assert same(read_coco(tmp_path / "val.json"), parse_coco(tmp_path / "val.json"))


def test_a_json_edited_by_hand_counts_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    write_coco(path, make_columns(300, 20))
    path.write_bytes(path.read_bytes().replace(b'"299.jpg"', b'"XYZ.jpg"'))
    os.utime(path, ns=(10**18, 10**18))
    assert read_coco(path).file_names[299] == "XYZ.jpg", "seen although the size is the same"
    path.write_bytes(path.read_bytes().replace(b'"XYZ.jpg"', b'"longer name.jpg"'))
    assert read_coco(path).file_names[299] == "longer name.jpg"


def test_a_large_json_without_columns_gets_them_under_the_home(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.json"
    write_coco(path, make_columns(300, 20))
    monkeypatch.setattr(mapped_columns, "_WORTH_KEEPING_BYTES", 1000)
    path.write_bytes(path.read_bytes().replace(b'"299.jpg"', b'"XYZ.jpg"'))
    assert is_mapped(read_coco(path)), "rebuilt at once"
    with monkeypatch.context() as patch:
        patch.setattr(columns, "parse_coco", lambda path: pytest.fail("the JSON was read again"))
        assert read_coco(path).file_names[299] == "XYZ.jpg"
    path.write_bytes(path.read_bytes().replace(b'"XYZ.jpg"', b'"ABC.jpg"'))
    assert read_coco(path).file_names[299] == "ABC.jpg"
    assert [found.path.parent for found in find_droppable(Store(home))] == [home / "columns"] * 2
    home.chmod(0o500)
    (home / "columns").chmod(0o500)
    path.write_bytes(path.read_bytes().replace(b'"ABC.jpg"', b'"DEF.jpg"'))
    assert read_coco(path).file_names[299] == "DEF.jpg", "a home that cannot be written stops nobody"
    home.chmod(0o700)


def test_a_cache_copied_to_another_disk_keeps_its_columns(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", make_columns(300, 20))
    os.utime(tmp_path / "train.json")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "train.json").rename(tmp_path / "elsewhere" / "train.json")
    columns_folder(tmp_path / "train.json").rename(columns_folder(moved))
    assert is_mapped(read_coco(moved))


@pytest.mark.parametrize("damage", ["cut short", "of another length", "missing"])
def test_damaged_columns_give_way_to_the_json(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "train.json"
    write_coco(path, make_columns(300, 20))
    broken = columns_folder(path) / "boxes_xywh.npy"
    if damage == "cut short":
        broken.write_bytes(broken.read_bytes()[:-100])
    elif damage == "of another length":
        np.save(broken, np.zeros((5999, 4)))
    else:
        broken.unlink()
    assert same(read_coco(path), parse_coco(path))


def _sum_in_worker(columns: CocoColumns) -> tuple[float, bool, str]:
    return float(columns.boxes_xywh.sum()), is_mapped(columns), columns.file_names[299]


def test_workers_map_the_same_files_instead_of_receiving_a_copy(tmp_path: Path) -> None:
    write_coco(tmp_path / "train.json", make_columns(300, 200))
    opened = read_coco(tmp_path / "train.json")
    assert len(pickle.dumps(opened)) < 10_000 < opened.boxes_xywh.nbytes
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_sum_in_worker, (opened,)) == (float(opened.boxes_xywh.sum()), True, "299.jpg")
    part = dataclasses.replace(opened, boxes_xywh=opened.boxes_xywh[10:20])
    assert np.array_equal(pickle.loads(pickle.dumps(part)).boxes_xywh, opened.boxes_xywh[10:20]), "a part is no whole"


def test_text_columns_refuse_rows_that_are_not_there() -> None:
    texts = TextColumn.of(["", "é"])
    assert list(texts) == ["", "é"]
    assert texts[np.array([False, True])].tolist() == ["é"]
    with pytest.raises(IndexError, match="row 2 of 2 texts"):
        texts[2]
