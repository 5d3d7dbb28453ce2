"""Annotation files of other tools, read as images with boxes, some by FiftyOne's own parsers. No database.

`membership`, `given_parts`: which part of a split an image is said to be in. `annotated_images`: what every reader
returns. `training_lists`: AGAR's own lists. `file_pairs`: which annotation file belongs to which photo.
`turned_photos`: boxes of photos that EXIF data turns. `agar_files`, `labelme_files`: a reader each. `coco_content`,
`coco_files`; `voc_annotation`, `voc_files`; `yolo_classes`, `yolo_parts`, `yolo_rows`, `yolo_files`: the others.
Not here: how images enter a dataset (`importing`).
"""
