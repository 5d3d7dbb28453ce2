"""Which part each image is in, and which pictures are in two parts: plain tables in, plain arrays out.

`division` is the way in. Not here: reading artifacts or writing them (`steps.split`), or the dataset (`fiftyone_io`).
"""
