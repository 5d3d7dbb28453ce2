"""Writes into FiftyOne datasets: predictions of a run onto samples, and snapshots as new datasets.

`field_names`, `run_values`, `run_fields`: names, values and schema fields of a run in a dataset. `write_back`: writes
predictions onto samples. `counted_samples`, `counted_schema`: a dataset of photos that `agar predict` counted.
`restore`: restores a snapshot as a new dataset. `app`: opens FiftyOne's App on the predictions.
"""
