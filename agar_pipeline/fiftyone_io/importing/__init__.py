"""Annotated images into a FiftyOne dataset; what a person changed there is kept.

`found_images`: what a folder holds. `match`: which sample is which image. `earlier_imports`: samples of older
versions. `plan`: what is written. `writes`: the writes. `counts`: what an import did. `prepared`: the dataset made
ready. `import_images`: the whole; `import_agar`: the same for AGAR's own format.
"""
