"""Whether this machine can do what a training asks of it: `agar launch-check`, and before each training of many ranks.

`machine`: storage, limits, packages. `ranks`: devices, and an all-reduce among as many processes. `services`: database.
Not here: starting a training (`launch`), counting devices (`compute`).
"""

from agar_pipeline.preflight.check import Check
from agar_pipeline.preflight.readiness import check_training, require_ready

__all__ = ["Check", "check_training", "require_ready"]
