"""Everything that touches FiftyOne or its database.

`database`: reached, started, guarded, dumped. `reading`: observed, and frozen into a snapshot. `annotation_files`:
those of other tools read. `importing`: annotated images put into a dataset. `writing`: predictions, and snapshots put
back. `fiftyone` itself is imported in child processes only (`python -m agar_pipeline.fiftyone_io`), by
`reading.resolve`, and its parsers by the readers of COCO, VOC and YOLO: its import takes seconds and reads its
settings once. All else is pymongo.
"""
