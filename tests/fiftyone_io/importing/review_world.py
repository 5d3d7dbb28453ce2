"""Reviews of labels in FiftyOne, what a person does with the suspects, and copies that the accepted ones go into.

Each public step takes two numbers, as in `import_world`. Truths beyond those of `loss_truths`: suspects that a person
tagged, and labels that they drew into a copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from bson import ObjectId

from agar_pipeline.config import SnapshotConfig
from agar_pipeline.errors import PipelineError
from agar_pipeline.fiftyone_io.writing.suspect_labels import ReviewedPhoto
from agar_pipeline.use_cases import reviewing
from agar_pipeline.use_cases.accepted_suspects import Choice
from agar_pipeline.use_cases.accepting import accept
from tests.fiftyone_io.importing.loss_truths import Truths

FIELD, COPY = "agar_suspects", "ground_truth_reviewed"


class ReviewWorld(Truths):
    """`Truths` with reviews."""

    STEPS: tuple[str, ...] = (
        "reviews",
        "reviews",
        "judges",
        "judges",
        "accepts",
        "accepts",
        "corrects_copy",
        "takes_review_back",
    )

    def __init__(self, *given: Any) -> None:
        self.drawn: dict[ObjectId, list[dict[str, Any]]] = {}
        super().__init__(*given)

    # What the person does

    def judges(self, folder: int, number: int) -> None:
        rows = list(self.samples.find({f"{FIELD}.detections.0": {"$exists": True}}).sort("_id"))
        if rows:
            identity = rows[number % len(rows)]["_id"]
            self.samples.update_one({"_id": identity}, {"$addToSet": {f"{FIELD}.detections.0.tags": "accept"}})
            self.predictions[identity, FIELD] = {FIELD: self.samples.find_one({"_id": identity})[FIELD]}

    def corrects_copy(self, folder: int, number: int) -> None:
        rows = list(self.samples.find({f"{COPY}.detections": {"$exists": True}}).sort("_id"))
        if rows:
            identity = rows[number % len(rows)]["_id"]
            box = {"_id": ObjectId(), "_cls": "Detection", "label": f"drawn {number}", "bounding_box": [0.1] * 4}
            self.samples.update_one({"_id": identity}, {"$push": {f"{COPY}.detections": box}})
            self.drawn.setdefault(identity, []).append(box)

    # What the software does

    def reviews(self, folder: int, number: int) -> None:
        with self._command(), contextlib.suppress(PipelineError):
            self._review(number)()

    def accepts(self, folder: int, number: int) -> None:
        with self._command(), contextlib.suppress(PipelineError):
            self._accept(number)()

    def takes_review_back(self, folder: int, number: int) -> None:
        with self._command(), contextlib.suppress(PipelineError):
            self._review_back()()

    def _review(self, number: int) -> Callable[[], object]:
        """Of every sample: its first label is too many, and a colony at a drawn place was missed."""
        rows = list(self.samples.find({}).sort("_id"))
        photos = {place: _photo(row) for place, row in enumerate(rows)}
        suspects = [
            {"image_id": place, "annotation_id": annotation_id, "kind": kind, "suspect_id": str(ObjectId())}
            for place, photo in photos.items()
            for kind, annotation_id in (("missed_colony", None), ("box_too_many", 1))
            if annotation_id is None or photo.labels
        ]
        place_px = [60.0 + number % 20, 60.0, 12.0, 12.0]
        table = pd.DataFrame(suspects).assign(score=0.5, suggested_category_id=1, reason="", other_annotation_id=None)
        boxes = [[place_px] if one["kind"] == "missed_colony" else [] for one in suspects]
        table = table.assign(suggested_boxes_xywh=pd.Series(boxes, dtype=object))
        snapshot: Any = SimpleNamespace(
            dataset=lambda: {"dataset": self.dataset}, manifest=SimpleNamespace(config={"label_field": "ground_truth"})
        )
        cache: Any = SimpleNamespace(class_names=["coli"])

        def write() -> object:
            with mock.patch.object(reviewing, "read_photos", return_value=photos):
                return reviewing.write_suspects(table, snapshot, cache, "e", "embedded", self.home, print)

        return write

    def _accept(self, number: int) -> Callable[[], object]:
        choice = Choice(tag="accept") if number % 2 else Choice(view=f"{FIELD}: all suspects, most likely first")
        return lambda: accept(choice, SnapshotConfig(dataset=self.dataset), self.home, print)

    def _review_back(self) -> Callable[[], object]:
        return lambda: reviewing.remove_suspects(self.dataset, "embedded", self.home, lambda text: None)

    def _require_work_of_hands(self, after: dict[ObjectId, Any]) -> None:
        super()._require_work_of_hands(after)
        for identity, boxes in self.drawn.items():
            there = after[identity][COPY]["detections"]
            assert all(box in there for box in boxes), "a label that somebody drew into the copy was lost"

    def _forget(self, identity: ObjectId) -> None:
        super()._forget(identity)
        self.drawn.pop(identity, None)
        self.predictions.pop((identity, FIELD), None)


def _photo(row: dict[str, Any]) -> ReviewedPhoto:
    labels = (row.get("ground_truth") or {}).get("detections") or []
    boxes = np.array([one["bounding_box"] for one in labels]).reshape(-1, 4) * [100, 80, 100, 80]
    return ReviewedPhoto(
        str(row["_id"]), row["filepath"], (100, 80), (100, 80), 1, [one["label"] for one in labels], boxes
    )
