"""Photos and boxes as batches of tensors.

`devices`: device and precision. `photo_memory`: decoded photos kept in memory. `sampling`: which images, in which
order. `augmentation`: random changes. `dataset`: one item, and the loader.
"""
