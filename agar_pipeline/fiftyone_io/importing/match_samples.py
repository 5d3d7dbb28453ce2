"""Matches the images of a folder with samples of the dataset, by path or else by the content of the photo.

A moved photo is recognised only by its bytes, because another folder may hold other photos with the same names. No
database is used here. Files are hashed with the function that is passed in, and only if a sample may have lost its
photo.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from bson import ObjectId

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.ownership.imported_labels import EARLIER_FIELD, RECORD_FIELD, ImportRecord, labels_digest

HashPhoto = Callable[[str], str | None]
"""Function that returns the sha256 of a file, or None if it does not exist."""


@dataclass
class Sample:
    """A sample as it was read from the database."""

    plain: dict[str, Any]
    with_labels: bool = False
    """Whether its labels were read, too."""

    @property
    def id(self) -> ObjectId:
        identity: ObjectId = self.plain["_id"]
        return identity

    @property
    def filepath(self) -> str:
        return str(self.plain["filepath"])

    @cached_property
    def record(self) -> ImportRecord | None:
        return ImportRecord.read(self.plain.get(RECORD_FIELD))

    @property
    def photos(self) -> list[str]:
        """The `photos` of its `ImportRecord`; empty without a record."""
        return self.record.photos if self.record else []

    @property
    def is_redirected(self) -> bool:
        """Whether its file path was changed by somebody other than an import."""
        return self.record is not None and self.record.path not in ("", self.filepath)

    @property
    def of_earlier_version(self) -> bool:
        """Whether an import of an older version wrote it, which stored no record."""
        return self.record is None and bool(self.plain.get(EARLIER_FIELD))

    @cached_property
    def labels(self) -> str:
        """Digest of the labels, which must have been read."""
        assert self.with_labels
        return labels_digest(self.plain.get(IMPORT_FIELD))


@dataclass
class Match:
    """Result of matching images with samples."""

    samples: list[Sample | None]
    """(N,) sample of each image; None for a new image."""
    displaced: dict[ObjectId, str] = field(default_factory=dict)
    """Sample at whose path the photo of another sample was found → present path of its own photo, or a path without a
    file. Two samples with the same file would show the labels of one photo on the other."""


def sample_id(name: str) -> ObjectId:
    """Derive a sample's id from the image's name, so that the same folder gives the same ids on every machine.

    >>> sample_id("1.jpg")
    ObjectId('4c468b3b16999fd957818957')
    """
    return ObjectId(hashlib.sha256(name.encode()).digest()[:12])


def match_samples(
    images: Sequence[AnnotatedImage], photos: Sequence[str | None], samples: Iterable[Sample], hash_photo: HashPhoto
) -> Match:
    """Find the sample of each image.

    Args:
        images: N images with different paths.
        photos: (N,) sha256 of the images.
        hash_photo: Called for the file of a sample whose photo was found at the path of an image.
    """
    return _Matching(images, photos, samples, hash_photo).run()


class _Matching:
    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        photos: Sequence[str | None],
        samples: Iterable[Sample],
        hash_photo: HashPhoto,
    ) -> None:
        self.images, self.photos, self.hash_photo = images, photos, hash_photo
        self.found: dict[int, Sample] = {}
        self.claimed: set[ObjectId] = set()
        self.at_path: dict[str, list[Sample]] = defaultdict(list)
        self.of_photo: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self.at_path[sample.filepath].append(sample)
            for photo in sample.photos:
                self.of_photo[photo].append(sample)
        self.photo_at = {str(image.path): photo for image, photo in zip(images, photos, strict=True)}

    def run(self) -> Match:
        self._claim(self._unmoved)
        self._claim(partial(self._moved, fits=_same_id))  # if several samples have this photo, ids and names decide
        self._claim(partial(self._moved, fits=_same_name))
        self._claim(self._known_again)
        self._claim(partial(self._moved, fits=_any))
        moved_in = {str(self.images[row].path) for row, sample in self.found.items() if self._is_elsewhere(row, sample)}
        self._claim(self._replaced)
        displaced = [
            sample for path in sorted(moved_in) for sample in self.at_path[path] if sample.id not in self.claimed
        ]
        return Match([self.found.get(row) for row in range(len(self.images))], self._places_of(displaced))

    def _claim(self, find: Callable[[int], Sample | None]) -> None:
        for row in range(len(self.images)):
            if row not in self.found and (sample := find(row)) is not None:
                self.found[row] = sample
                self.claimed.add(sample.id)

    def _free(self, samples: Iterable[Sample]) -> list[Sample]:
        return [sample for sample in samples if sample.id not in self.claimed]

    def _unmoved(self, row: int) -> Sample | None:
        """Find a sample at the image's path whose labels were made for the image's photo, or for an unknown photo."""
        there = self._free(self.at_path.get(str(self.images[row].path), ()))
        same = [sample for sample in there if sample.photos[:1] == [self.photos[row]]]
        return next(iter(same or [sample for sample in there if not sample.photos]), None)

    def _moved(self, row: int, fits: Callable[[Sample, AnnotatedImage], bool]) -> Sample | None:
        """Find a sample with the image's photo whose own file now shows another photo or no longer exists.

        A later photo of the same sample counts as another photo, because the labels were made for the first one. A
        sample is skipped if a user chose another existing file for it, such as a version with more contrast.
        """
        photo, image = self.photos[row], self.images[row]
        if photo is None:
            return None
        for sample in self._free(self.of_photo.get(photo, ())):
            if fits(sample, image):
                now = self._photo_at(sample.filepath)
                if now is not None and sample.is_redirected:
                    continue
                if now not in sample.photos or sample.photos.index(photo) < sample.photos.index(now):
                    return sample
        return None

    def _known_again(self, row: int) -> Sample | None:
        """Find a sample at the image's path which has the image's photo among its photos."""
        there = self._free(self.at_path.get(str(self.images[row].path), ()))
        return next((sample for sample in there if self.photos[row] in sample.photos), None)

    def _replaced(self, row: int) -> Sample | None:
        """Find a sample at the image's path, after the other rules: its photo was replaced by a new one."""
        return next(iter(self._free(self.at_path.get(str(self.images[row].path), ()))), None)

    def _photo_at(self, path: str) -> str | None:
        if path not in self.photo_at:
            self.photo_at[path] = self.hash_photo(path)
        return self.photo_at[path]

    def _is_elsewhere(self, row: int, sample: Sample) -> bool:
        return sample.filepath != str(self.images[row].path)

    def _places_of(self, displaced: Sequence[Sample]) -> dict[ObjectId, str]:
        """Find the photo of each displaced sample among the hashed files; each file is used at most once."""
        places: dict[ObjectId, str] = {}
        for sample in displaced:
            photo, name = sample.photos[0], Path(sample.filepath).name
            files = [path for path, there in self.photo_at.items() if there == photo]
            files = sorted(files, key=lambda path: (Path(path).name != name, path))  # same name first
            taken = set(places.values())
            free = (path for path in files if path not in taken and not self._has_sample(path))
            places[sample.id] = next(free, f"{sample.filepath}.{photo[:8]}.gone")
        return places

    def _has_sample(self, path: str) -> bool:
        taken = {str(self.images[row].path) for row in self.found}
        return path in taken or bool(self._free(self.at_path.get(path, ())))


def _same_id(sample: Sample, image: AnnotatedImage) -> bool:
    return sample.id == sample_id(image.name)


def _same_name(sample: Sample, image: AnnotatedImage) -> bool:
    return Path(sample.filepath).name == image.path.name


def _any(sample: Sample, image: AnnotatedImage) -> bool:
    del sample, image
    return True
