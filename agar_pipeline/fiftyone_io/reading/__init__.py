"""A dataset or view observed, and frozen into a snapshot.

`source`: which documents are meant. `resolve`: what a view means in Mongo, asked of FiftyOne in a child. `query`,
`bson_bytes`, `mongo_columns`, `image_id_columns`: from Mongo to columns. `observe`: the version of the data. `read`:
the snapshot. `photo_paths`: the photos that datasets stand for.
"""
