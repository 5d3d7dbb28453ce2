"""A snapshot's files, whatever they are made from: what a source hands over (`columns`), the photos, the tables.

Not here: reading a source (`fiftyone_io`, `coco_folder`), or which one is meant (`sources`).
"""
