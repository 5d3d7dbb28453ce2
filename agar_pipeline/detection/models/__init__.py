"""Detectors as torch modules, and the checkpoints that contain them.

`ranks`: communication between ranks. `tiny`: this project's small detector. `families`: builds `tiny` and
torchvision's detectors. `candidate_boxes`: reports boxes that are cut off before NMS. `float32_boxes`: box coordinates
in full precision. `tiles`, `tile_merge`: division of a plate into tiles, and merging of their detections. `detector`:
the model with all of these parts. `weights`: pretrained weights. `checkpoint`: saving and loading. `weight_averaging`:
EMA.
"""
