"""What we write into a dataset that is not ours: predictions of a run, and snapshots put back.

`run_names`, `run_values`, `run_fields`: what a run is called there, and what it wrote. `write_back`: predictions onto
samples. `restore`: a snapshot as a new dataset. `app`: FiftyOne's App opened on them.
"""
