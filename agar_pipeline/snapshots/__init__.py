"""Takes snapshots from FiftyOne or COCO files, converts them to COCO, and compares two snapshots.

`coco_folder`: takes a snapshot from COCO files, which `joined_coco` reads. `sources`: chooses FiftyOne or COCO files by
the config. `coco_part`: the annotations of one part as COCO, mended by the box policy.
`box_pairing`, `photo_changes`, `diff`: differences between two snapshots. `photo_content`: whether image files still
hold what a COCO cache was made from.
"""
