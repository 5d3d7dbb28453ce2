"""Samples of versions that kept a digest of all that they wrote, but no `ImportRecord`.

Where the digest proves that the labels are still those of that import, the sample gets a record and follows its
annotation again. Where it proves nothing, a person may have been there, and the sample is treated as theirs.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage
from agar_pipeline.fiftyone_io.importing.match import Sample, sample_id
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.ownership.labels import (
    EARLIER_FIELD,
    EARLIER_TEXT_FIELDS,
    ImportRecord,
    earlier_digest,
    is_as_earlier_written,
)

_SAME_NAMES = 5
"""Folders with images of the same name that an earlier version is expected to have imported."""


def record_of(
    sample: Sample, image: AnnotatedImage, labels: str | None, list_tags: frozenset[str]
) -> ImportRecord | None:
    """A sample's record, or the one that it would have.

    Args:
        sample: With its labels, or the answer may be None where they would prove more.
        image: The one that the sample is of.
        labels: Digest of the image's labels; None where it states none.
        list_tags: Tags that earlier versions took for their own.

    Returns:
        None where no import wrote the sample, or where it cannot be told what it wrote.
    """
    if not sample.of_earlier_version:
        return sample.record
    tags = sorted(list_tags.intersection(sample.plain.get("tags") or ()))
    made_sample = _named_by_import(sample)
    content = (image.labels, image.boxes_rel_xywh, image.attributes, image.metadata, image.fields)
    if labels is not None and sample.plain[EARLIER_FIELD] == earlier_digest(*content):
        return ImportRecord(labels, [], sample.filepath, image.fields, tags, made_sample)
    if not sample.with_labels:
        return None
    if is_as_earlier_written(sample.plain, IMPORT_FIELD):
        texts = {name: sample.plain[name] for name in EARLIER_TEXT_FIELDS if name in sample.plain}
        return ImportRecord(sample.labels, [], sample.filepath, texts, tags, made_sample)
    return ImportRecord(labels, [], sample.filepath, {}, tags, made_sample) if sample.labels == labels else None


def _named_by_import(sample: Sample) -> bool:
    """Whether its id follows from its file's name: FiftyOne's own samples have other ones."""
    parts = PurePosixPath(sample.filepath).parts
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        for _ in range(_SAME_NAMES):
            identity = sample_id(name)
            if identity == sample.id:
                return True
            name = str(identity)
    return False
