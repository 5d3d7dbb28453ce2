"""Dagster jobs, one for each length of the chain; each covers all experiments of the pipeline."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from agar_pipeline.config import gpus_per_run
from agar_pipeline.defs.artifact_io import to_asset_key
from agar_pipeline.defs.resources import COMPUTE_FIELDS
from agar_pipeline.store import Key

DATA = ("snapshot", "split", "coco_cache", "bbox_report")
JOBS = {
    "data": (DATA, "The dataset, frozen, divided, written as COCO and checked. Needs no GPU."),
    "smoke": ((*DATA, "smoke_run"), "The data, and one step of every experiment: would training work, how long?"),
    "train": ((*DATA, "smoke_run", "training_run"), "All that leads to trained detectors."),
    "review": (
        (*DATA, "smoke_run", "training_run", "evaluation", "label_review"),
        "Suspect labels of every experiment, and a cross-validation: trains one model for each fold.",
    ),
    "full": ((*DATA, "smoke_run", "training_run", "evaluation", "leaderboard"), "The whole chain."),
}
"""Name → its assets and its description."""
SHOWN_CONFIG = {"resources": {"compute": {"config": dict.fromkeys(COMPUTE_FIELDS)}}}
"""Initial config in the launchpad: every field of `compute` as null, which means the experiment's value."""
GPU_TAG = "agar/gpu"


def gpu_tags() -> dict[str, Any]:
    """Return the tags of a run that trains or evaluates: for queue limits, and for Kubernetes to assign GPUs."""
    count = gpus_per_run()
    if count is None:
        return {GPU_TAG: "true"}
    limits = {"resources": {"limits": {"nvidia.com/gpu": count}}}
    return {GPU_TAG: "true", "dagster-k8s/config": {"container_config": limits}}


def chain_jobs(keys: Iterable[Key]) -> list[Any]:
    keys = list(keys)
    return [
        dg.define_asset_job(
            name,
            selection=[to_asset_key(key) for key in keys if key.asset in assets],
            description=description,
            config=None if name == "data" else SHOWN_CONFIG,
            tags=None if name == "data" else gpu_tags(),
        )
        for name, (assets, description) in JOBS.items()
    ]
