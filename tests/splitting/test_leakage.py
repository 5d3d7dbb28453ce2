"""Pictures in two parts: copies are found, look-alikes are not, and what is found stops the COCO cache."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from agar_pipeline.artifacts import ARTIFACTS, Split
from agar_pipeline.artifacts.refusals import refusal_of_split
from agar_pipeline.chain.build import build_node
from agar_pipeline.chain.nodes import AssetNode
from agar_pipeline.config import CocoCacheConfig, LeakageConfig, SplitConfig
from agar_pipeline.errors import GateError
from agar_pipeline.plates.generate import generate_plates
from agar_pipeline.splitting.duplicates import NEAREST, NO_DUPLICATES, find_duplicates, nearest_hashes
from agar_pipeline.splitting.leakage import ALL_PAIRS, apply_leakage_policy, count_copies, list_pairs
from agar_pipeline.steps import split as step
from agar_pipeline.store import Key, Store

WARN = SplitConfig(leakage=LeakageConfig(exact="warn"))


def silent(done: int, total: int) -> None:
    """No progress."""


def pairs_in(folder: Path, home: Path, config: SplitConfig = WARN) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Names of exact and of near duplicates in a folder of photos."""
    paths = sorted(folder.iterdir())
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    found = find_duplicates(config, paths, digests, home, silent)
    names = np.array([path.name for path in paths], dtype=object)
    return {tuple(names[pair]) for pair in found.exact}, {tuple(names[pair]) for pair in found.near}


