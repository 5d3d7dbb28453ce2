"""What a division promises, whatever the images: properties over drawn datasets, and errors in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agar_pipeline.config import Part, SplitConfig
from agar_pipeline.errors import DatasetError
from agar_pipeline.splitting.division import Division, divide

THREE: dict[Part, float] = {"train": 0.6, "val": 0.2, "test": 0.2}
PARTS = ("train", "val", "test")
SEEDS = st.integers(0, 2**32 - 1)


def table(count: int, first: int = 0, **columns: Iterable[Any]) -> pd.DataFrame:
    """Images with ids that grow as FiftyOne's do, and any other columns (`field_plate` → `field:plate`)."""
    ids = [f"{i:024x}" for i in range(first, first + count)]
    named = {name.replace("_", ":", 1): list(values) for name, values in columns.items()}
    return pd.DataFrame({"sample_id": ids, "path": [f"a/{i}.jpg" for i in range(first, first + count)], **named})


def config(**more: Any) -> SplitConfig:
    return SplitConfig(**{"unassigned": "leave_out", **more})


def parts_by_id(images: pd.DataFrame, division: Division) -> dict[str, str | None]:
    return dict(zip(images["sample_id"], division.parts, strict=True))


def try_divide(setting: SplitConfig, images: pd.DataFrame, **more: Any) -> Division:
    """The division, even where it would leave a part empty: that is another promise, tested below."""
    import agar_pipeline.splitting.division as room

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_require_no_empty_part", lambda *args: None)
        return divide(setting, images, **more)


def test_the_users_dataset_is_cut_as_promised() -> None:
    assert divide(SplitConfig(), table(4431)).counts == {"train": 3544, "val": 887}
    assert divide(config(fractions={**THREE, "test": 0.2}), table(500)).counts == {
        "train": 300,
        "val": 100,
        "test": 100,
    }


METHODS = [{"method": "random"}, {"method": "hash"}, {"method": "random", "stratify_by": "field:plate"},
           {"method": "random", "group_by": "field:plate"}, {"method": "hash", "group_by": "field:plate"},
           {"method": "random", "group_by": "field:plate", "stratify_by": "class"},
           {"method": "random", "group_by": "field:plate", "group_duplicates": True},
           {"method": "hash", "group_by": "duplicates"}]  # fmt: skip


@st.composite
def datasets(draw: st.DrawFn) -> tuple[pd.DataFrame, np.ndarray]:
    """Images on plates, with labels and pairs of duplicates."""
    count = draw(st.integers(2, 60))
    plates = draw(st.lists(st.sampled_from(["p1", "p2", "p3", "p4", "p5", None]), min_size=count, max_size=count))
    labels = draw(st.lists(st.lists(st.sampled_from("abc"), unique=True), min_size=count, max_size=count))
    rows = st.integers(0, count - 1)
    pairs = draw(st.lists(st.tuples(rows, rows).filter(lambda pair: pair[0] != pair[1]), max_size=20))
    return table(count, field_plate=plates, labels=labels), np.array(pairs, dtype=np.int64).reshape(-1, 2)


@pytest.mark.parametrize("setting", METHODS, ids=lambda plain: " ".join(map(str, plain.values())))
@settings(max_examples=25, deadline=None)
@given(dataset=datasets(), seed=SEEDS, shuffle=st.randoms(use_true_random=False))
def test_every_image_is_in_one_part_whatever_their_order(
    setting: Mapping[str, Any], dataset: tuple[pd.DataFrame, np.ndarray], seed: int, shuffle: Any
) -> None:
    images, pairs = dataset
    asked = config(seed=seed, fractions=THREE, **setting)
    division = try_divide(asked, images, duplicates=pairs)
    missing = images["field:plate"].isna().to_numpy() if str(asked.group_by).startswith("field") else np.False_
    assert ((pd.isna(division.parts)) == missing).all(), "only images without a group may be left out"
    assert {part for part in division.parts if part} <= set(PARTS)
    assert sum(division.counts.values()) + sum(division.left_out.values()) == len(images), "all are accounted for"
    rows = list(range(len(images)))
    shuffle.shuffle(rows)
    where = np.argsort(rows)
    again = try_divide(asked, images.iloc[rows].reset_index(drop=True), duplicates=where[pairs])
    assert parts_by_id(images.iloc[rows], again) == parts_by_id(images, division)


@pytest.mark.parametrize("setting", METHODS[3:], ids=lambda plain: " ".join(map(str, plain.values())))
@settings(max_examples=25, deadline=None)
@given(dataset=datasets(), seed=SEEDS)
def test_groups_are_never_torn(setting: Mapping[str, Any], dataset: tuple[pd.DataFrame, np.ndarray], seed: int) -> None:
    images, pairs = dataset
    asked = config(seed=seed, fractions=THREE, **setting)
    division = try_divide(asked, images, duplicates=pairs)
    by_plate = pd.Series(division.parts).groupby(images["field:plate"]).nunique()
    if asked.group_by == "field:plate":
        assert (by_plate <= 1).all()
    if asked.groups_duplicates and asked.method == "random":
        both = [(a, b) for a, b in division.parts[pairs] if a and b]
        assert all(a == b for a, b in both), "duplicates are in one part"


