"""All code that uses FiftyOne or its MongoDB database.

`database`: connects to, starts, guards and dumps the database. `reading`: observes a dataset and freezes it into a
snapshot. `annotation_files`: reads the annotation files of other tools. `importing`: adds annotated images to a
dataset. `writing`: writes predictions onto samples and restores snapshots. `fiftyone` itself is imported only in child
processes (`python -m agar_pipeline.fiftyone_io`), by `reading.view`; the reader of COCO imports its parser. The
reason is that its import takes seconds and reads FiftyOne's settings only once. All other code uses pymongo.
"""
