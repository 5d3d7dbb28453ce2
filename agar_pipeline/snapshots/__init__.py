"""Snapshots, whatever they are taken from, and what differs between two.

`coco_folder`: one taken from COCO files. `sources`: FiftyOne or COCO files, as the config says. `box_pairing`,
`photo_changes`, `diff`: what changed. `photo_content`: whether photos still hold what a cache was made from.
"""
