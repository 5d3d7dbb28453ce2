"""The photos that a COCO cache holds itself: linked, copied, or made smaller for training.

`own`: from the snapshot to the photos and the boxes in their pixels. `place`: all photos into a folder. `shrink`: one
photo to a training copy. `earlier`: what former caches have already. `room`: whether the disk will do.
Not here: boxes (`steps.coco_cache` scales them), loading for a model (`detection.images`).
"""
