"""Computes and writes the files of a snapshot from images and boxes of any source.

`source_columns`: the types in which a source passes images and boxes. `content_hash`: the data version of the content.
`file_hashes`, `image_sizes`: hashes and sizes of the photos. `parquet_tables`, `image_ids`: the tables and their
schemas. `read_blocks`: reads the boxes in blocks of images.
Not here: reading a source (`fiftyone_io`, `coco_folder`), or choosing it (`sources`).
"""
