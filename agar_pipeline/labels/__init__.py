"""Checks whether annotations are fit for training: rules, findings, statistics, and the box policy.

`box_rules`, `image_rules`: rules that need only the COCO file. `file_facts`, `file_memory`, `file_checks`: rules that
need the image files. `box_conventions`, `misread_boxes`: boxes written in another convention. `colony_scale`: sizes of
colonies, and the photo scale for training. `health`: statistics of the annotations. `part_balance`: differences between
train, val and test. `findings`: all findings, and the verdict. `inspection`: checks any COCO file. `mending`: applies
the box policy.
"""
