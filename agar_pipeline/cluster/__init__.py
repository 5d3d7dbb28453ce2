"""More than one machine, by Ray: the only home of Ray, which is an extra (`make setup-cluster`).

`connection`: joining a cluster, or starting one of this machine. `training`: ranks under Ray Train. `tasks`: one
function over partitions of many items. `partitions`: the same in threads here, or there. `python -m
agar_pipeline.cluster REQUEST.json` is the driver of a training.
Not here: what is trained or computed, which neither knows of Ray.
"""
