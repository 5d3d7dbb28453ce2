"""Detectors as torch modules, and the checkpoints that contain them.

`ranks`: communication between ranks. `spec`: plain values that determine a detector. `family`: the protocol of a
family of detectors. `torchvision_family`: what torchvision's have in common; `faster_rcnn`, `fcos`, `retinanet`,
`ssd`: those families. `timm_backbone`, `timm_family`: RetinaNet and Faster R-CNN on a backbone of timm. `detr`: D-FINE
and RT-DETRv2; `detr_model`: their inputs and outputs; `detr_sizes`: their layers. `tiny`: this project's small
detector. `families`: the table of all families. `candidate_boxes`: finds boxes that are cut off before NMS.
`tiles`, `tile_merge`: division of a plate into tiles, and merging of their detections. `detector`: the model with all
of these parts. `weights`: pretrained weights. `catalogue`: published figures. `checkpoint`: saving and loading.
`weight_averaging`: EMA.
"""
