"""What each step leaves on disk, as typed folders, in the order of the chain.

`manifest`: what every published folder has. `data`: from the snapshot to the bbox report. `training`: from the smoke
run to the leaderboard. `refusals`: why a split or a bbox report stops what comes after it.
Here: which files an artifact has, how they are opened, which version of the code writes them.
Not here: how they are computed (`steps`), published and verified (`store`).
"""

from agar_pipeline.artifacts.data import MEDIA_TABLE, BboxReport, CocoCache, Snapshot, Split
from agar_pipeline.artifacts.manifest import MACHINE, MANIFEST, PICTURES, Ancestor, Artifact, Manifest, digest_config
from agar_pipeline.artifacts.training import Evaluation, Leaderboard, SmokeRun, TrainingRun

__all__ = [
    "ARTIFACTS",
    "MACHINE",
    "MANIFEST",
    "MEDIA_TABLE",
    "PICTURES",
    "Ancestor",
    "Artifact",
    "BboxReport",
    "CocoCache",
    "Evaluation",
    "Leaderboard",
    "Manifest",
    "SmokeRun",
    "Snapshot",
    "Split",
    "TrainingRun",
    "digest_config",
]

ARTIFACTS: dict[str, type[Artifact]] = {
    kind.asset: kind
    for kind in (Snapshot, Split, CocoCache, BboxReport, SmokeRun, TrainingRun, Evaluation, Leaderboard)
}
"""In the order of the chain."""
