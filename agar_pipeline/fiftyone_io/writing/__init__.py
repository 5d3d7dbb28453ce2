"""Writes into FiftyOne datasets: predictions of a run onto samples, and snapshots as new datasets.

`field_names`, `run_values`, `run_fields`: names, values and schema of our fields and views in a dataset. `write_back`:
writes predictions onto samples. `counted_samples`, `counted_schema`: a dataset of photos that `agar predict` counted.
`joined_samples`: annotated samples of one dataset into another one.
`suspect_fields`, `suspect_labels`: suspect labels on their samples. `accepted_labels`, `reviewed_field`: a copy of a
label field, with suggestions that a person accepted. `restore`: restores a snapshot as a new dataset. `app`: opens
FiftyOne's App.
"""
