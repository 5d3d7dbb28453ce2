"""COCO files as whole columns: read, checked for form, written.

`box_formats`: xywh, xyxy and shares of the photo. `values`, `parse`, `annotation_state`, `rotated_boxes`,
`foreign_formats`: from JSON to columns. `mapped_arrays`, `mapped_columns`: columns that are opened without parsing.
`columns`: a file of annotations. `box_sizes`: how large its boxes are. `writer`: one written piece by piece.
`results_parse`, `detections`: files of scored boxes.
Not here: whether boxes are plausible (`labels`).
"""
