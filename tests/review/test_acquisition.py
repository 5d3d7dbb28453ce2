"""Which photos are chosen to be annotated next, and why."""

from __future__ import annotations

import numpy as np
import pytest

from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.photo_features import PixelFeatures
from agar_pipeline.review.acquisition import Candidate, Committee, Photos, choose
from tests.review.made_labels import make_labels

DARK, BRIGHT = PixelFeatures(40, 20, 10), PixelFeatures(220, 30, 5)


def photo(image_id: int, colonies: int, score: float = 0.9, category_id: int = 1, shift: float = 0) -> Detections:
    boxes_xywh = np.array([[45.0 * place + shift, 10, 30, 30] for place in range(colonies)]).reshape(-1, 4)
    ids = np.full(colonies, image_id)
    return Detections(ids, np.full(colonies, category_id), boxes_xywh, np.full(colonies, score))


def committee(*models: list[Detections]) -> Committee:
    return Committee([Detections.concatenate(pieces) for pieces in models], [0.5] * len(models))


def chosen(asked: Committee, pixels: list[PixelFeatures | None], budget: int, first_id: int = 1) -> list[Candidate]:
    columns, _ = make_labels(images=4)
    photos = Photos(np.arange(first_id, first_id + len(pixels)), pixels)
    return choose(asked, photos, columns, [DARK] * 4, budget)


@pytest.mark.parametrize(
    ("theirs", "disputed"),
    [
        (photo(1, 4), 0.0),
        (photo(1, 4, score=0.3), 4 * (0.9 - 0.3) / 2),
        (photo(1, 4, category_id=2), 4 * 0.9),
        (photo(1, 4, shift=22.5), 4 * 0.9 * (1 - 2 / 7)),
        (photo(1, 0), 4 * 0.9 / 2),
    ],
    ids=["the same", "less sure", "another class", "another place", "nothing"],
)
def test_boxes_in_dispute_are_those_that_the_other_model_does_not_confirm(theirs: Detections, disputed: float) -> None:
    """A shift of 22.5 px leaves an IoU of 7.5 / 52.5, which confirms 2/7 of a box."""
    asked = committee([photo(1, 4)], [theirs])
    assert asked.disputed(np.array([1])) == pytest.approx([disputed])


def test_photos_on_which_the_models_disagree_come_first_with_the_reason() -> None:
    agreed, disputed = [photo(1, 6), photo(2, 5), photo(3, 6)], [photo(1, 6), photo(2, 1), photo(3, 6)]
    first, *rest = chosen(committee(agreed, disputed), [DARK] * 3, budget=9)
    assert (first.row, first.counts, len(rest)) == (1, (5, 1), 2)
    assert first.reason.startswith("The 2 models count 1 to 5 colonies and disagree on about 1.8 boxes; it ")
    assert [one.score for one in rest] == [0, 0], "nothing to learn, but asked for"


def test_not_twenty_alike_are_chosen_but_the_different_ones_between_them() -> None:
    """Ten copies of the plate with the most disputes, and two other plates with fewer."""
    ids = range(1, 13)
    many = [photo(i, 8) for i in ids if i <= 10] + [photo(11, 6, category_id=2), photo(12, 5, category_id=3)]
    pixels: list[PixelFeatures | None] = [*[DARK] * 10, BRIGHT, None]
    rows = [one.row for one in chosen(committee(many, [photo(1, 0)]), pixels, budget=4)]
    assert {10, 11} < set(rows[:3])
    assert len(set(rows)) == 4


def test_the_order_of_photos_and_their_ids_do_not_matter_and_one_model_is_refused() -> None:
    pieces = [photo(i, 9 - i) for i in range(1, 6)]
    pixels: list[PixelFeatures | None] = [DARK, BRIGHT, None, DARK, BRIGHT]
    columns, _ = make_labels(images=4)
    order = [3, 0, 4, 1, 2]
    turned_pixels: list[PixelFeatures | None] = [pixels[i] for i in order]
    asked = committee(pieces, [photo(1, 2)])
    plain = choose(asked, Photos(np.arange(1, 6), pixels), columns, [DARK] * 4, 5)
    turned = choose(asked, Photos(np.array(order) + 1, turned_pixels), columns, [DARK] * 4, 5)
    assert [order[one.row] for one in turned] == [one.row for one in plain]
    with pytest.raises(ValueError, match="1 model"):
        committee(pieces)
