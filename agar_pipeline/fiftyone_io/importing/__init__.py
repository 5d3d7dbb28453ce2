"""Imports annotated images into a FiftyOne dataset and keeps what users changed there.

`found_images`: reads the images of a folder. `match_samples`: assigns samples to images. `earlier_imports`: recognises
samples of older versions. `plan`: decides what is written. `writes`: reads and writes the samples. `counts`: the
result of an import. `prepare_dataset`: creates the dataset and its fields. `import_images`: runs a whole import.
"""
