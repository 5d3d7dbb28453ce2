"""Whether annotations are fit to train on: rules, findings, sizes, and what is mended.

`box_rules`, `image_rules`: rules that need only the COCO file. `file_memory`, `file_facts`, `file_checks`: rules that
need the photos. `box_conventions`, `misread_boxes`: boxes written in another convention. `colony_scale`: how large
colonies are, and the scale at which they are learnt best. `health`: the data in figures. `part_balance`: whether the
parts are alike. `findings`: all findings, and the verdict. `inspection`: any COCO file. `mending`: the box policy
applied.
"""