@pytest.mark.parametrize("added", [1, 1000])
@pytest.mark.parametrize(
    "setting",
    [{}, {"stratify_by": "class"}, {"group_by": "field:plate"}, {"group_duplicates": True},
     {"group_by": "field:plate", "group_duplicates": True, "stratify_by": "field:plate"}],
    ids=["plain", "stratified", "grouped", "with duplicates", "everything"],
)  # fmt: skip
@settings(max_examples=10, deadline=None)
@given(data=st.data(), seed=SEEDS)
def test_adding_images_to_a_hash_split_moves_no_old_one(
    added: int, setting: Mapping[str, Any], data: st.DataObject, seed: int
) -> None:
    old, random = 40, np.random.default_rng(data.draw(st.integers(0, 10_000)))
    plates = random.choice(["p1", "p2", "p3", "p4"], old + added)
    labels = [list(set(random.choice(list("abc"), 2))) for _ in plates]
    images = table(old + added, field_plate=plates, labels=labels)
    pairs = random.integers(0, old + added, (30, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    asked = config(method="hash", seed=seed, **setting)
    before = try_divide(asked, images[:old], duplicates=pairs[(pairs < old).all(axis=1)])
    after = try_divide(asked, images, duplicates=pairs)
    assert (after.parts[:old] == before.parts).all()


def test_a_hash_split_keeps_its_shares_and_another_seed_salts_it() -> None:
    images = table(20_000)
    one, other = (divide(config(method="hash", seed=seed, fractions=THREE), images).parts for seed in (0, 1))
    for part, share in THREE.items():
        assert abs((one == part).mean() - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
    assert 0.4 < (one == other).mean() < 0.48, "0.6² + 0.2² + 0.2² = 0.44 of the images agree by chance"


def test_the_hash_of_a_key_is_frozen() -> None:
    """Another release must not move an image: these parts were drawn by the first."""
    drawn = divide(config(method="hash", fractions=THREE), table(12)).parts
    assert "".join(part[1] for part in drawn) == FROZEN


FROZEN = "arrraareeera"


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8), seed=SEEDS)
def test_a_stratified_draw_gives_each_part_its_share_of_each_value(sizes: list[int], seed: int) -> None:
    values = [f"v{place}" for place, size in enumerate(sizes) for _ in range(size)]
    images = table(len(values), field_kind=values)
    division = try_divide(config(seed=seed, fractions=THREE, stratify_by="field:kind"), images)
    for value, size in zip(sorted(set(values)), sizes, strict=True):
        for part, share in THREE.items():
            got = (division.parts[np.array(values) == value] == part).sum()
            assert abs(got - share * size) < 2, "at most the rounding"
    for part, share in THREE.items():
        assert abs(division.counts[part] - share * len(values)) < 2, "and the rounding of many strata does not add up"


def test_classes_are_balanced_where_images_hold_several_and_spellings_are_one() -> None:
    random = np.random.default_rng(0)
    labels = [list({random.choice(["S.aureus", "S. aureus"]), *random.choice(["E.coli", "rare", "C.albicans"],
              1, p=[0.5, 0.02, 0.48])}) if random.random() > 0.1 else [] for _ in range(1000)]  # fmt: skip
    images = table(1000, labels=labels)
    names = {"S.aureus": 1, "S. aureus": 1, "E.coli": 2, "rare": 3, "C.albicans": 4}
    parts = divide(config(stratify_by="class", class_map=names), images).parts
    for label in ("E.coli", "rare", "C.albicans"):
        holds = np.array([label in row for row in labels])
        assert abs((parts[holds] == "val").sum() - 0.2 * holds.sum()) <= 1
    assert abs((parts == "val").sum() - 200) <= 2


def test_images_without_labels_are_in_no_part_and_change_no_other_ones_part() -> None:
    labelled = np.arange(60) % 3 > 0
    images = table(60, labels=[["a"]] * 60).assign(labelled=labelled)
    alone = images[labelled].reset_index(drop=True)
    pairs = np.array([[0, 1], [1, 2], [4, 5]])
    for more in ({}, {"method": "hash"}, {"stratify_by": "class"}, {"group_duplicates": True}):
        division = divide(config(labelled_only=True, **more), images, duplicates=pairs)
        without = divide(config(**more), alone, duplicates=np.array([[0, 1], [2, 3]]))
        assert division.parts[labelled].tolist() == without.parts.tolist()
        assert set(division.parts[~labelled]) == {None}
        assert (division.left_out, division.counts) == ({"not labelled yet": 20}, without.counts)
    lists: dict[Part, list[str]] = {
        "train": [f"a/{n}.jpg" for n in range(50)],
        "val": [f"a/{n}.jpg" for n in range(50, 60)],
    }
    named = SplitConfig(method="lists", lists={"train": "t", "val": "v"}, labelled_only=True)
    assert divide(named, images, lists=lists).left_out == {"not labelled yet": 20}, "a list may name them"
    with pytest.raises(DatasetError, match="no image is labelled yet, of 60"):
        divide(config(labelled_only=True), images.assign(labelled=False))


def test_views_fields_and_lists_name_the_parts() -> None:
    columns = {"view:tag:train": [1, 1, 0, 0], "view:tag:val": [0, 0, 1, 0], "field:role": [*"llc", None]}
    images = table(4).assign(**columns)
    views = config(method="tags", views={"train": "tag:train", "val": "tag:val"})
    field = config(method="field", field="role", values={"l": "train", "c": "val"})
    lists = config(method="lists", lists={"train": "t", "val": "v"}, unknown_names="ignore")
    named = {"train": ["a/0.jpg", f"{1:024x}"], "val": ["2", "a/nope.jpg"]}
    settings_and_lists: list[tuple[SplitConfig, dict[str, Any]]] = [(views, {}), (field, {}), (lists, {"lists": named})]
    for setting, more in settings_and_lists:
        division = divide(setting, images, **more)
        assert division.parts.tolist() == ["train", "train", "val", None]
        assert sum(division.left_out.values()) == 1
    assert division.unknown_names == ("a/nope.jpg",)


VIEWS = {"view:tag:train": [1, 1], "view:tag:val": [0, 0]}
TAGS = {"method": "tags", "views": {"train": "tag:train", "val": "tag:val"}}


@pytest.mark.parametrize(
    ("columns", "setting", "message"),
    [
        ({**VIEWS, "view:tag:val": [0, 1]}, TAGS, r"1 image is in two parts.*a/1.jpg.*'tag:train'"),
        ({**VIEWS, "view:tag:train": [1, 0]}, TAGS, r"no part of the split: 1 of 2 .*\n.*tags seen \(2\)"),
        ({**VIEWS}, TAGS, r"part 'val' is empty: view 'tag:val'.*\n.*seen \(2\)"),
        ({"field:f": ["train", "holdout"]}, {"method": "field", "field": "f"}, r"f is 'holdout', which names no part"),
        ({"field:f": ["p", None]}, {"group_by": "field:f"}, r"no part .*: 1 of 2 \(no value of field:f: 1\)"),
        ({"field:f": ["p", "p"]}, {"group_by": "field:f"}, r"part '\w+' gets none of 2 images in 1 group with"),
        ({}, {"method": "lists", "lists": {"train": "t", "val": "v"}}, r"no image .*fits 1 line of .*'nobody.jpg'"),
    ],
    ids=["in two", "in none", "a tag with 0 samples", "an unknown value", "no group", "one group", "a wrong line"],
)  # fmt: skip
def test_no_silent_wrong_split(columns: dict[str, list[Any]], setting: dict[str, Any], message: str) -> None:
    images = table(2).assign(**columns)
    lists: dict[Part, list[str]] = {"train": ["0.jpg"], "val": ["a/1.jpg", "nobody.jpg"]}
    with pytest.raises(DatasetError, match=message) as caught:
        divide(SplitConfig(**setting), images, lists=lists, there="tags seen (2)")
    assert len(str(caught.value).splitlines()) <= 3


def test_a_file_name_in_two_folders_must_be_listed_by_its_path() -> None:
    images = table(2).assign(path=["a/1.jpg", "b/1.jpg"])
    setting = SplitConfig(method="lists", lists={"train": "t", "val": "v"})
    with pytest.raises(DatasetError, match=r"or more than one, fits 1 line of .*: '1\.jpg'"):
        divide(setting, images, lists={"train": ["1.jpg", "a/1.jpg"], "val": ["b/1.jpg"]})
    assert divide(setting, images, lists={"train": ["a/1.jpg"], "val": ["b/1.jpg"]}).parts.tolist() == ["train", "val"]


def test_a_new_picture_that_looks_like_two_old_ones_joins_the_older_one() -> None:
    images = table(400)
    asked = config(method="hash", group_duplicates=True)
    alone = divide(asked, images).parts
    old = int(np.flatnonzero(alone == "train")[0]), int(np.flatnonzero(alone == "val")[-1])
    both = divide(asked, table(401), duplicates=np.array([[400, old[0]], [old[1], 400]])).parts
    assert (both[:400] == alone).all()
    assert both[400] == alone[min(old)]


def test_lists_of_other_machines_name_images_by_the_ends_of_their_paths() -> None:
    """A path of Windows or of another folder counts where it ends with an image's whole path, and no sooner."""
    images = pd.DataFrame({"sample_id": ["a", "b"], "path": ["x/1.jpg", "y/1.jpg"]})
    setting = SplitConfig(method="lists", lists={"train": "t", "val": "v"})
    for train, val in (("C:\\data\\x\\1.jpg", "x\\..\\y/1.jpg"), ("data/obj/x/1.jpg", "/home/me/y/1.jpg")):
        assert divide(setting, images, lists={"train": [train], "val": [val]}).parts.tolist() == ["train", "val"]
    with pytest.raises(DatasetError, match=r"in no list: 1\); first 'y/1.jpg'"):
        divide(setting, images, lists={"train": ["x/1.jpg"], "val": ["z/1.jpg"]})
