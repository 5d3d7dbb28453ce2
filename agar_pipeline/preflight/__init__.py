"""Checks whether this machine can run a training: `agar launch-check`, and before each training with several ranks.

`check`: the result of one check. `machine`: storage, limits, packages. `devices`: GPUs, and an all-reduce over as
many processes as the training has. `services`: the database. `readiness`: all checks of a training.
Not here: starting a training (`launch`), counting devices (`processes.devices`).
"""

from agar_pipeline.preflight.check import Check
from agar_pipeline.preflight.readiness import check_training, require_ready
