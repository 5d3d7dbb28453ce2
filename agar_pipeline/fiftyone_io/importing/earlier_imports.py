"""Reconstructs the import record of samples of older versions, which stored a digest instead of an `ImportRecord`.

If the digest shows that the labels are still those of that import, the sample gets a record and is updated with its
annotation again. Otherwise a user may have changed the labels, and the sample is treated as the user's.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from agar_pipeline.fiftyone_io.annotation_files.annotated_images import AnnotatedImage
from agar_pipeline.fiftyone_io.importing.match_samples import Sample, sample_id
from agar_pipeline.fiftyone_io.reading.source import IMPORT_FIELD
from agar_pipeline.ownership.imported_labels import (
    EARLIER_FIELD,
    EARLIER_TEXT_FIELDS,
    ImportRecord,
    earlier_digest,
    is_as_earlier_written,
)

_SAME_NAMES = 5
"""Largest number of folders with images of the same name that an older version is assumed to have imported."""


def record_of(
    sample: Sample, image: AnnotatedImage, labels: str | None, list_tags: frozenset[str]
) -> ImportRecord | None:
    """Return a sample's import record, or reconstruct it for a sample of an older version.

    Args:
        sample: The sample; without its labels the result may be None although the labels would allow a record.
        labels: Digest of the image's labels; None if the annotation states none.
        list_tags: Tags of the training lists, which older versions treated as written by an import.

    Returns:
        None if no import wrote the sample, or if it cannot be determined what it wrote.
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
    """Whether the sample's id is derived from its file name, that is, an import and not FiftyOne created it."""
    parts = PurePosixPath(sample.filepath).parts
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        for _ in range(_SAME_NAMES):
            identity = sample_id(name)
            if identity == sample.id:
                return True
            name = str(identity)
    return False
