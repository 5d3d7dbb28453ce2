"""Runs training and work on many photos on several machines with Ray, an extra package (`make setup-cluster`).

No other folder imports Ray.

- `connection`: joins a cluster, or starts one on this machine.
- `training`: the ranks of a training under Ray Train.
- `tasks`: one function over partitions of many items on a Ray cluster.
- `partitions`: one function over many items, in threads of this machine or on a Ray cluster.

`python -m agar_pipeline.cluster REQUEST.json` is the driver of a training.
Not here: what is trained (`detection.training`) or computed; that code does not know about Ray.
"""
