"""Which photos of a folder should be annotated next, and which boxes are proposed: `agar review --unlabelled`.

Here: finding the photos, asking the models of the folds, the files. Not here: which photos are chosen
(`review.acquisition`), the FiftyOne dataset (`viewing_counted`), what becomes of it (`joined_proposals`).
The photos are only read.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agar_pipeline.coco.columns import read_coco
from agar_pipeline.coco.detections import Detections
from agar_pipeline.counting.likeness import measure_training
from agar_pipeline.counting.photo_features import PixelFeatures, measure_pixels, small_copy
from agar_pipeline.errors import DatasetError, ImageFileError
from agar_pipeline.progress import Progress
from agar_pipeline.review.acquisition import Candidate, Committee, Photos, choose
from agar_pipeline.scoring.suppression import suppress_across_classes
from agar_pipeline.snapshot_files.file_hashes import FileMemory
from agar_pipeline.text.plurals import plural
from agar_pipeline.text.safe_text import csv_cell
from agar_pipeline.use_cases.counted_folder import is_counted_folder, read_counted

if TYPE_CHECKING:
    from agar_pipeline.artifacts import CocoCache, Snapshot
    from agar_pipeline.detection.inference.photo_folder import PhotoModel
    from agar_pipeline.ownership.folders import OwnFolder

CHOICE = "choice.csv"


@dataclass(frozen=True)
class NewPhotos:
    """The photos of a folder."""

    paths: list[Path]
    """Those that the pipeline's dataset does not hold, each content once."""
    known: list[Path]
    """Those that it holds, by their content."""
    copies: list[Path]
    """Those with the content of another one of the folder."""


@dataclass(frozen=True)
class Proposals:
    """N photos that the models saw, and those that were chosen."""

    paths: list[Path]
    """(N,)."""
    chosen: list[Candidate]
    """In the order in which they should be annotated; `row` is an index into `paths`."""
    unread: list[ImageFileError]

    @property
    def chosen_paths(self) -> list[Path]:
        return [self.paths[one.row] for one in self.chosen]


@dataclass(frozen=True)
class ProposingModels:
    """The artifacts of an experiment that choose and propose."""

    snapshot: Snapshot
    cache: CocoCache
    folds: list[Path]
    """Checkpoints of models that were trained on different parts of the annotations."""
    best: Path
    """Checkpoint of the experiment's own model, which proposes the boxes."""


def require_same(out_dir: Path, folder: Path) -> None:
    """Raise DatasetError if the folder of proposals has those of another folder of photos."""
    if not is_counted_folder(out_dir):
        return
    there = read_counted(out_dir, out_dir.name)
    if not all(photo.is_relative_to(folder.absolute()) for photo in there.photos):
        raise DatasetError(
            f"has the proposals of another folder, {there.images_dir}",
            where=out_dir,
            next_step="give another place with --out-dir",
        )


def find_new(paths: Sequence[Path], snapshot: Snapshot, home: Path) -> NewPhotos:
    """Compare the content of photos with that of a snapshot's photos."""
    there = set(snapshot.images()["sha256"].dropna())
    new, known, copies, seen = list[Path](), list[Path](), list[Path](), set[str | None]()
    with FileMemory(home) as memory:
        hashes = memory.look_up([str(path.absolute()) for path in paths]).sha256
    for path, sha256 in zip(paths, hashes, strict=True):
        (known if sha256 in there else copies if sha256 in seen else new).append(path)
        seen |= {sha256} - {None}
    return NewPhotos(new, known, copies)


def propose(
    models: Sequence[PhotoModel], paths: Sequence[Path], cache: CocoCache, budget: int, progress: Progress
) -> Proposals:
    """Let the models find colonies on the photos, and choose at most `budget` of them.

    Args:
        models: Two or more, trained on different parts of the annotations.
        cache: Its train part is what is annotated.
        progress: Called after each photo with the numbers of photos done and of all photos.

    Raises:
        DatasetError: no photo can be read.
    """
    read, pixels, unread = list[Path](), list[PixelFeatures | None](), list[ImageFileError]()
    found: list[list[Detections]] = [[] for _ in models]
    for number, path in enumerate(paths, start=1):
        try:
            detections, measured = _ask(models, path, len(read))
        except ImageFileError as error:
            unread.append(error)
        else:
            read.append(path)
            pixels.append(measured)
            for pieces, one in zip(found, detections, strict=True):
                pieces.append(one)
        progress(number, len(paths))
    if not read:
        raise DatasetError(
            f"cannot be read: {unread[0].in_one_line}" if unread else "are all in the dataset of the pipeline already",
            where=plural(len(paths), "photo") if unread else "the photos",
            next_step="give a folder with other photos",
        )
    committee = Committee(
        [Detections.concatenate(pieces) for pieces in found], [one.calibration.rule.least_of_all for one in models]
    )
    annotations = read_coco(cache.json_path("train"))
    annotated_pixels = [photo.pixels for photo in measure_training(annotations, cache.images_dir)]
    photos = Photos(np.arange(len(read)), pixels)
    chosen = choose(committee, photos, annotations.in_photo_pixels(), annotated_pixels, budget)
    return Proposals(read, chosen, unread)


def _ask(models: Sequence[PhotoModel], path: Path, row: int) -> tuple[list[Detections], PixelFeatures]:
    """The detections of each model on one photo, and the features of its pixels."""
    answers, measured = [], None
    for model in models:
        photo = model.read(path)
        measured = measured or measure_pixels(small_copy(photo.pixels_hwc))
        found = suppress_across_classes(model.detect(photo, model.calibration.rule.least_of_all))
        answers.append(dataclasses.replace(found, image_ids=np.full(len(found), row)))
    assert measured is not None
    return answers, measured


def write_choice(proposals: Proposals, folder: OwnFolder) -> None:
    """Write choice.csv: one row per chosen photo, in the order in which they should be annotated."""
    header = ["rank", "photo", "score", "boxes_in_dispute", "fewest_colonies", "most_colonies", "distance", "reason"]
    with folder.replacing([CHOICE]) as draft, draft.path(CHOICE).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for rank, (path, one) in enumerate(zip(proposals.chosen_paths, proposals.chosen, strict=True), start=1):
            numbers = [round(one.score, 4), round(one.disputed, 2), min(one.counts), max(one.counts)]
            row = [rank, str(path), *numbers, round(one.distance, 3), one.reason]
            writer.writerow(map(csv_cell, row))
