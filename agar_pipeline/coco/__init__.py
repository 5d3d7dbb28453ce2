"""COCO files as columns (arrays): reading, checking of the format, writing.

`box_formats`: xywh, xyxy and shares of the photo. `values`, `parse`, `annotation_state`, `rotated_boxes`,
`foreign_formats`: from JSON to columns. `mapped_arrays`, `mapped_columns`: columns on disk that are opened without
parsing. `columns`: a file of annotations. `box_sizes`: sizes of its boxes. `writer`: writes a file piece by piece.
`results_parse`, `detections`: files of scored boxes.
Not here: whether boxes are plausible (`labels`).
"""
