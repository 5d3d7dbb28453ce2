"""Puts photos into a COCO cache: hard-linked, copied, or as smaller copies for training.

`cache_photos`: the entry point, and scaling boxes to the smaller copies. `photo`: types for one photo and for the
result. `copy_photos`: links, copies or shrinks all photos into a folder. `shrink`: makes one training copy.
`former_caches`: finds files of earlier caches that can be reused. `free_space`: checks the free space of the disk.
Not here: building the cache and its boxes (`steps.coco_cache`), loading photos for a model (`photos.load_and_resize`).
"""
