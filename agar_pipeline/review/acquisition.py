"""Chooses the photos to annotate next: those on which several models disagree, and that look unlike each other.

The models were trained on different parts of the labels (query by committee: Seung, Opper, Sompolinsky, COLT 1992; for
detectors: Roy, Unmesh, Namboodiri, BMVC 2018). The worth of a photo alone is the number of boxes on which they
disagree, plus the standard deviation of their counts. The photos are chosen one after the other; each has the largest
product of its worth and its distance to the nearest photo that is annotated or was chosen before: the greedy k-centers
of core-sets (Sener, Savarese, ICLR 2018), weighted.

Here: the worth, the distance, the order, and the reason in words. Not here: models and photos (`use_cases`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agar_pipeline.coco.columns import CocoColumns
from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.photo_features import PixelFeatures
from agar_pipeline.review.overlaps import find_overlaps
from agar_pipeline.scoring.matching import FOUND_IOU

LEAST_SCORE = 0.05
"""Detections of a lower score are left out: they are many, and stand for few colonies."""
LEAST_SPREAD = 1e-6
FAR = 1.0
"""Distance from which a photo is as unlike the others as it can be; two photos are typically about as far apart."""


@dataclass(frozen=True)
class Committee:
    """The detections of K models, two or more, on the same N photos."""

    detections: Sequence[Detections]
    """(K,) of each model, also those of low scores."""
    thresholds: Sequence[float]
    """(K,) score from which a detection of each model counts as a colony."""

    def __post_init__(self) -> None:
        if len(self.detections) < 2:
            raise ValueError(f"{len(self.detections)} model cannot disagree with another one")

    def colonies(self) -> list[Detections]:
        """The detections of each model that count."""
        pairs = zip(self.detections, self.thresholds, strict=True)
        return [found.take(np.flatnonzero(found.scores >= least)) for found, least in pairs]

    def counts(self, image_ids: np.ndarray) -> np.ndarray:
        """(K, N) number of colonies of each model on each photo."""
        rows = [_rows_of(image_ids, found.image_ids) for found in self.colonies()]
        return np.stack([np.bincount(each, minlength=len(image_ids)) for each in rows])

    def disputed(self, image_ids: np.ndarray) -> np.ndarray:
        """(N,) expected number of boxes of one model that another one does not confirm, mean over all pairs.

        A detection of score s adds s · (1 − the largest min(1, t / s) · min(1, IoU / 0.5)) over the other model's
        detections of its class, with scores t: a low score that both give is no dispute.
        """
        seen = [found.take(np.flatnonzero(found.scores >= LEAST_SCORE)) for found in self.detections]
        total = np.zeros(len(image_ids))
        for one in seen:
            rows = _rows_of(image_ids, one.image_ids)
            for other in seen:
                if other is not one:
                    total += np.bincount(rows, _unconfirmed(one, other), len(image_ids))
        return total / (len(seen) * (len(seen) - 1))


def _unconfirmed(one: Detections, other: Detections) -> np.ndarray:
    """(D,) the part of each score of one model that no detection of the other model confirms."""
    pairs = find_overlaps(one.boxes_xywh, one.image_ids, other.boxes_xywh, other.image_ids)
    pairs = pairs.where(one.category_ids[pairs.first] == other.category_ids[pairs.second])
    agreed = np.minimum(1, other.scores[pairs.second] / one.scores[pairs.first])
    confirmed = np.zeros(len(one))
    np.maximum.at(confirmed, pairs.first, agreed * np.minimum(1, pairs.iou / FOUND_IOU))
    return one.scores * (1 - confirmed)


@dataclass(frozen=True)
class Photos:
    """N photos, with the features of their pixels."""

    image_ids: np.ndarray
    """(N,)."""
    pixels: Sequence[PixelFeatures | None]
    """(N,); None: the pixels were not read."""

    def features(self, boxes: Detections, models: int, category_ids: np.ndarray) -> np.ndarray:
        """(N, F) number and size of the colonies, pixels, shares of the classes; NaN where not known.

        Args:
            boxes: The colonies: annotations, or the detections of all models together.
            models: Number of models that the boxes are of; 1 for annotations.
            category_ids: (C,) ascending.
        """
        rows, many = _rows_of(self.image_ids, boxes.image_ids), len(self.image_ids)
        sides = np.log1p(np.sqrt(boxes.boxes_xywh[:, 2:].prod(axis=1)))
        boxes_of = np.bincount(rows, minlength=many)
        size = np.bincount(rows, sides, many) / np.where(boxes_of, boxes_of, np.nan)
        of_class = np.zeros((many, len(category_ids)))
        np.add.at(of_class, (rows, np.searchsorted(category_ids, boxes.category_ids)), 1 / models)
        counts = of_class.sum(axis=1, keepdims=True)
        unknown = (np.nan,) * 3
        pixels = [unknown if one is None else (one.brightness, one.contrast, one.colourfulness) for one in self.pixels]
        shares = of_class / np.maximum(counts, 1 / models)
        return np.column_stack([np.log1p(counts), size, np.array(pixels).reshape(-1, 3), shares])


@dataclass(frozen=True)
class Candidate:
    """A photo that was chosen, in the order in which the photos should be annotated."""

    row: int
    score: float
    """Worth times the nearness factor; it does not rise from one candidate to the next."""
    disputed: float
    """Expected number of boxes in dispute."""
    counts: tuple[int, ...]
    """Number of colonies by each model."""
    distance: float
    """To the nearest photo that is annotated or was chosen before; 1: as far as two photos typically are."""

    @property
    def reason(self) -> str:
        """One sentence."""
        low, high = min(self.counts), max(self.counts)
        counted = f"{low}" if low == high else f"{low} to {high}"
        unlike = "is unlike" if self.distance >= FAR else "is like" if self.distance < FAR / 3 else "differs from"
        return (
            f"The {len(self.counts)} models count {counted} colonies and disagree on about {self.disputed:.1f} boxes; "
            f"it {unlike} the photos that are annotated or come before it."
        )


def choose(
    committee: Committee,
    photos: Photos,
    annotations: CocoColumns,
    annotated_pixels: Sequence[PixelFeatures | None],
    budget: int,
) -> list[Candidate]:
    """Choose at most `budget` of N photos.

    Args:
        committee: Its detections on the N photos.
        photos: The N photos.
        annotations: The M photos that are annotated already, in pixels of the photos.
        annotated_pixels: (M,) features of their pixels.
    """
    category_ids = np.sort(annotations.category_ids)
    colonies, disputed, counts = (
        committee.colonies(),
        committee.disputed(photos.image_ids),
        committee.counts(photos.image_ids),
    )
    new = photos.features(Detections.concatenate(colonies), len(colonies), category_ids)
    old = Photos(annotations.image_ids, annotated_pixels).features(_as_detections(annotations), 1, category_ids)
    places = _standardized(np.concatenate([new, old]))
    return [
        Candidate(row, score, float(disputed[row]), tuple(counts[:, row].tolist()), distance)
        for row, score, distance in pick(disputed + counts.std(axis=0), places[: len(new)], places[len(new) :], budget)
    ]


def pick(worth: np.ndarray, places: np.ndarray, taken: np.ndarray, budget: int) -> list[tuple[int, float, float]]:
    """Weighted greedy k-centers: row, score and distance of at most `budget` of N photos.

    >>> worth, places = np.array([5.0, 4, 3]), np.array([[0.0], [0.1], [1.0]])
    >>> [row for row, _, _ in pick(worth, places, taken=np.zeros((0, 1)), budget=2)]  # row 1 is too close to row 0
    [0, 2]

    Args:
        worth: (N,) of each photo alone, at least 0.
        places: (N, F) standardized features.
        taken: (M, F) those of the photos that are annotated; M may be 0.
    """
    nearest = np.full(len(places), np.inf)
    for place in taken:
        nearest = np.minimum(nearest, _distances(places, place))
    left, picked = np.ones(len(places), bool), []
    for _ in range(min(budget, len(places))):
        scores = np.where(left, worth * np.minimum(nearest, FAR), -1.0)
        row = int(scores.argmax())
        picked.append((row, float(scores[row]), float(min(nearest[row], FAR))))
        left[row] = False
        nearest = np.minimum(nearest, _distances(places, places[row]))
    return picked


def _distances(places: np.ndarray, place: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.sqrt(np.square(places - place).sum(axis=1))
    return distances


def _standardized(features: np.ndarray) -> np.ndarray:
    """(N, F) features with the same spread, 0 where not known; two photos are typically at a distance near 1."""
    known = ~np.isnan(features)
    many = np.maximum(1, known.sum(axis=0))
    centred = np.where(known, features - np.where(known, features, 0).sum(axis=0) / many, 0)
    spread = np.sqrt(np.square(centred).sum(axis=0) / many)
    varies = spread > LEAST_SPREAD
    scaled: np.ndarray = centred[:, varies] / spread[varies] / np.sqrt(2 * max(1, int(varies.sum())))
    return scaled


def _as_detections(annotations: CocoColumns) -> Detections:
    plain = annotations.without_crowds()
    ones = np.ones(len(plain.annotation_ids))
    return Detections(plain.annotation_image_ids, plain.annotation_category_ids, plain.boxes_xywh, ones)


def _rows_of(image_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    order = np.argsort(image_ids)
    rows: np.ndarray = order[np.searchsorted(image_ids, wanted, sorter=order)]
    return rows
