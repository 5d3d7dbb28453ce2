"""The plates of an evaluation or of a folder of `agar predict`, with their predictions, as FiftyOne holds them.

Here: from the files that hold the predictions to plates and the field in FiftyOne. Not here: writing them there
(`viewing`, `viewing_counted`), what a person changed there since (`corrections`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agar_pipeline.artifacts import CocoCache, Evaluation, Snapshot
from agar_pipeline.coco.box_formats import XYWH_COLUMNS
from agar_pipeline.coco.columns import CocoColumns, read_coco
from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.counting.dish import Circle
from agar_pipeline.counting.intervals import CountIntervals
from agar_pipeline.counting.region import area_of, find_circles
from agar_pipeline.errors import ArtifactError
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.write_back import PlateBoxes
from agar_pipeline.history.lineage import LineageEntry, chain_of
from agar_pipeline.progress import Log
from agar_pipeline.scoring.count_rule import CountRule
from agar_pipeline.scoring.counted_area import WHOLE_IMAGE
from agar_pipeline.scoring.counting import count_annotations
from agar_pipeline.store import Store

_SHORT = 8


@dataclass(frozen=True)
class PredictedPlates:
    """N plates with predictions, and where they are in FiftyOne."""

    dataset: str
    fields: RunFields
    boxes: PlateBoxes
    images: list[str]
    """(N,) paths of the photos, relative to `images_dir`."""
    images_dir: Path
    photo_sizes_wh: np.ndarray
    """(N, 2) width and height of the photos in pixels, as displayed."""
    circles_px: np.ndarray
    """(N, 3) x, y and radius of the circle outside which nothing counts, pixels of the photo; `WHOLE_IMAGE`: none."""
    categories: dict[str, int]
    """Class name → category id."""
    calibration: Calibration
    """Which classes count as colonies, and which interval the count of a plate has."""
    writer: str
    """The command that writes the predictions to FiftyOne."""

    @property
    def counted(self) -> list[str]:
        return [name for name in self.categories if self.calibration.rule.counts(name)]

    @property
    def photos(self) -> list[Path]:
        return [self.images_dir / image for image in self.images]


def fields_of(record: LineageEntry) -> RunFields:
    """Return `agar_<experiment>_<fingerprint>`, with the characters that a field name allows."""
    experiment = re.sub(r"\W", "_", str(record.key.experiment), flags=re.ASCII)
    return RunFields(f"agar_{experiment}_{record.manifest.fingerprint[:_SHORT]}")


def dataset_of(record: LineageEntry, store: Store) -> str:
    """Return the name of the FiftyOne dataset that an evaluation's snapshot was read from."""
    found = chain_of(store, Evaluation.open(record.root)).get("snapshot")
    if found is not None:
        return str(Snapshot.open(found.root).dataset()["dataset"])
    raise ArtifactError(
        "was made from a snapshot that was removed (by `agar clean`), so its dataset is not known",
        where=record.root,
        next_step="give the run by its name in the dataset: `agar view --remove` lists the names",
    )


def read_evaluated(store: Store, record: LineageEntry, log: Log) -> PredictedPlates:
    """Read the plates of an evaluation and all of its boxes, on the samples of its snapshot.

    If only the inside of the dishes counts, they are found on the photos again.

    Raises:
        ArtifactError: the snapshot or COCO cache of the evaluation was removed.
    """
    evaluation = Evaluation.open(record.root)
    chain = {asset: found.root for asset, found in chain_of(store, evaluation).items()}
    if "snapshot" not in chain or "coco_cache" not in chain:
        raise ArtifactError(
            "was made from a snapshot or COCO cache that was removed (by `agar clean`)",
            where=record.root,
            next_step="build a new evaluation: agar run",
        )
    snapshot, cache = Snapshot.open(chain["snapshot"]), CocoCache.open(chain["coco_cache"])
    part = evaluation.metrics()["part"]
    columns = read_coco(cache.json_path(part))
    calibration = Calibration.read(evaluation.calibration_file)
    circles = find_circles(calibration.region, columns, cache.images_dir, log)
    order = np.argsort(columns.image_ids, kind="stable")
    photos = snapshot.images().set_index("image_id").loc[columns.image_ids[order]]
    dataset, fields = snapshot.dataset(), fields_of(record)
    boxes = _boxes_of(evaluation, columns, calibration.rule.within(area_of(circles, columns)), order)
    return PredictedPlates(
        dataset=str(dataset["dataset"]),
        fields=fields,
        boxes=dataclasses.replace(boxes, sample_ids=photos["sample_id"].astype(str).tolist()),
        images=photos["path"].astype(str).tolist(),
        images_dir=Path(dataset["images_dir"]),
        photo_sizes_wh=photos[["width", "height"]].to_numpy(),
        circles_px=_in_pixels([circles[row] for row in order], photos["width"].tolist()),
        categories={name: category_id for category_id, name in columns.names.items()},
        calibration=_for_plates_of(part, calibration),
        writer=f"agar view --run {fields.name.rpartition('_')[2]}",
    )


def _boxes_of(evaluation: Evaluation, columns: CocoColumns, rule: CountRule, order: np.ndarray) -> PlateBoxes:
    table, names, image_ids = evaluation.matches(), columns.names, columns.image_ids[order]
    plates = np.searchsorted(image_ids, table["image_id"].to_numpy())
    labels, kinds = table["category_id"].map(names), table["kind"].to_numpy(dtype=object)
    boxes_xywh = table[XYWH_COLUMNS].to_numpy()
    is_colony = (kinds != "missed") & labels.map(rule.counts).to_numpy(dtype=bool)
    if rule.area is not None:
        is_colony &= rule.area.holds(table["image_id"].to_numpy(), boxes_xywh)
    colonies = np.bincount(plates[is_colony], minlength=len(order))
    return PlateBoxes(
        sample_ids=[],
        sizes_wh=columns.sizes_wh[order],
        count_errors=colonies - count_annotations(rule.annotated(columns))[order],
        plates=plates,
        labels=labels.to_numpy(dtype=object),
        kinds=kinds,
        scores=table["score"].to_numpy(),
        boxes_xywh=boxes_xywh,
    )


def _in_pixels(circles: Sequence[Circle | None], widths_px: Sequence[int]) -> np.ndarray:
    circles_px = [
        WHOLE_IMAGE if circle is None else circle.in_pixels(width)
        for circle, width in zip(circles, widths_px, strict=True)
    ]
    return np.array(circles_px, np.float64).reshape(-1, 3)


def _for_plates_of(part: str, calibration: Calibration) -> Calibration:
    """Return the calibration without its intervals if they were calibrated on this part, where they hold by
    construction.
    """
    if calibration.rule.chosen_on != part or calibration.intervals.reason is not None:
        return calibration
    reason = f"these are the plates of {part}, on which intervals are calibrated"
    return dataclasses.replace(calibration, intervals=CountIntervals(calibration.intervals.coverage, (), reason))