@pytest.fixture(scope="module")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight different plates of 640 pixels."""
    folder = tmp_path_factory.mktemp("plates")
    generate_plates(folder, 8, size_px=640, seed=4)
    for path in folder.iterdir():
        if path.suffix != ".jpg":
            path.unlink()
    return folder


def copy_of(photo: Path, name: str, size_share: float = 1, quality: int = 90) -> Path:
    with Image.open(photo) as image:
        size = (round(image.width * size_share), round(image.height * size_share))
        image.resize(size, Image.Resampling.LANCZOS).save(photo.with_name(name), quality=quality)
    return photo.with_name(name)


def test_copies_are_found_and_different_plates_are_not(plates: Path, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in plates.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert pairs_in(folder, home) == (set(), set()), "plates look alike, but are not the same"
    first, second = sorted(folder.iterdir())[:2]
    (folder / "x_same_bytes.jpg").write_bytes(first.read_bytes())
    (folder / "x_other_bytes.jpg").write_bytes(first.read_bytes() + b"\0")
    copy_of(second, "y_smaller.jpg", size_share=0.5)
    copy_of(second, "z_coarser.jpg", quality=30)
    exact, near = pairs_in(folder, home)
    assert exact == {(first.name, "x_same_bytes.jpg"), (first.name, "x_other_bytes.jpg")}
    assert near == {(second.name, "y_smaller.jpg"), (second.name, "z_coarser.jpg"), ("y_smaller.jpg", "z_coarser.jpg")}


def test_one_colony_more_under_the_same_camera_is_another_plate(tmp_path: Path, home: Path) -> None:
    random, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        plate = Image.new("L", (2048, 2048), 25)
        pen = ImageDraw.Draw(plate)
        pen.ellipse((100, 100, 1948, 1948), fill=110, outline=170, width=14)
        for _ in range(number):
            x, y = random.integers(500, 1500, 2).tolist()
            pen.ellipse((x, y, x + 27, y + 27), fill=170)
        noisy = np.asarray(plate, dtype=np.float32) + random.normal(0, 4, (2048, 2048))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    assert pairs_in(folder, home) == (set(), set())


def test_a_second_look_computes_nothing(plates: Path, home: Path) -> None:
    before = pairs_in(plates, home)
    looked: list[int] = []
    paths = sorted(plates.iterdir())
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    find_duplicates(WARN, paths, digests, home, lambda done, total: looked.append(done))
    assert looked == []
    assert pairs_in(plates, home) == before


def test_photos_that_are_missing_are_no_duplicates_of_each_other(tmp_path: Path, home: Path) -> None:
    found = find_duplicates(WARN, [tmp_path / f"{i}.jpg" for i in range(4)], [None, None, "a", "b"], home, silent)
    assert (len(found.exact), len(found.near)) == (0, 0)


def test_pairs_of_hashes_are_those_of_a_loop() -> None:
    random = np.random.default_rng(1)
    hashes = random.integers(0, 2**64, (700, 4), dtype=np.uint64)
    hashes[600:] = hashes[:100] ^ (np.uint64(1) << random.integers(0, 64, (100, 4), dtype=np.uint64))
    hashes[5] = 0
    bits = np.unpackbits(hashes.view(np.uint8), axis=1).astype(np.int32)
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    expected = {(i, j) for i, j in np.argwhere(distances <= 40) if i < j and 5 not in (i, j)}
    pairs, found, cut = nearest_hashes(hashes, 40)
    assert cut == 0
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert (distances[tuple(pairs.T)] == found).all()


def test_more_look_alikes_than_are_compared_are_counted() -> None:
    hashes = np.full((NEAREST + 3, 4), 7, dtype=np.uint64)
    pairs, _, cut = nearest_hashes(hashes, 0)
    assert cut == 2, "only the first two have more than that after them"
    assert np.bincount(pairs[:, 0])[:4].tolist() == [NEAREST, NEAREST, NEAREST, NEAREST - 1]


@pytest.mark.parametrize("copies", [3, ALL_PAIRS + 3])
def test_of_several_copies_every_pair_counts(copies: int) -> None:
    parts = np.array([*["train"] * (copies - 2), None, "val", "val"], dtype=object)
    images = pd.DataFrame({"image_id": np.arange(copies + 1), "path": [f"{i}.jpg" for i in range(copies + 1)]})
    star = dataclasses.replace(NO_DUPLICATES, exact=np.array([(0, row) for row in range(1, copies + 1)]))
    table = list_pairs(images, parts, star)
    leakage = apply_leakage_policy(LeakageConfig(), table, count_copies(parts, star), 0)
    across = 2 * (copies - 2)
    assert leakage["exact"] == {
        "policy": "fail", "pairs": across + 1 + math.comb(copies - 2, 2), "across_parts": across, "images": copies,
    }  # fmt: skip
    assert not table.duplicated(["image_id", "other_image_id"]).any()
    assert (table["image_id"] < table["other_image_id"]).all()
    listed = table["across_parts"].sum()
    assert 0 < listed <= across if copies > ALL_PAIRS else listed == across
    assert not table.isin([copies - 2])[["image_id", "other_image_id"]].any(axis=None), "it is in no part"


def test_the_colonies_of_the_shared_data_have_no_false_pair(shared_data: Path, home: Path) -> None:
    paths = sorted((shared_data / "colonies").glob("*.jpg"))
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    found = find_duplicates(WARN, paths, digests, home, silent)
    assert len(paths) == 684
    assert (len(found.exact), len(found.near)) == (0, 0), "its README: pixel-unique"


def snapshot_of(folder: Path, home: Path) -> Any:
    """A snapshot of a folder of photos, without boxes."""
    paths = sorted(folder.iterdir())
    ids = np.arange(1, len(paths) + 1)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    names = {
        "image_id": ids,
        "sample_id": [f"{i:024x}" for i in ids],
        "path": [p.name for p in paths],
        "sha256": digests,
    }

    def write(out_dir: Path) -> None:
        for name in ARTIFACTS["snapshot"].files:
            (out_dir / name).write_text("{}")
        pd.DataFrame(names).to_parquet(out_dir / "image_ids.parquet")
        (out_dir / "dataset.json").write_text(json.dumps({"images_dir": str(folder)}))

    return Store(home).build(Key("snapshot"), {}, {}, write, print).artifact


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Forty small pictures; the last twenty are byte copies of the first, but for two: one is a coarser copy."""
    folder = tmp_path / "leaking"
    folder.mkdir()
    random = np.random.default_rng(2)
    for number in range(20):
        coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((160, 160), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=95)
        (folder / f"a{number:02}.jpg").write_bytes(buffer.getvalue())
        if number != 7:
            (folder / f"b{number:02}.jpg").write_bytes(buffer.getvalue())
    copy_of(folder / "a07.jpg", "b07.jpg", quality=60)
    return folder


