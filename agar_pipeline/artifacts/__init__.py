"""Artifact classes: the files that each step writes, opened as typed folders, in the order of the chain.

`manifest`: the manifest and base class of all published folders. `data`: the artifacts from the snapshot to the bbox
report. `training`: those from the smoke run to the leaderboard. `former_folds`: the models of an earlier label review.
`refusals`: why a split or a bbox report stops the steps after it.
Here: the files of each artifact, methods that read them, and the code version that writes them.
Not here: how they are computed (`steps`), published and verified (`store`).
"""

from agar_pipeline.artifacts.data import MEDIA_TABLE, BboxReport, CocoCache, Snapshot, Split
from agar_pipeline.artifacts.manifest import MACHINE, MANIFEST, PICTURES, Ancestor, Artifact, Manifest, digest_config
from agar_pipeline.artifacts.training import Evaluation, LabelReview, Leaderboard, SmokeRun, TrainingRun

ARTIFACTS: dict[str, type[Artifact]] = {
    kind.asset: kind
    for kind in (Snapshot, Split, CocoCache, BboxReport, SmokeRun, TrainingRun, Evaluation, LabelReview, Leaderboard)
}
"""Asset name → artifact class, in the order of the chain."""
