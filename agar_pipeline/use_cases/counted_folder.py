"""A folder that `agar predict --out-dir` wrote, as plates with predictions, and the FiftyOne dataset made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pymongo.database import Database

from agar_pipeline.counting.calibration import Calibration
from agar_pipeline.errors import ArtifactError, DatasetError
from agar_pipeline.fiftyone_io.database.connection import connected, open_database
from agar_pipeline.fiftyone_io.writing.counted_samples import find_marked, mark_of, sample_id_of
from agar_pipeline.fiftyone_io.writing.field_names import RunFields
from agar_pipeline.fiftyone_io.writing.write_back import PlateBoxes
from agar_pipeline.files.disk import sha256_of
from agar_pipeline.scoring.counted_area import WHOLE_IMAGE
from agar_pipeline.text.safe_text import as_command
from agar_pipeline.text.text_files import TextFileError, read_json
from agar_pipeline.use_cases.predicted_plates import PredictedPlates

FIELDS = RunFields("agar_counted", compared=False)
ANNOTATED = "annotated"
"""Tag of the photos with which a person is done: their boxes are kept, as those that a person edited."""
_PREDICTIONS = "predictions.json"


def is_counted_folder(path: Path) -> bool:
    return (path / _PREDICTIONS).is_file()


def predictions_hash(folder: Path) -> str:
    return sha256_of(folder / _PREDICTIONS)


def read_counted(folder: Path, dataset: str) -> PredictedPlates:
    """Read the predictions of a counted folder; `dataset` is the name of the dataset that they are, or will be, in.

    Raises:
        ArtifactError: the folder holds no predictions, or those of an earlier version, or they are damaged.
    """
    path = folder / _PREDICTIONS
    try:
        plain = read_json(path)
        if "info" in plain:
            return _as_plates(plain, folder, dataset)
    except (OSError, TextFileError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"cannot be read as predictions ({type(error).__name__}: {error})",
            where=path,
            next_step="give a folder that `agar predict --out-dir` wrote, or count the photos again",
        ) from error
    raise ArtifactError(
        "does not say where its photos are and what counts, because an earlier version wrote it",
        where=path,
        next_step=f"count the photos again: agar predict … --out-dir {folder}",
    )


def _as_plates(plain: dict[str, Any], folder: Path, dataset: str) -> PredictedPlates:
    images, images_dir = plain["images"], Path(plain["info"]["images_dir"])
    row_of = {image["id"]: row for row, image in enumerate(images)}
    names = {category["id"]: str(category["name"]) for category in plain["categories"]}
    found = sorted(plain["annotations"], key=lambda annotation: row_of[annotation["image_id"]])
    sizes_wh = np.array([(image["width"], image["height"]) for image in images], dtype=np.int64).reshape(-1, 2)
    paths = [images_dir / image["file_name"] for image in images]
    boxes = PlateBoxes(
        sample_ids=[sample_id_of(path) for path in paths],
        sizes_wh=sizes_wh,
        count_errors=np.zeros(len(images), dtype=np.int64),
        plates=np.array([row_of[annotation["image_id"]] for annotation in found], dtype=np.int64),
        labels=np.array([names[annotation["category_id"]] for annotation in found], dtype=object),
        kinds=np.full(len(found), "predicted", dtype=object),
        scores=np.array([annotation["score"] for annotation in found], dtype=np.float64),
        boxes_xywh=np.array([annotation["bbox"] for annotation in found], dtype=np.float64).reshape(-1, 4),
    )
    return PredictedPlates(
        dataset=dataset,
        fields=FIELDS,
        boxes=boxes,
        images=[image["file_name"] for image in images],
        images_dir=images_dir,
        photo_sizes_wh=sizes_wh,
        circles_px=np.array([_circle(image.get("counted_circle")) for image in images]).reshape(-1, 3),
        categories={name: category_id for category_id, name in names.items()},
        calibration=Calibration.from_plain(plain["info"]["counting"]),
        writer=as_command("agar", "view", "--counted", folder),
    )


def _circle(plain: dict[str, float] | None) -> tuple[float, float, float]:
    return WHOLE_IMAGE if plain is None else (plain["x"], plain["y"], plain["radius"])


def find_dataset(database: Database, folder: Path, dataset: str | None = None) -> dict[str, Any] | None:
    """Return the record of the dataset that was made of a counted folder; None if there is none.

    Args:
        dataset: Name of the dataset, if several were made of the folder.

    Raises:
        DatasetError: several were made of it, or the named one is not one of them.
    """
    made = {str(document["name"]): document for document in find_marked(database, str(folder))}
    if dataset is not None and dataset not in made:
        if database.datasets.find_one({"name": dataset}, {"_id": 1}) is not None:
            raise DatasetError(
                f"exists, and `agar view` did not make it of {folder}; nothing was changed",
                where=f"dataset {dataset!r}",
                next_step="choose another name with --dataset",
            )
        return None
    if dataset is None and len(made) > 1:
        raise DatasetError(
            f"is in several datasets: {', '.join(sorted(made))}",
            where=folder,
            next_step="name one of them",
        )
    return made[dataset] if dataset is not None else next(iter(made.values()), None)


def open_counted(word: str, database: str, home: Path, *, corrected: bool) -> PredictedPlates:
    """Read the counted folder that a word names: the folder, or the name of the dataset made of it.

    Args:
        word: Path of a folder, or name of a dataset.
        database: As in `SnapshotConfig`; it is not opened for a folder unless `corrected` is set.
        corrected: Require that the dataset holds the predictions that are in the folder now.

    Raises:
        DatasetError: the word names neither; or the dataset does not hold the folder's predictions.
        ArtifactError: the predictions cannot be read.
    """
    folder = Path(word).absolute()
    if is_counted_folder(folder) and not corrected:
        return read_counted(folder, folder.name)
    with open_database(database, home) as uri, connected(uri) as mongo:
        if is_counted_folder(folder):
            document = find_dataset(mongo, folder)
        else:
            document = mongo.datasets.find_one({"name": word})
            folder = Path(_folder_of(document, word))
    source = read_counted(folder, folder.name if document is None else str(document["name"]))
    if corrected:
        _require_written(document, folder, source.writer)
    return source


def _folder_of(document: dict[str, Any] | None, word: str) -> str:
    mark = None if document is None else mark_of(document)
    if mark is None:
        raise DatasetError(
            "is neither a folder that `agar predict --out-dir` wrote, nor a dataset that `agar view` made of one",
            where=repr(word),
            next_step="give the folder with predictions.json",
        )
    return str(mark["folder"])


def _require_written(document: dict[str, Any] | None, folder: Path, writer: str) -> None:
    if document is None:
        raise DatasetError(
            "is in no dataset of this database, so nobody can have corrected it",
            where=folder,
            next_step=f"write it into one: {writer}",
        )
    if (mark_of(document) or {}).get("sha256") != predictions_hash(folder):
        raise DatasetError(
            f"were written again since they went into dataset {document['name']!r}, so that they cannot be compared",
            where=f"the predictions in {folder}",
            next_step=f"bring the dataset up to date, which keeps what a person corrected: {writer}",
        )
