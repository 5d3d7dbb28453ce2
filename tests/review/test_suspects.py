"""Suspects: each kind of error is found, named and corrected by the suggestion; right labels are left alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.review.evidence import KINDS, weigh
from agar_pipeline.review.suspect_ids import identify
from agar_pipeline.review.suspects import review_labels
from benchmarks._planted_errors import plant
from tests.review.made_labels import COLONY_PX, make_labels, with_another, with_box, with_class, without


def sure(columns: CocoColumns, detections: Detections) -> int:
    """The row of an annotation that the detections confirm, in an otherwise empty surrounding."""
    best = detections.boxes_xywh[detections.scores.argmax()]
    here = columns.annotation_image_ids == detections.image_ids[detections.scores.argmax()]
    return int(np.where(here, np.abs(columns.boxes_xywh - best).sum(axis=1), np.inf).argmin())


def test_a_missed_colony_is_suggested_with_its_class() -> None:
    columns, detections = make_labels()
    row = sure(columns, detections)
    first = review_labels(without(columns, [row]), detections).suspects.iloc[0]
    assert (first["kind"], first["image_id"]) == ("missed_colony", columns.annotation_image_ids[row])
    assert np.abs(np.array(first["suggested_boxes_xywh"][0]) - columns.boxes_xywh[row]).max() < 6
    assert first["suggested_category_id"] == columns.annotation_category_ids[row]


def test_an_unannotated_detection_says_less_on_a_photo_where_there_are_many() -> None:
    columns, detections = make_labels()
    detections = dataclasses.replace(detections, scores=np.full(len(detections), 0.8))
    row, one, other = 0, 1, 2
    assert columns.annotation_image_ids[row] == one
    bare = np.flatnonzero(columns.annotation_image_ids == other)
    found = weigh(without(columns, [row, *bare.tolist()]), detections).missed
    assert found[detections.image_ids == one].max() > 1.1 * found[detections.image_ids == other].max() > 0
    nothing_annotated = weigh(columns.without_annotations(), detections).missed
    assert set(nothing_annotated) <= {0.0, 0.8}
    assert (nothing_annotated > 0).mean() > 0.5, "then all are of equal use"


def test_a_box_too_many_is_suggested_to_be_removed() -> None:
    columns, detections = make_labels()
    first = review_labels(with_another(columns, 1, 1, [365.0, 365, COLONY_PX, COLONY_PX]), detections).suspects
    row = first[first["annotation_id"] == 9000].iloc[0]
    assert row["kind"] == "box_too_many"
    assert list(row["suggested_boxes_xywh"]) == []
    assert row["score"] > 0, "though unseen colonies, 1 of 20, look the same"


def test_a_wrong_class_is_suggested_to_be_changed() -> None:
    columns, detections = make_labels()
    row = sure(columns, detections)
    right = int(columns.annotation_category_ids[row])
    first = review_labels(with_class(columns, row, right % 3 + 1), detections).suspects.iloc[0]
    assert (first["kind"], first["suggested_category_id"]) == ("wrong_class", right)
    assert first["suggested_boxes_xywh"] == [columns.boxes_xywh[row].round(2).tolist()]


def test_a_poor_box_is_suggested_to_be_moved_and_keeps_its_class() -> None:
    columns, detections = make_labels()
    row = sure(columns, detections)
    moved = with_box(columns, row, [*(columns.boxes_xywh[row, :2] - 8), COLONY_PX, COLONY_PX])
    found = review_labels(moved, detections).suspects
    first = found[found["annotation_id"] == columns.annotation_ids[row]].iloc[0]
    assert (first["kind"], first.name) == ("poor_box", 0)
    assert np.abs(np.array(first["suggested_boxes_xywh"][0]) - columns.boxes_xywh[row]).max() < 6
    assert first["suggested_category_id"] == columns.annotation_category_ids[row]


def test_of_a_double_box_one_is_kept() -> None:
    columns, detections = make_labels()
    row = sure(columns, detections)
    box = (columns.boxes_xywh[row] + [2, -2, 1, 1]).tolist()
    twice = with_another(
        columns, int(columns.annotation_image_ids[row]), int(columns.annotation_category_ids[row]), box
    )
    found = review_labels(twice, detections).suspects
    pair = {int(columns.annotation_ids[row]), 9000}
    doubled = found[(found["kind"] == "double_box") & found["annotation_id"].isin(pair)]
    assert len(doubled) == 1
    assert {int(doubled.iloc[0]["annotation_id"]), int(doubled.iloc[0]["other_annotation_id"])} == pair


def test_a_double_box_is_found_where_there_are_fewer_detections_than_annotations() -> None:
    columns, detections = make_labels(10)
    detections = detections.take(np.flatnonzero(detections.scores > 0.6))
    row = len(columns.annotation_ids) - 1
    box, category_id = columns.boxes_xywh[row].tolist(), int(columns.annotation_category_ids[row])
    twice = with_another(columns, int(columns.annotation_image_ids[row]), category_id, box)
    found = review_labels(twice, detections).suspects
    assert len(detections) < row
    doubled = found[found["kind"] == "double_box"].iloc[0]
    assert {doubled["annotation_id"], doubled["other_annotation_id"]} == {columns.annotation_ids[row], 9000}


def test_two_colonies_in_one_box_are_suggested_apart() -> None:
    columns, detections = make_labels()
    one, other = 100.0, 132.0
    for image, x, score in ((1, one, 0.95), (1, other, 0.93)):
        detections = Detections(
            np.append(detections.image_ids, image),
            np.append(detections.category_ids, 2),
            np.concatenate([detections.boxes_xywh, [[x, 366, COLONY_PX, COLONY_PX]]]),
            np.append(detections.scores, score),
        )
    joined = with_another(columns, 1, 2, [one, 366, COLONY_PX + other - one, COLONY_PX])
    found = review_labels(joined, detections).suspects
    row = found[found["annotation_id"] == 9000].iloc[0]
    assert row["kind"] == "merged_box"
    assert sorted(box[0] for box in row["suggested_boxes_xywh"]) == [one, other]


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_errors_come_first(seed: int) -> None:
    columns, detections = make_labels(60, seed=seed)
    planted = plant(columns, seed)
    found = review_labels(planted.columns, detections).suspects.head(len(planted.kinds))
    suggested = [boxes[0] if boxes else [0.0] * 4 for boxes in found["suggested_boxes_xywh"]]
    ids = found["annotation_id"].fillna(-1).astype(int).to_numpy()
    pointed = planted.found(found["image_id"].to_numpy(), ids, np.array(suggested))
    shares = {kind: np.isin(np.flatnonzero(planted.kinds == kind), pointed).mean() for kind in KINDS}
    assert min(shares.values()) > 0.35, shares
    assert np.mean(list(shares.values())) > 0.75, shares


def test_the_number_of_wrong_labels_is_estimated_within_its_interval() -> None:
    columns, detections = make_labels(60)
    planted = plant(columns, 0)

    def estimate(of: CocoColumns) -> tuple[float, float, float]:
        total = np.sum(list(review_labels(of, detections).wrong.values()), axis=0)
        return float(total[0]), float(np.quantile(total[1:], 0.025)), float(np.quantile(total[1:], 0.975))

    unseen = 0.05 * len(columns.annotation_ids)  # colonies that the detector does not see look like boxes too many
    clean, damaged = estimate(columns), estimate(planted.columns)
    assert clean[0] < 1.5 * unseen
    assert damaged[1] - 0.2 * len(planted.kinds) < len(planted.kinds) < damaged[2] + unseen


def test_one_class_has_no_wrong_class_and_crowds_are_left_alone() -> None:
    columns, detections = make_labels(classes=1)
    row = sure(columns, detections)
    crowd = dataclasses.replace(columns, iscrowd=np.arange(len(columns.annotation_ids)) == row)
    found = review_labels(crowd, detections).suspects
    assert "wrong_class" not in set(found["kind"])
    assert columns.annotation_ids[row] not in set(found["annotation_id"].dropna())


@pytest.mark.parametrize("images", [0, 1])
def test_images_without_labels_have_no_suspects(images: int) -> None:
    columns, detections = make_labels(1)
    empty = columns.without_annotations().take_image_columns(np.arange(images))
    review = review_labels(empty, detections.take(np.zeros(0, np.int64)))
    assert review.suspects.empty
    assert {kind: of.tolist() for kind, of in review.wrong.items()} == {kind: [0.0] * 201 for kind in KINDS}


def test_the_review_repeats() -> None:
    columns, detections = make_labels(10)
    one, other = review_labels(columns, detections), review_labels(columns, detections)
    assert one.suspects.equals(other.suspects)


def test_a_suspect_keeps_its_id_where_the_annotations_are_numbered_anew() -> None:
    """They are numbered over all photos, so that a box more on one photo gives another annotation a known number."""
    columns, detections = make_labels(10)
    row = len(columns.annotation_ids) - 1
    columns = with_another(columns, 10, int(columns.annotation_category_ids[row]), columns.boxes_xywh[row].tolist())

    def ids(of: CocoColumns) -> list[str]:
        table = review_labels(of, detections).suspects
        return identify(table.assign(file_name=table["image_id"].astype(str)))

    before = ids(columns)
    renumbered = dataclasses.replace(columns, annotation_ids=columns.annotation_ids + 1)
    assert ids(renumbered) == before
    assert len(set(before)) == len(before), "the two equal ones, too"
