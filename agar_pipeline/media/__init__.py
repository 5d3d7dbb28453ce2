"""The photos that a COCO cache holds itself: linked, copied, or made smaller for training.

`cache_photos`: from the snapshot to the photos and the boxes in their pixels. `photo`: what became of one. `place`:
all photos into a folder. `shrink`: one photo to a training copy. `earlier`: what former caches have already.
`free_space`: whether the disk will do.
Not here: boxes (`steps.coco_cache` scales them), loading for a model (`photos.decoding`).
"""
