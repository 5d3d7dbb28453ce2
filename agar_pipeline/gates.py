"""What must hold before an asset is built, beyond its inputs being there.

A blocking check stops its own Dagster run only: verdicts are stored, and asked again here, whoever builds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agar_pipeline.artifacts import Artifact, BboxReport, CocoCache, SmokeRun, Split
from agar_pipeline.errors import ArtifactError
from agar_pipeline.store import Content, Key, Store
from agar_pipeline.verdicts import refusal_of_boxes, refusal_of_split, require


def pass_gates(store: Store, asset: str, inputs: Mapping[Key, Artifact]) -> None:
    """Raises GateError or ArtifactError where the asset must not be built from these inputs."""
    for gate in GATES.get(asset, ()):
        gate(store, inputs)


def _require_smoke(store: Store, inputs: Mapping[Key, Artifact]) -> None:
    """A training follows a smoke run on the same data."""
    by_asset = {key.asset: artifact for key, artifact in inputs.items()}
    smoke_run, coco_cache = by_asset["smoke_run"], by_asset["coco_cache"]
    assert isinstance(smoke_run, SmokeRun)
    if smoke_run.manifest.inputs.get("coco_cache") != coco_cache.data_version:
        raise ArtifactError(
            f"{smoke_run.root} was made from another COCO cache than {coco_cache.root}: materialize smoke_run first"
        )


def _require_split(store: Store, inputs: Mapping[Key, Artifact]) -> None:
    """A COCO cache is made of parts that share no picture."""
    split = inputs[Key("split")]
    assert isinstance(split, Split)
    require(refusal_of_split(split))


def _require_verdict(store: Store, inputs: Mapping[Key, Artifact]) -> None:
    """Refuse data whose newest stored verdict is bad, whichever run found it."""
    coco_cache = inputs[Key("coco_cache")]
    assert isinstance(coco_cache, CocoCache)
    if (root := store.find_latest(Key("split"))) is not None:
        split = Split.open(root)
        if Content.of(split.manifest).read_by(CocoCache, "split") == coco_cache.manifest.reads.get("split"):
            require(refusal_of_split(split))
    root = store.find_latest(Key("bbox_report"))
    if root is None:
        return
    report = BboxReport.open(root)
    if report.manifest.inputs.get("coco_cache") == coco_cache.data_version:
        require(refusal_of_boxes(report))


GATES: dict[str, tuple[Callable[[Store, Mapping[Key, Artifact]], None], ...]] = {
    "coco_cache": (_require_split,),
    "training_run": (_require_smoke, _require_verdict),
}
