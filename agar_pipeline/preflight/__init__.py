"""Whether this machine can do what a training asks of it: `agar launch-check`, and before each training of many ranks.

`check`: one thing that was looked at. `machine`: storage, limits, packages. `ranks`: devices, and an all-reduce among
as many processes. `services`: the database. `readiness`: the whole list.
Not here: starting a training (`launch`), counting devices (`machine` of `processes`).
"""

from agar_pipeline.preflight.check import Check
from agar_pipeline.preflight.readiness import check_training, require_ready

__all__ = ["Check", "check_training", "require_ready"]
