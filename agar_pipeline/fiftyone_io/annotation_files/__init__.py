"""Reads annotation files of other tools as images with boxes; no database is used.

COCO is read with FiftyOne's own parser. `annotated_images`: the types that every reader returns. `part_tags`,
`given_parts`: which part of a split the files assign to an image. `training_lists`: AGAR's own lists. `file_pairs`:
finds photos and annotation files and pairs them by name. `turned_photos`: boxes of photos with an EXIF rotation.
Readers: `agar_files`; `labelme_files`; `coco_content`, `coco_files`; `voc_annotation`, `voc_files`; `yolo_classes`,
`yolo_parts`, `yolo_rows`, `yolo_files`. Not here: adding images to a dataset (`importing`).
"""
