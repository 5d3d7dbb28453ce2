"""A snapshot's files, whatever they are made from: what a source hands over, the photos, the tables.

`batches`: images and boxes as a source hands them over. `content_hash`: the version of what it holds. `file_hashes`,
`image_sizes`: what is known of the photos. `parquet_tables`, `image_ids`: the tables, and their schemas. `blocks`:
boxes of some images at a time.
Not here: reading a source (`fiftyone_io`, `coco_folder`), or which one is meant (`sources`).
"""
