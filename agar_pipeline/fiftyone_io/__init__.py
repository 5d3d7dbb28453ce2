"""Everything that touches FiftyOne or its database: starting it, reading it, importing into it.

`fiftyone` itself is imported by `resolve`, and its parsers by the readers of COCO, VOC and YOLO, in child processes
(`python -m agar_pipeline.fiftyone_io`): its import takes seconds and reads its settings once. All else is pymongo.
"""
