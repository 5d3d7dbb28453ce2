"""Loads photos and boxes and yields them as batches of tensors.

`devices`: device and precision. `photo_memory`: decoded photos cached in memory. `sampling`: which images form a batch,
and in which order. `augmentation`: random changes of a training image. `dataset`: one training item.
`data_loader`: batches, loader processes.
"""
