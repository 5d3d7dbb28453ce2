"""Which part each image is in, and which pictures are in two parts: plain tables in, plain arrays out.

`draw`, `stratify`, `groups`, `named`: the methods. `division`: the one that the config names, and the way in.
`picture_hashes`, `looks`, `duplicates`, `leakage`: which pictures are the same, and in which parts they are.
Not here: reading artifacts or writing them (`steps.split`), or the dataset (`fiftyone_io`).
"""
