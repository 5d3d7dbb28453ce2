"""Observes a FiftyOne dataset or view, and freezes it into a snapshot.

`source`: which collection, pipeline and field are read. `view`: translates a view into a Mongo pipeline with
FiftyOne, in a child process. `query`, `bson_bytes`, `mongo_columns`, `image_id_columns`: read documents from Mongo as
columns. `observe`: computes the data version. `read`: writes the snapshot.
"""
