"""Assigns images to the parts of a split and finds pictures that are in two parts, from plain tables and arrays.

`division`: the entry point, which calls the method that the config names. `random_draw`, `stratify`, `groups`,
`views_and_lists`: the methods. `picture_hashes`, `duplicates`: find pictures that are, or look, the same. `leakage`:
finds such pairs across parts. `folds`: divides train for cross-fitted models. Not here: reading and writing artifacts
(`steps.split`), reading the dataset (`fiftyone_io`).
"""