def build(config: SplitConfig, snapshot: Any, home: Path) -> Split:
    node = AssetNode(Key("split"), config, (Key("snapshot"),))
    return build_node(Store(home), node, {Key("snapshot"): snapshot}, lambda text: None).artifact


def test_exact_duplicates_across_parts_block_and_the_page_shows_the_pairs(leaking: Path, home: Path) -> None:
    snapshot = snapshot_of(leaking, home)
    split = build(SplitConfig(seed=3), snapshot, home)
    leakage, table = split.summary()["leakage"], split.duplicates()
    assert leakage["exact"]["pairs"] == 19
    assert leakage["exact"]["across_parts"] == (table["across_parts"] & (table["kind"] == "exact")).sum() > 0
    assert table.loc[table["kind"] == "near", ["path", "other_path"]].to_numpy().tolist() == [["a07.jpg", "b07.jpg"]]
    page = (split.root / "report.html").read_text()
    assert "blocked because of" in page
    assert "Dishes: not checked. Two photos of one dish" in page
    assert "Pictures that look the same: looked for in all parts." in page
    assert page.count("data:image/jpeg") == 2 * min(12, int(table["across_parts"].sum()))
    node = AssetNode(Key("coco_cache"), CocoCacheConfig(class_map={"a": 1}), (Key("snapshot"), Key("split")))
    with pytest.raises(
        GateError,
        match=r"\(pairs: \d+ exact\), which makes scores too good: '[ab]\d\d.jpg' \(\w+\)(.|\n)*group_duplicates",
    ) as caught:
        build_node(Store(home), node, {Key("snapshot"): snapshot, Key("split"): split}, print)
    assert len(str(caught.value).splitlines()) <= 3
    blind = build(SplitConfig(seed=3, leakage=LeakageConfig(exact="off", near="off")), snapshot, home)
    page = (blind.root / "report.html").read_text()
    assert "OK: no pictures were compared." in page
    assert "Identical pictures: not looked for" in page
    allowed = build(SplitConfig(seed=3, leakage=LeakageConfig(exact="warn")), snapshot, home)
    assert allowed.summary()["leakage"]["ok"]
    assert (allowed.root / "split.parquet").read_bytes() == (split.root / "split.parquet").read_bytes()


@pytest.mark.parametrize("method", ["random", "hash"])
def test_grouped_duplicates_are_in_one_part(method: Any, leaking: Path, home: Path) -> None:
    config = SplitConfig(method=method, group_duplicates=True, fractions={"train": 0.6, "val": 0.4})
    split = build(config, snapshot_of(leaking, home), home)
    assert split.summary()["groups"] == 20
    assert split.summary()["leakage"]["exact"] == {"policy": "fail", "pairs": 19, "across_parts": 0, "images": 0}
    assert not split.duplicates()["across_parts"].any()
    assert refusal_of_split(split) is None


def test_the_step_runs_on_ids_alone_where_nothing_looks_at_pictures(tmp_path: Path, home: Path) -> None:
    off = SplitConfig(leakage=LeakageConfig(exact="off", near="off"))
    assert off.image_columns == ()
    ids = pd.DataFrame({"image_id": range(1, 11), "sample_id": [f"{i:024x}" for i in range(10)]})
    (tmp_path / "image_ids.parquet").parent.mkdir(exist_ok=True)
    ids.to_parquet(tmp_path / "image_ids.parquet")
    (tmp_path / "dataset.json").write_text(json.dumps({"images_dir": "/nowhere"}))
    step.build(off, tmp_path, print, ARTIFACTS["snapshot"](tmp_path))  # type: ignore[arg-type]
    assert pd.read_parquet(tmp_path / "split.parquet")["part"].value_counts().to_dict() == {"train": 8, "val": 2}
