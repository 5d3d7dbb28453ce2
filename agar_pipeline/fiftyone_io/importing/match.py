"""Which sample of the dataset is of which image of the folder: by its path, else by the content of its photo.

A photo that moved is known by its bytes and by nothing else: another folder may hold other photos of the same names.
Here: no database; files are hashed by the function given, and only where a sample may have lost its photo.
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
from agar_pipeline.ownership.labels import EARLIER_FIELD, RECORD_FIELD, ImportRecord, labels_digest

HashPhoto = Callable[[str], str | None]
"""sha256 of a file; None where there is none."""


@dataclass
class Sample:
    """A sample as it was read."""

    plain: dict[str, Any]
    with_labels: bool = False
    """Its labels were read, too."""

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
        """As in `ImportRecord`."""
        return self.record.photos if self.record else []

    @property
    def is_redirected(self) -> bool:
        """Somebody else than an import gave it another file."""
        return self.record is not None and self.record.path not in ("", self.filepath)

    @property
    def of_earlier_version(self) -> bool:
        """An import wrote it that kept no record yet."""
        return self.record is None and bool(self.plain.get(EARLIER_FIELD))

    @cached_property
    def labels(self) -> str:
        """Digest of the labels."""
        assert self.with_labels
        return labels_digest(self.plain.get(IMPORT_FIELD))


@dataclass
class Match:
    """What was found."""

    samples: list[Sample | None]
    """(N,) that of each image; None for a new image."""
    displaced: dict[ObjectId, str] = field(default_factory=dict)
    """Samples at whose path the photo of another sample was found → where their own is now, else a path of no file: two
    samples of one file would show the labels of one photo on the other."""


def sample_id(name: str) -> ObjectId:
    """Follows from the image's name, so that the same folder gives the same samples on every machine."""
    return ObjectId(hashlib.sha256(name.encode()).digest()[:12])


def match_samples(
    images: Sequence[AnnotatedImage], photos: Sequence[str | None], samples: Iterable[Sample], hash_photo: HashPhoto
) -> Match:
    """Find each image's sample.

    Args:
        images: N of them, their paths differ.
        photos: (N,) their sha256.
        samples: All of the dataset.
        hash_photo: Called for the files of samples which an image shows the photo of.
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
        self._claim(partial(self._moved, fits=_same_id))  # of several samples of one photo, the one of its name first
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
        """At the image's path, its labels made for the image's photo, or for one that is not known."""
        there = self._free(self.at_path.get(str(self.images[row].path), ()))
        same = [sample for sample in there if sample.photos[:1] == [self.photos[row]]]
        return next(iter(same or [sample for sample in there if not sample.photos]), None)

    def _moved(self, row: int, fits: Callable[[Sample, AnnotatedImage], bool]) -> Sample | None:
        """Of the image's photo, where the file that the sample names shows another one now, or is gone.

        A file of a later photo of the sample counts as another one: its labels were made for the first. A file that a
        person has chosen for the sample, such as a picture with more contrast, did not take the photo's place.
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
        """At the image's path, with a later photo of the sample."""
        there = self._free(self.at_path.get(str(self.images[row].path), ()))
        return next((sample for sample in there if self.photos[row] in sample.photos), None)

    def _replaced(self, row: int) -> Sample | None:
        """At the image's path, where no other sample has the image's photo: it was saved again."""
        return next(iter(self._free(self.at_path.get(str(self.images[row].path), ()))), None)

    def _photo_at(self, path: str) -> str | None:
        if path not in self.photo_at:
            self.photo_at[path] = self.hash_photo(path)
        return self.photo_at[path]

    def _is_elsewhere(self, row: int, sample: Sample) -> bool:
        return sample.filepath != str(self.images[row].path)

    def _places_of(self, displaced: Sequence[Sample]) -> dict[ObjectId, str]:
        """Where the photo of each displaced sample is, among the files that were looked at; no file is given to two."""
        places: dict[ObjectId, str] = {}
        for sample in displaced:
            photo, name = sample.photos[0], Path(sample.filepath).name
            files = [path for path, there in self.photo_at.items() if there == photo]
            files = sorted(files, key=lambda path: (Path(path).name != name, path))  # of copies, that of its name
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
