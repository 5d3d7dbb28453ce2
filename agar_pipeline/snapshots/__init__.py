"""Takes snapshots from FiftyOne or COCO files, and compares two snapshots.

`coco_folder`: takes a snapshot from COCO files. `sources`: chooses FiftyOne or COCO files by the config.
`box_pairing`, `photo_changes`, `diff`: differences between two snapshots. `photo_content`: whether image files still
hold what a COCO cache was made from.
"""
