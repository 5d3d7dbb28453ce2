"""Detectors as torch modules, and the checkpoints that hold them.

`ranks`: what several ranks agree on. `tiny`: the small detector of ours. `families`: it and torchvision's.
`candidates`: boxes that are cut before NMS. `float32_boxes`: coordinates in full precision. `tiles`, `tile_merge`: a
plate in tiles, and their detections as one. `detector`: the model with all of that. `weights`: pretrained ones.
`checkpoint`: saved and loaded. `weight_averaging`: EMA.
"""
